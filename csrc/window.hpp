// Access to a map's values as double, and the size of the window around its peak.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "half.hpp"

namespace kptool {

struct Point {
    double x, y;
};

struct Pixel {
    std::ptrdiff_t x, y;
};

struct Window {
    std::ptrdiff_t x0, x1, y0, y1;
};

inline double as_double(float value) { return static_cast<double>(value); }
inline double as_double(Half value) { return static_cast<double>(to_float(value)); }
inline double as_double(std::uint8_t value) { return value / 255.0; }

template <class T>
struct Map {
    const T* data;
    std::ptrdiff_t height, width;

    double at(std::ptrdiff_t x, std::ptrdiff_t y) const { return as_double(data[y * width + x]); }
    bool holds(std::ptrdiff_t x, std::ptrdiff_t y) const {
        return x >= 0 && x < width && y >= 0 && y < height;
    }
};

constexpr std::ptrdiff_t max_reach = 11;  // limits the fit window to 35x35 pixels

// The distance from the peak to the first pixel that is below half of it or outside the map, in the
// direction in which it is largest: 1.18 sigma, rounded up, for a Gaussian.
template <class T>
std::ptrdiff_t reach(const Map<T>& map, Pixel peak) {
    constexpr Pixel directions[] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}};
    const double half = 0.5 * map.at(peak.x, peak.y);
    std::ptrdiff_t longest = 1;
    for (const Pixel step : directions) {
        std::ptrdiff_t n = 1;
        while (n < max_reach && map.holds(peak.x + n * step.x, peak.y + n * step.y) &&
               map.at(peak.x + n * step.x, peak.y + n * step.y) >= half) {
            ++n;
        }
        longest = std::max(longest, n);
    }
    return longest;
}

}  // namespace kptool
