// Four doubles that are computed together, such as one of each of four maps, and their elementary functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dispatch.hpp"

namespace kptool {

constexpr std::size_t lanes = 4;

// Lanes are doubles and Masks integers. Arithmetic and comparisons are by lane, between each other or with a
// number; comparisons give a Mask of -1 and 0. Other compilers than GCC and Clang do without their extension.
#if defined(__GNUC__) && !defined(KPTOOL_PLAIN_LANES)

#pragma GCC diagnostic ignored "-Wpsabi"  // all functions that take vectors are inlined

typedef double Lanes __attribute__((vector_size(8 * lanes)));
typedef std::int64_t Mask __attribute__((vector_size(8 * lanes)));

KPTOOL_INLINE Lanes select(const Mask& mask, const Lanes& yes, const Lanes& no) { return mask ? yes : no; }
KPTOOL_INLINE Mask bits_of(const Lanes& value) { return reinterpret_cast<Mask>(value); }
KPTOOL_INLINE Lanes of_bits(const Mask& bits) { return reinterpret_cast<Lanes>(bits); }

#else

}  // namespace kptool

#include <cstring>

namespace kptool {

template <class T>
struct Several {
    T lane[lanes];

    Several() = default;
    Several(T value) {
        for (T& each : lane) each = value;
    }
    T& operator[](std::size_t i) { return lane[i]; }
    T operator[](std::size_t i) const { return lane[i]; }

#define KPTOOL_OPERATOR(Result, op, value)                                   \
    friend Several<Result> operator op(const Several& x, const Several& y) { \
        Several<Result> result;                                              \
        for (std::size_t i = 0; i < lanes; ++i) {                            \
            const T a = x[i], b = y[i];                                      \
            result[i] = value;                                               \
        }                                                                    \
        return result;                                                       \
    }
    KPTOOL_OPERATOR(T, +, a + b)
    KPTOOL_OPERATOR(T, -, a - b)
    KPTOOL_OPERATOR(T, *, a* b)
    KPTOOL_OPERATOR(T, /, a / b)
    KPTOOL_OPERATOR(T, &, a& b)
    KPTOOL_OPERATOR(T, |, a | b)
    KPTOOL_OPERATOR(T, <<, static_cast<T>(static_cast<std::uint64_t>(a) << b))
    KPTOOL_OPERATOR(T, >>, a >> b)
    KPTOOL_OPERATOR(std::int64_t, <, a < b ? -1 : 0)
    KPTOOL_OPERATOR(std::int64_t, <=, a <= b ? -1 : 0)
    KPTOOL_OPERATOR(std::int64_t, ==, a == b ? -1 : 0)
    KPTOOL_OPERATOR(std::int64_t, !=, a != b ? -1 : 0)
#undef KPTOOL_OPERATOR
    Several& operator+=(const Several& other) { return *this = *this + other; }
    Several& operator-=(const Several& other) { return *this = *this - other; }
    Several& operator*=(const Several& other) { return *this = *this * other; }
    Several& operator|=(const Several& other) { return *this = *this | other; }
};

using Lanes = Several<double>;
using Mask = Several<std::int64_t>;

inline Lanes select(const Mask& mask, const Lanes& yes, const Lanes& no) {
    Lanes result;
    for (std::size_t i = 0; i < lanes; ++i) result[i] = mask[i] != 0 ? yes[i] : no[i];
    return result;
}
inline Mask bits_of(const Lanes& value) {
    Mask bits;
    std::memcpy(bits.lane, value.lane, sizeof bits.lane);
    return bits;
}
inline Lanes of_bits(const Mask& bits) {
    Lanes value;
    std::memcpy(value.lane, bits.lane, sizeof bits.lane);
    return value;
}

#endif

KPTOOL_INLINE bool any(const Mask& mask) { return (mask[0] | mask[1] | mask[2] | mask[3]) != 0; }
KPTOOL_INLINE Lanes all(double value) { return Lanes{} + value; }

// log(x) of a normal number x > 0 to within 2e-14. x = 2^n m with m from sqrt(1/2) to sqrt(2), and
// log(m) = 2 artanh((m - 1) / (m + 1)).
KPTOOL_INLINE Lanes logarithm(const Lanes& x) {
    constexpr std::int64_t one = 0x3ff0000000000000, root = 0x3fe6a09e667f3bcd,
                           upper = -(std::int64_t{1} << 52);
    constexpr std::int64_t integer = 0x4330000000000000;  // 2^52, whose low bits are those of an integer
    constexpr double log2 = 0.6931471805599453, bias = 4503599627371519.0;  // 2^52 + 1023
    const Mask raised = bits_of(x) + (one - root);
    const Lanes m = of_bits(bits_of(x) - ((raised & upper) - one));
    const Lanes n = of_bits((raised >> 52) | integer);
    const Lanes s = (m - 1.0) / (m + 1.0), z = s * s, z2 = z * z;
    const Lanes low = (1.0 + z * (1.0 / 3)) + z2 * (1.0 / 5 + z * (1.0 / 7));
    const Lanes high = (1.0 / 9 + z * (1.0 / 11)) + z2 * (1.0 / 13 + z * (1.0 / 15));
    return (n - bias) * log2 + 2.0 * s * (low + z2 * z2 * high);
}

// exp(x) to within 1e-13 of itself, and at the nearest end beyond [-700, 700]. x = n log(2) + r with |r| <=
// log(2) / 2; adding 1.5 2^52 rounds to an integer, which is then in the low bits of the sum.
KPTOOL_INLINE Lanes exponential(const Lanes& x) {
    constexpr double log2e = 1.4426950408889634, log2 = 0.6931471805599453, round = 6755399441055744.0;
    const Lanes above = select(x < -700.0, all(-700.0), x);
    const Lanes limited = select(700.0 < above, all(700.0), above);
    const Lanes shifted = limited * log2e + round;
    const Lanes r = limited - (shifted - round) * log2, r2 = r * r, r4 = r2 * r2;
    const Lanes low = (1.0 + r) + r2 * (1.0 / 2 + r * (1.0 / 6));
    const Lanes middle = (1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040));
    const Lanes high = (1.0 / 40320 + r * (1.0 / 362880)) + r2 * (1.0 / 3628800 + r * (1.0 / 39916800));
    return of_bits(bits_of(low + r4 * (middle + r4 * high)) + (bits_of(shifted) << 52));
}

}  // namespace kptool
