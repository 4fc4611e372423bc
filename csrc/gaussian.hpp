// One-dimensional Gaussians, the separable factors of a heatmap.
#pragma once

#include <cstddef>

namespace kptool {

struct Span {
    std::size_t begin = 0, end = 0;

    std::size_t size() const { return end - begin; }
};

// The pixels among 0 ... count - 1 whose distance from `center` is at most `radius`.
Span span_around(std::size_t count, double center, double radius);

// values[i] = scale exp(-(begin + i - center)^2 / (2 sigma^2)) for i = 0 ... size - 1, to within 1e-8,
// rounded to float. `values` must have room for `padded(size)` elements. The span must end less than 30
// sigma from the centre.
void fill_gaussian(float* values, Span span, double center, double sigma, float scale);

constexpr std::size_t padded(std::size_t count) { return (count + 15) / 16 * 16; }

}  // namespace kptool
