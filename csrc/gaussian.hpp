// One axis of a Gaussian.
#pragma once

#include <cstddef>

namespace kptool {

struct Span {
    std::size_t begin = 0, end = 0;

    std::size_t size() const { return end - begin; }
};

// The pixels 0 ... count - 1 that are at most `radius` from `center`.
Span span_around(std::size_t count, double center, double radius);

// values[i] = scale exp(-(begin + i - center)^2 / (2 sigma^2)) for i = 0 ... size - 1, within 1e-8 of it,
// rounded to float. `values` has room for `padded(size)`. The span ends less than 30 sigma from the centre.
void fill_gaussian(float* values, Span span, double center, double sigma, float scale);

constexpr std::size_t padded(std::size_t count) { return (count + 15) / 16 * 16; }

}  // namespace kptool
