// Decodes heatmaps to points: one pass over each map finds its peak, then a window around the peak gives
// the sub-pixel position.
#pragma once

#include <cstddef>
#include <cstdint>

#include "half.hpp"
#include "locate.hpp"
#include "view.hpp"

namespace kptool {

// Fills coords (N, K, 2), x and y in heatmap pixels, and scores (N, K), the value of each peak. A map that
// is constant, nowhere positive, or not finite gives its centre and score 0. T is float, Half, or
// std::uint8_t, where 255 means 1.
template <class T>
void decode(View<const T, 4> maps, Method method, std::size_t threads, float* coords, float* scores);

}  // namespace kptool
