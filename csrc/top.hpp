// Flat maxima, as in maps that saturate at 1 or 255.
#pragma once

#include "window.hpp"

namespace kptool {

// A pixel in the middle of the flat top, and the number of equally high pixels on each side of it in its
// row and its column. A peak of a single pixel has 0 on every side.
struct Top {
    Pixel pixel = {};
    std::ptrdiff_t left = 0, right = 0, up = 0, down = 0;

    bool is_single() const { return (left | right | up | down) == 0; }
};

// The number of consecutive pixels equal to `from`, starting next to it and moving by `step`.
template <class T>
std::ptrdiff_t equal_pixels(const Map<T>& map, Pixel from, Pixel step) {
    const double height = map.at(from.x, from.y);
    std::ptrdiff_t n = 0;
    for (Pixel p{from.x + step.x, from.y + step.y}; map.holds(p.x, p.y) && map.at(p.x, p.y) == height; ++n) {
        p = {p.x + step.x, p.y + step.y};
    }
    return n;
}

template <class T>
Top measure_top(const Map<T>& map, Pixel pixel) {
    return {pixel, equal_pixels(map, pixel, {-1, 0}), equal_pixels(map, pixel, {1, 0}),
            equal_pixels(map, pixel, {0, -1}), equal_pixels(map, pixel, {0, 1})};
}

// The flat top that contains the first maximum. Moving alternately to the middle of the row and of the
// column of equal pixels reaches the centre of a disc or a rectangle immediately. Of two separate equal
// peaks, the first is used.
template <class T>
Top find_top(const Map<T>& map, Pixel first) {
    const double height = map.at(first.x, first.y);
    const auto equals = [&](std::ptrdiff_t x, std::ptrdiff_t y) {
        return map.holds(x, y) && map.at(x, y) == height;
    };
    // No earlier pixel is as high.
    if (!equals(first.x + 1, first.y) && !equals(first.x, first.y + 1)) return {first};
    constexpr int rounds = 3;
    Pixel p = first;
    for (int i = 0; i < rounds; ++i) {
        p.x += (equal_pixels(map, p, {1, 0}) - equal_pixels(map, p, {-1, 0})) >> 1;
        p.y += (equal_pixels(map, p, {0, 1}) - equal_pixels(map, p, {0, -1})) >> 1;
    }
    return measure_top(map, p);
}

// Whether no direct neighbour of the middle pixel is lower: the peak is saturated.
template <class T>
bool is_flat(const Map<T>& map, const Top& top) {
    const auto [x, y] = top.pixel;
    return (top.left > 0 || x == 0) && (top.right > 0 || x == map.width - 1) && (top.up > 0 || y == 0) &&
           (top.down > 0 || y == map.height - 1);
}

// The mean position of the equally high pixels within the rectangle spanned by the row and the column.
template <class T>
Point middle(const Map<T>& map, const Top& top) {
    const auto [px, py] = top.pixel;
    if (top.is_single()) return {static_cast<double>(px), static_cast<double>(py)};
    const double height = map.at(px, py);
    double count = 0.0, x_sum = 0.0, y_sum = 0.0;
    for (std::ptrdiff_t y = py - top.up; y <= py + top.down; ++y) {
        for (std::ptrdiff_t x = px - top.left; x <= px + top.right; ++x) {
            if (map.at(x, y) != height) continue;
            count += 1.0;
            x_sum += static_cast<double>(x);
            y_sum += static_cast<double>(y);
        }
    }
    return {x_sum / count, y_sum / count};
}

}  // namespace kptool
