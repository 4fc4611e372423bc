// IEEE 754 binary16, the format of NumPy's float16.
#pragma once

#include <cstdint>
#include <cstring>

namespace kptool {

struct Half {
    std::uint16_t bits;
};

// Rounds to nearest, ties to even. Overflow gives infinity, as in NumPy; NaN stays NaN.
inline Half to_half(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    std::uint32_t result;
    if (magnitude > 0x7f800000u) {
        result = 0x7e00u;
    } else if (magnitude >= 0x47800000u) {  // 65536 and above
        result = 0x7c00u;
    } else if (magnitude < 0x38800000u) {  // below 2^-14: a multiple of 2^-24, which adding 0.5 rounds to
        float scaled;
        std::memcpy(&scaled, &magnitude, sizeof scaled);
        scaled += 0.5f;
        std::memcpy(&result, &scaled, sizeof result);
        result -= 0x3f000000u;
    } else {
        const std::uint32_t odd = (magnitude >> 13) & 1u;
        result = (magnitude - (112u << 23) + 0xfffu + odd) >> 13;
    }
    return {static_cast<std::uint16_t>(result | sign)};
}

inline float to_float(Half half) {
    const std::uint32_t sign = (half.bits & 0x8000u) << 16;
    const std::uint32_t magnitude = half.bits & 0x7fffu;
    std::uint32_t bits;
    if (magnitude >= 0x7c00u) {
        bits = (magnitude << 13) | 0x7f800000u;
    } else if (magnitude >= 0x0400u) {
        bits = (magnitude << 13) + (112u << 23);
    } else {  // subnormal: a multiple of 2^-24
        const float value = static_cast<float>(magnitude) * 0x1p-24f;
        std::memcpy(&bits, &value, sizeof bits);
    }
    bits |= sign;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace kptool
