#include "runs.hpp"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "dispatch.hpp"

namespace kptool {
namespace {

constexpr std::size_t prefetch_bytes = std::size_t{4} << 10;  // ahead; the hardware stops at pages

KPTOOL_INLINE void prefetch_run([[maybe_unused]] const char* from) {
#if defined(__GNUC__)
    for (std::size_t i = 0; i < run_bytes; i += 64) __builtin_prefetch(from + i);
#endif
}

// The largest key, and the largest as an unsigned integer, which tells -inf and -NaN: see order.hpp.
template <class T>
struct Extremes {
    using Key = typename Order<T>::Key;
    using Unsigned = std::make_unsigned_t<Key>;
    Key highest = 0;
    Unsigned farthest = 0;

    // Adds those of some values, and returns the largest key of these.
    KPTOOL_INLINE Key add(const T* values, std::size_t count) {
        Key largest = std::numeric_limits<Key>::min();
        Unsigned extreme = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const Key key = Order<T>::key(values[i]);
            largest = std::max(largest, key);
            extreme = std::max(extreme, static_cast<Unsigned>(key));
        }
        farthest = std::max(farthest, extreme);
        highest = std::max(highest, largest);
        return largest;
    }
};

template <class T>
KPTOOL_INLINE Runs scan(const T* map, std::size_t count, typename Order<T>::Key least, std::uint32_t* found) {
    constexpr std::size_t length = run_length<T>;
    std::size_t runs = 0;
    Extremes<T> extremes;
    const std::size_t whole = count / length;
    for (std::size_t i = 0; i < whole; ++i) {
        const T* const run = map + i * length;
        prefetch_run(reinterpret_cast<const char*>(run) + prefetch_bytes);
        found[runs] = static_cast<std::uint32_t>(i);
        runs += extremes.add(run, length) >= least ? 1 : 0;  // a constant length, which is unrolled
    }
    if (whole * length < count) {
        found[runs] = static_cast<std::uint32_t>(whole);
        runs += extremes.add(map + whole * length, count - whole * length) >= least ? 1 : 0;
    }
    return {Order<T>::finite(extremes.highest, extremes.farthest), runs};
}

template <class T>
KPTOOL_INLINE void mark(const T* here, std::size_t width, std::size_t count, typename Order<T>::Key least,
                        std::uint16_t* marks) {
    using Key = typename Order<T>::Key;
    using Bits = std::conditional_t<sizeof(Key) == 4, std::uint32_t, std::uint16_t>;  // as wide, to vectorise
    for (std::size_t group = 0; group < count; ++group, here += group_length) {
        Bits found = 0;
        for (std::size_t i = 0; i < group_length; ++i) {
            const Key row = std::max(Order<T>::key((here - 1)[i]), Order<T>::key((here + 1)[i]));
            const Key column = std::max(Order<T>::key((here - width)[i]), Order<T>::key((here + width)[i]));
            const bool high = Order<T>::key(here[i]) >= std::max(least, std::max(row, column));
            found = static_cast<Bits>(found | (high ? Bits{1} << i : 0));
        }
        marks[group] = static_cast<std::uint16_t>(found);
    }
}

}  // namespace

KPTOOL_VERSIONS Runs find_runs(const float* map, std::size_t count, Order<float>::Key least,
                               std::uint32_t* found) {
    return scan(map, count, least, found);
}
KPTOOL_VERSIONS Runs find_runs(const Half* map, std::size_t count, Order<Half>::Key least,
                               std::uint32_t* found) {
    return scan(map, count, least, found);
}
KPTOOL_VERSIONS Runs find_runs(const std::uint8_t* map, std::size_t count, Order<std::uint8_t>::Key least,
                               std::uint32_t* found) {
    return scan(map, count, least, found);
}

KPTOOL_VERSIONS void mark_summits(const float* here, std::size_t width, std::size_t count,
                                  Order<float>::Key least, std::uint16_t* marks) {
    mark(here, width, count, least, marks);
}
KPTOOL_VERSIONS void mark_summits(const Half* here, std::size_t width, std::size_t count,
                                  Order<Half>::Key least, std::uint16_t* marks) {
    mark(here, width, count, least, marks);
}
KPTOOL_VERSIONS void mark_summits(const std::uint8_t* here, std::size_t width, std::size_t count,
                                  Order<std::uint8_t>::Key least, std::uint16_t* marks) {
    mark(here, width, count, least, marks);
}

}  // namespace kptool
