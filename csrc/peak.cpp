#include "peak.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "dispatch.hpp"

namespace kptool {
namespace {

constexpr std::size_t block_bytes = std::size_t{2} << 10;

// Compares floating-point numbers by their bits. As signed integers, positive numbers keep their order,
// negative ones are negative, and +inf and +NaN are the largest; as unsigned integers, -inf and -NaN are.
// Two integer maxima therefore find the peak and any value that is not finite, without comparisons that NaN
// would break.
template <class T, class Bits, Bits infinity>
struct Ordered {
    using Signed = Bits;
    static constexpr Signed top = infinity;
    static Signed load(const T* from) {
        Signed bits;
        std::memcpy(&bits, from, sizeof bits);
        return bits;
    }
};
using OrderedFloat = Ordered<float, std::int32_t, 0x7f800000>;
using OrderedHalf = Ordered<Half, std::int16_t, 0x7c00>;

// The first element from `begin` on with these bits. If there is none, as when another thread writes to the
// map meanwhile, the last element before `end`.
template <class O, class T>
KPTOOL_INLINE std::size_t first_equal(const T* map, std::size_t begin, std::size_t end,
                                      typename O::Signed value) {
    constexpr std::size_t step = 512 / sizeof(T);
    for (; begin + step <= end; begin += step) {
        typename O::Signed found = 0;
        for (std::size_t i = begin; i < begin + step; ++i) {
            found = static_cast<typename O::Signed>(found | (O::load(map + i) == value ? 1 : 0));
        }
        if (found != 0) break;
    }
    while (begin + 1 < end && O::load(map + begin) != value) ++begin;
    return begin;
}

// Whether all elements are equal.
template <class T>
bool is_flat(const T* map, std::size_t count) {
    return std::memcmp(map, map + 1, (count - 1) * sizeof(T)) == 0;
}

template <class O, class T>
KPTOOL_INLINE Peak scan_ordered(const T* map, std::size_t count) {
    using S = typename O::Signed;
    using U = std::make_unsigned_t<S>;
    constexpr std::size_t block = block_bytes / sizeof(T);
    S best = 0;
    U extreme = 0;
    std::size_t where = 0;
    for (std::size_t begin = 0; begin < count; begin += block) {
        const std::size_t end = std::min(begin + block, count);
        S largest = std::numeric_limits<S>::min();
        U farthest = 0;
        for (std::size_t i = begin; i < end; ++i) {
            const S bits = O::load(map + i);
            largest = std::max(largest, bits);
            farthest = std::max(farthest, static_cast<U>(bits));
        }
        extreme = std::max(extreme, farthest);
        if (largest > best) {
            best = largest;
            where = begin;
        }
    }
    constexpr U sign = static_cast<U>(U{1} << (8 * sizeof(U) - 1));
    const bool finite = best < O::top && extreme < static_cast<U>(sign | static_cast<U>(O::top));
    if (best <= 0 || !finite) return {false, 0};
    const std::size_t index = first_equal<O>(map, where, std::min(where + block, count), best);
    return {index > 0 || !is_flat(map, count), index};
}

KPTOOL_INLINE Peak scan_bytes(const std::uint8_t* map, std::size_t count) {
    constexpr std::size_t block = 2 * block_bytes;
    std::uint8_t best = 0;
    std::size_t where = 0;
    for (std::size_t begin = 0; begin < count; begin += block) {
        const std::size_t end = std::min(begin + block, count);
        std::uint8_t largest = 0;
        for (std::size_t i = begin; i < end; ++i) largest = std::max(largest, map[i]);
        if (largest > best) {
            best = largest;
            where = begin;
        }
    }
    if (best == 0) return {false, 0};
    const auto* found = static_cast<const std::uint8_t*>(std::memchr(map + where, best, count - where));
    if (found == nullptr) return {false, 0};  // another thread wrote to the map meanwhile
    const auto index = static_cast<std::size_t>(found - map);
    return {index > 0 || !is_flat(map, count), index};
}

}  // namespace

KPTOOL_VERSIONS Peak find_peak(const float* map, std::size_t count) {
    return scan_ordered<OrderedFloat>(map, count);
}
KPTOOL_VERSIONS Peak find_peak(const Half* map, std::size_t count) {
    return scan_ordered<OrderedHalf>(map, count);
}
KPTOOL_VERSIONS Peak find_peak(const std::uint8_t* map, std::size_t count) { return scan_bytes(map, count); }

}  // namespace kptool
