// The sub-pixel position of a peak, from a window around it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fit.hpp"

namespace kptool {

enum class Method : std::uint8_t { argmax, centroid, centroid_global, dark, gaussian };

// Clamps a coordinate to the map's area, which extends half a pixel beyond the outermost pixel centres. The
// order of the arguments matters: NaN, which may occur if another thread clears the map meanwhile, becomes
// -0.5.
inline float inside(double value, std::ptrdiff_t count) {
    return static_cast<float>(std::min(static_cast<double>(count) - 0.5, std::max(-0.5, value)));
}

// Locates peaks, one after the other; Gaussians are fitted to several at once.
template <class T>
class Locator {
  public:
    explicit Locator(Method method) : method_(method) {}

    // The position of the peak at a pixel, which is the first, in row-major order, of its flat top: x and y
    // are stored at `point`, by `finish` at the latest.
    void locate(const Map<T>& map, Pixel peak, float* point);
    void finish();

  private:
    Method method_;
    std::size_t count_ = 0;
    Blob<T> blobs_[lanes] = {};
    float* points_[lanes] = {};
};

}  // namespace kptool
