// Conversion between IEEE float16 bits and float, without hardware support, exactly rounded.
#pragma once

#include <cstdint>
#include <cstring>

#include "view.hpp"

namespace kptool {

inline float to_float(Half half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half.bits & 0x8000u) << 16;
    const std::uint32_t rest = half.bits & 0x7fffu;
    std::uint32_t bits;
    if (rest >= 0x7c00u) {
        bits = sign | 0x7f800000u | (rest & 0x3ffu) << 13;  // infinity or NaN
    } else {
        // 2^112 rebias as one multiplication, which also gets subnormal halves right.
        std::uint32_t shifted = rest << 13;
        float value;
        std::memcpy(&value, &shifted, sizeof value);
        value *= 5.192296858534828e33f;
        std::memcpy(&bits, &value, sizeof bits);
        bits |= sign;
    }
    float result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
}

// Round to nearest, ties to even, for the values a heatmap has: 0 <= value <= 1. Those below 2^-14 are
// subnormal halves.
inline Half to_half(float value) {
    std::uint32_t bits;
    if (value < 6.103515625e-05f) {
        const float scaled =
            value + 0.5f;  // an ulp of 0.5 is 2^-24, a subnormal half's, so the addition rounds
        std::memcpy(&bits, &scaled, sizeof bits);
        return Half{static_cast<std::uint16_t>(bits - 0x3f000000u)};
    }
    std::memcpy(&bits, &value, sizeof bits);
    bits += 0x0fffu + ((bits >> 13) & 1u);
    return Half{static_cast<std::uint16_t>((bits - 0x38000000u) >> 13)};
}

}  // namespace kptool
