// The sub-pixel position of a peak, from a window around it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "window.hpp"

namespace kptool {

enum class Method : std::uint8_t { argmax, centroid, centroid_global, dark, gaussian };

// The position of the peak at a pixel, which is the first, in row-major order, of its flat top.
template <class T>
Point locate(const Map<T>& map, Pixel peak, Method method);

// Clamps a coordinate to the map's area, which extends half a pixel beyond the outermost pixel centres. The
// order of the arguments matters: NaN, which may occur if another thread clears the map meanwhile, becomes
// -0.5.
inline float inside(double value, std::ptrdiff_t count) {
    return static_cast<float>(std::min(static_cast<double>(count) - 0.5, std::max(-0.5, value)));
}

}  // namespace kptool
