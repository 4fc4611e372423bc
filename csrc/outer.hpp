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

// The same with non-temporal stores. `map`, pitch and width must be multiples of 16 bytes.
void stream_outer(float* map, std::size_t pitch, const Factors& factors);

}  // namespace kptool
