// One axis of a Gaussian.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace kptool {

struct Span {
    std::size_t begin, end;
};

// The pixels 0 ... count - 1 that are at most `radius` from `center`.
inline Span span_around(std::size_t count, double center, double radius) {
    const double last = static_cast<double>(count);
    const double begin = std::min(std::max(std::ceil(center - radius), 0.0), last);
    const double end = std::min(std::max(std::floor(center + radius) + 1.0, begin), last);
    return {static_cast<std::size_t>(begin), static_cast<std::size_t>(end)};
}

// values[i] = scale exp(-(i - center)^2 / (2 sigma^2)) for i in `span`; the others are not touched.
//
// With d = i - center, g(i + 1) / g(i) = exp(-(2 d + 1) / (2 sigma^2)), and that ratio itself shrinks by
// q = exp(-1 / sigma^2) from one pixel to the next: two exponentials make the whole axis. Going away from the
// pixel nearest to the centre every factor is at most 1, and in double the rounding errors, which grow with the square of the
// distance in pixels, stay far below float's.
inline void fill_gaussian(float* values, Span span, double center, double sigma, double q, float scale) {
    if (span.begin == span.end) return;
    const double nearest = std::min(std::max(std::round(center), static_cast<double>(span.begin)),
                                    static_cast<double>(span.end - 1));
    const auto start = static_cast<std::size_t>(nearest);
    const double d = nearest - center;
    const double peak = scale * std::exp(-0.5 * d * d / (sigma * sigma));
    const double right = std::exp(-(d + 0.5) / (sigma * sigma));
    double value = peak;
    double ratio = right;
    for (std::size_t i = start; i < span.end; ++i) {
        values[i] = static_cast<float>(value);
        value *= ratio;
        ratio *= q;
    }
    value = peak;
    ratio = q / right;
    for (std::size_t i = start; i-- > span.begin;) {
        value *= ratio;
        ratio *= q;
        values[i] = static_cast<float>(value);
    }
}

}  // namespace kptool
