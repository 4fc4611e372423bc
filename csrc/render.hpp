// Gaussian heatmaps: exp(-((x - cx)^2 + (y - cy)^2) / (2 sigma^2)), peak 1.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gaussian.hpp"
#include "half.hpp"
#include "view.hpp"

namespace kptool {

struct RenderPlan {
    View<const double, 4> centers;   // (N, M, K, 2), of M instances; x and y in heatmap pixels, finite
    const double* sigma;             // (K), in heatmap pixels, at least 0.1
    const std::uint8_t* visibility;  // (N, M, K), 0 is not drawn; or null
    double window;                   // in sigmas, along each axis; may be infinite
    std::size_t threads;             // 0: all available
};

// Writes every element of `maps` (N, K, h, w), which hold the largest value of any instance. T is float,
// Half, or std::uint8_t, where 255 means 1.
template <class T>
void render(const RenderPlan& plan, View<T, 4> maps);

// The nonzero part of a map.
struct Patch {
    Span x, y;

    std::size_t area() const { return x.size() * y.size(); }
};

// Like `render`, of a single instance, for maps that are zero outside `drawn` (N, K), the patches that the
// previous call drew. Updates `drawn`.
template <class T>
void redraw(const RenderPlan& plan, View<T, 4> maps, Patch* drawn);

}  // namespace kptool
