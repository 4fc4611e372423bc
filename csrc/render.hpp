// Gaussian heatmaps: v(x, y) = exp(-((x - cx)^2 + (y - cy)^2) / (2 sigma^2)), peak 1, zero outside of a
// window.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "view.hpp"

namespace kptool {

// Pixels x0 <= x < x1, y0 <= y < y1.
struct Box {
    std::size_t x0 = 0, x1 = 0, y0 = 0, y1 = 0;
};

// What to draw: for each of `count` maps a centre (x, y) in map pixels and whether it is drawn at all; map i
// has sigma[i % sigmas]. `window` is the half-width of what is drawn, in sigmas; infinite for all of the map.
struct Gaussians {
    const double* centres;
    const std::uint8_t* visible;
    const double* sigma;
    std::size_t sigmas;
    double window;
};

// Draw into fresh or dirty memory: every value of `maps` is written. threads = 0: all processors.
template <class T>
void render(const Gaussians& what, Maps<T> maps, std::size_t threads);

// Draw over what the last call left in the same memory: only the old and the new patches are touched. `boxes`
// has one entry per map, empty at first over memory that is all zero.
template <class T>
void redraw(const Gaussians& what, Maps<T> maps, std::vector<Box>& boxes, std::size_t threads);

}  // namespace kptool
