// Inner loops of rendering: outer products of two one-dimensional Gaussians.
#pragma once

#include <cstddef>
#include <cstdint>

#include "half.hpp"

namespace kptool {

struct Factors {
    const float* column;
    std::size_t height;
    const float* row;
    std::size_t width;
};

// map[y pitch + x] = column[y] row[x], rounded to nearest. For bytes, the products must be from 0 to 255.
void outer(float* map, std::size_t pitch, const Factors& factors);
void outer(Half* map, std::size_t pitch, const Factors& factors);
void outer(std::uint8_t* map, std::size_t pitch, const Factors& factors);

struct Extent {
    std::size_t height, width;
};

// map[y pitch + x] = max(map[y pitch + x], values[y width + x]); nothing is negative.
void raise(float* map, std::size_t pitch, const float* values, Extent extent);
void raise(Half* map, std::size_t pitch, const Half* values, Extent extent);
void raise(std::uint8_t* map, std::size_t pitch, const std::uint8_t* values, Extent extent);

// The same as `outer` with non-temporal stores. `map`, pitch and width must be multiples of 16 bytes.
void stream_outer(float* map, std::size_t pitch, const Factors& factors);

}  // namespace kptool
