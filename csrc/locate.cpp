#include "locate.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "dispatch.hpp"
#include "top.hpp"

namespace kptool {
namespace {

constexpr double dark_floor = 1e-10;

// Sums of weights, and of weights times coordinates.
struct Moments {
    double total = 0.0, x = 0.0, y = 0.0;
};

constexpr std::ptrdiff_t strip_width = 64;

// Adds the pixels of a window at most `strip_width` wide, weighted by their values; negative values count
// as zero. Each column has its own sums, so that the loop over columns vectorises.
template <class T>
KPTOOL_INLINE void add_strip(const Map<T>& map, const Window& window, Moments& sums) {
    const std::ptrdiff_t count = window.x1 - window.x0;
    double mass[strip_width], moment[strip_width];
    for (std::ptrdiff_t x = 0; x < count; ++x) mass[x] = moment[x] = 0.0;
    for (std::ptrdiff_t y = window.y0; y < window.y1; ++y) {
        const T* const values = map.data + y * map.width + window.x0;
        const auto height = static_cast<double>(y);
        for (std::ptrdiff_t x = 0; x < count; ++x) {
            const double value = std::max(as_double(values[x]), 0.0);
            mass[x] += value;
            moment[x] += value * height;
        }
    }
    for (std::ptrdiff_t x = 0; x < count; ++x) {
        sums.total += mass[x];
        sums.x += mass[x] * static_cast<double>(window.x0 + x);
        sums.y += moment[x];
    }
}

KPTOOL_VERSIONS void add(const Map<float>& map, const Window& window, Moments& sums) {
    add_strip(map, window, sums);
}
KPTOOL_VERSIONS void add(const Map<Half>& map, const Window& window, Moments& sums) {
    add_strip(map, window, sums);
}
KPTOOL_VERSIONS void add(const Map<std::uint8_t>& map, const Window& window, Moments& sums) {
    add_strip(map, window, sums);
}

// The mean pixel position, weighted as above.
template <class T>
Point weighted_mean(const Map<T>& map, Window window) {
    Moments sums;
    const std::ptrdiff_t end = window.x1;
    for (; window.x0 < end; window.x0 = window.x1) {
        window.x1 = std::min(window.x0 + strip_width, end);
        add(map, window, sums);
    }
    return {sums.x / sums.total, sums.y / sums.total};
}

// Near a border the window shrinks, so that it stays symmetric around the peak.
template <class T>
Point centroid(const Map<T>& map, Pixel peak) {
    const std::ptrdiff_t side = 2 * reach(map, peak);
    const std::ptrdiff_t rx = std::min({side, peak.x, map.width - 1 - peak.x});
    const std::ptrdiff_t ry = std::min({side, peak.y, map.height - 1 - peak.y});
    return weighted_mean(map, Window{peak.x - rx, peak.x + rx + 1, peak.y - ry, peak.y + ry + 1});
}

// The Newton step -H^-1 g on the logarithm, with the finite differences of the authors' code. It is limited
// to a length of one pixel: a longer one does not start from a maximum that a parabola describes. No step
// within two pixels of the border, or if the Hessian has no maximum.
//
// Reference: Zhang et al., Distribution-aware coordinate representation for human pose estimation, CVPR
// 2020.
template <class T>
std::optional<Point> newton(const Map<T>& map, Pixel peak) {
    if (peak.x < 2 || peak.y < 2 || peak.x >= map.width - 2 || peak.y >= map.height - 2) return std::nullopt;
    const auto log = [&](std::ptrdiff_t dx, std::ptrdiff_t dy) {
        return std::log(std::max(map.at(peak.x + dx, peak.y + dy), dark_floor));
    };
    const double twice = 2.0 * log(0, 0);
    const double dx = 0.5 * (log(1, 0) - log(-1, 0));
    const double dy = 0.5 * (log(0, 1) - log(0, -1));
    const double dxx = 0.25 * (log(2, 0) - twice + log(-2, 0));
    const double dyy = 0.25 * (log(0, 2) - twice + log(0, -2));
    const double dxy = 0.25 * (log(1, 1) - log(1, -1) - log(-1, 1) + log(-1, -1));
    const double det = dxx * dyy - dxy * dxy;
    if (dxx >= 0.0 || det <= 0.0) return std::nullopt;
    const Point step{-(dyy * dx - dxy * dy) / det, -(dxx * dy - dxy * dx) / det};
    const double square = step.x * step.x + step.y * step.y;
    if (square <= 1.0) return step;
    const double shorter = 1.0 / std::sqrt(square);
    return Point{shorter * step.x, shorter * step.y};
}

// If a neighbour is as high, differences over one pixel do not locate the middle. Along that axis, and if
// there is no step, the result is the middle of the flat top.
template <class T>
Point dark(const Map<T>& map, const Top& top) {
    const std::optional<Point> step = newton(map, top.pixel);
    Point moved{static_cast<double>(top.pixel.x), static_cast<double>(top.pixel.y)};
    if (step) moved = {moved.x + step->x, moved.y + step->y};
    if (top.is_single()) return moved;
    const Point still = middle(map, top);
    if (!step || (top.left > 0 || top.right > 0)) moved.x = still.x;
    if (!step || (top.up > 0 || top.down > 0)) moved.y = still.y;
    return moved;
}

template <class T>
Point found_at(const Map<T>& map, Pixel peak, Method method) {
    switch (method) {
        case Method::centroid:
            return centroid(map, find_top(map, peak).pixel);
        case Method::centroid_global:
            return weighted_mean(map, Window{0, map.width, 0, map.height});
        case Method::dark:
            return dark(map, find_top(map, peak));
        case Method::argmax:
        case Method::gaussian:
            break;
    }
    return {static_cast<double>(peak.x), static_cast<double>(peak.y)};
}

template <class T>
void store(const Map<T>& map, const Point& found, float* point) {
    point[0] = inside(found.x, map.width);
    point[1] = inside(found.y, map.height);
}

}  // namespace

template <class T>
void Locator<T>::locate(const Map<T>& map, Pixel peak, float* point) {
    if (method_ != Method::gaussian) return store(map, found_at(map, peak, method_), point);
    blobs_[count_] = {map, find_top(map, peak)};
    points_[count_] = point;
    if (++count_ == lanes) finish();
}

template <class T>
void Locator<T>::finish() {
    if (count_ == 0) return;
    Point found[lanes];
    fit_gaussians(blobs_, count_, found);
    for (std::size_t i = 0; i < count_; ++i) store(blobs_[i].map, found[i], points_[i]);
    count_ = 0;
}

template class Locator<float>;
template class Locator<Half>;
template class Locator<std::uint8_t>;

}  // namespace kptool
