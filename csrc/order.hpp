// The order of heatmap values, as integers.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "half.hpp"

namespace kptool {

// Compares floating-point numbers by their bits. As signed integers, positive numbers keep their order,
// negative ones are negative, and +inf and +NaN are the largest; as unsigned integers, -inf and -NaN are.
// Two integer maxima therefore find the peak and any value that is not finite, without comparisons that NaN
// would break.
template <class T, class Bits, Bits top>
struct FloatOrder {
    using Key = Bits;
    using Unsigned = std::make_unsigned_t<Bits>;
    static constexpr Key infinity = top;
    static constexpr Unsigned sign = static_cast<Unsigned>(Unsigned{1} << (8 * sizeof(Unsigned) - 1));
    // Whether all values are, given their largest key and their largest key as an unsigned integer.
    static bool finite(Key largest, Unsigned farthest) {
        return largest < infinity && farthest < static_cast<Unsigned>(sign | static_cast<Unsigned>(infinity));
    }
    static Key key(const T& value) {
        Key bits;
        std::memcpy(&bits, &value, sizeof bits);
        return bits;
    }
};

template <class T>
struct Order;

template <>
struct Order<float> : FloatOrder<float, std::int32_t, 0x7f800000> {
    // The key of the smallest value that is not below a positive number.
    static Key least(double number) {
        const auto value = static_cast<float>(number);
        return key(value) + (static_cast<double>(value) < number ? 1 : 0);
    }
};

template <>
struct Order<Half> : FloatOrder<Half, std::int16_t, 0x7c00> {
    static Key least(double number) {
        const Half value = to_half(static_cast<float>(number));
        return static_cast<Key>(key(value) + (static_cast<double>(to_float(value)) < number ? 1 : 0));
    }
};

template <>
struct Order<std::uint8_t> {
    using Key = std::uint8_t;
    static Key key(std::uint8_t value) { return value; }
    static bool finite(Key, Key) { return true; }
    static Key least(double number) {  // which is at most 1
        int value = static_cast<int>(number * 255.0);
        while (value / 255.0 < number) ++value;
        return static_cast<Key>(value);
    }
};

}  // namespace kptool
