// Finds the local maxima of heatmaps that show any number of objects.
#pragma once

#include <cstddef>
#include <cstdint>

#include "half.hpp"
#include "locate.hpp"
#include "view.hpp"

namespace kptool {

struct PeakSearch {
    double threshold;         // the smallest value of a peak, above 0; 255 bytes are 1
    std::ptrdiff_t distance;  // no pixel this near a peak, along both axes, is higher; at least 1
    std::size_t most;         // peaks per map, the highest
    Method method;            // how a peak is located between pixels
    std::size_t threads;      // 0: all available
};

// Fills coords (N, K, most, 2), x and y in heatmap pixels, scores (N, K, most), the value of each peak, both
// sorted from the highest peak to the lowest and zero after the last, and counts (N, K).
//
// A peak is a pixel, or a flat top: 4-connected pixels of the same value. Of equal peaks whose middle pixels
// are within the distance of each other, the first in row-major order is kept. A map that is constant, or
// holds a value that is not finite, has none.
template <class T>
void find_peaks(View<const T, 4> maps, const PeakSearch& search, float* coords, float* scores,
                std::int64_t* counts);

}  // namespace kptool
