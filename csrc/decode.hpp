// Heatmaps -> the peak's position, to a fraction of a pixel, and its height.
#pragma once

#include <cstddef>
#include <cstdint>

#include "view.hpp"

namespace kptool {

enum class Method { argmax, centroid, centroid_global, dark, gaussian };

// For each map: (x, y) into points[2 * i], in map pixels, and the peak's height into scores[i].
//
// A map without a peak - flat, nowhere positive, or holding a NaN or an infinity - gets its centre and score
// 0. Of equal peaks the first in row-major order counts. Points are within half a pixel of the map, which is
// where its pixels end. uint8 maps are read as value / 255. threads = 0: all processors.
template <class T>
void decode(Maps<const T> maps, Method method, float* points, float* scores, std::size_t threads);

}  // namespace kptool
