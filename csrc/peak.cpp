#include "peak.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "dispatch.hpp"
#include "order.hpp"

namespace kptool {
namespace {

constexpr std::size_t block_bytes = std::size_t{2} << 10;

// The first element from `begin` on with these bits. If there is none, as when another thread writes to the
// map meanwhile, the last element before `end`.
template <class O, class T>
KPTOOL_INLINE std::size_t first_equal(const T* map, std::size_t begin, std::size_t end,
                                      typename O::Key value) {
    constexpr std::size_t step = 512 / sizeof(T);
    for (; begin + step <= end; begin += step) {
        typename O::Key found = 0;
        for (std::size_t i = begin; i < begin + step; ++i) {
            found = static_cast<typename O::Key>(found | (O::key(map[i]) == value ? 1 : 0));
        }
        if (found != 0) break;
    }
    while (begin + 1 < end && O::key(map[begin]) != value) ++begin;
    return begin;
}

// Whether all elements are equal.
template <class T>
bool is_flat(const T* map, std::size_t count) {
    return std::memcmp(map, map + 1, (count - 1) * sizeof(T)) == 0;
}

template <class O, class T>
KPTOOL_INLINE Peak scan_ordered(const T* map, std::size_t count) {
    using S = typename O::Key;
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
            const S bits = O::key(map[i]);
            largest = std::max(largest, bits);
            farthest = std::max(farthest, static_cast<U>(bits));
        }
        extreme = std::max(extreme, farthest);
        if (largest > best) {
            best = largest;
            where = begin;
        }
    }
    if (best <= 0 || !O::finite(best, extreme)) return {false, 0};
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
    return scan_ordered<Order<float>>(map, count);
}
KPTOOL_VERSIONS Peak find_peak(const Half* map, std::size_t count) {
    return scan_ordered<Order<Half>>(map, count);
}
KPTOOL_VERSIONS Peak find_peak(const std::uint8_t* map, std::size_t count) { return scan_bytes(map, count); }

}  // namespace kptool
