#include "runs.hpp"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "dispatch.hpp"

namespace kptool {
namespace {

constexpr std::size_t block_bytes = std::size_t{2} << 10;  // whole runs

template <class T>
KPTOOL_INLINE typename Order<T>::Key largest_of(const T* map, std::size_t begin, std::size_t end) {
    using Key = typename Order<T>::Key;
    Key largest = std::numeric_limits<Key>::min();
    for (std::size_t i = begin; i < end; ++i) largest = std::max(largest, Order<T>::key(map[i]));
    return largest;
}

template <class T>
KPTOOL_INLINE std::size_t runs_of_block(const T* map, std::size_t begin, std::size_t end,
                                        typename Order<T>::Key least, std::uint32_t* found) {
    std::size_t count = 0;
    for (; begin + run_length<T> <= end; begin += run_length<T>) {
        found[count] = static_cast<std::uint32_t>(begin / run_length<T>);
        count += largest_of(map, begin, begin + run_length<T>) >= least ? 1 : 0;
    }
    if (begin < end && largest_of(map, begin, end) >= least)
        found[count++] = static_cast<std::uint32_t>(begin / run_length<T>);
    return count;
}

// The largest key, and the largest as an unsigned integer, which tells -inf and -NaN: see order.hpp.
template <class T>
KPTOOL_INLINE Runs scan(const T* map, std::size_t count, typename Order<T>::Key least, std::uint32_t* found) {
    using Key = typename Order<T>::Key;
    using Unsigned = std::make_unsigned_t<Key>;
    constexpr std::size_t block = block_bytes / sizeof(T);
    std::size_t runs = 0;
    Unsigned extreme = 0;
    Key highest = 0;
    for (std::size_t begin = 0; begin < count; begin += block) {
        const std::size_t end = std::min(begin + block, count);
        Key largest = std::numeric_limits<Key>::min();
        Unsigned farthest = 0;
        for (std::size_t i = begin; i < end; ++i) {
            const Key key = Order<T>::key(map[i]);
            largest = std::max(largest, key);
            farthest = std::max(farthest, static_cast<Unsigned>(key));
        }
        extreme = std::max(extreme, farthest);
        highest = std::max(highest, largest);
        if (largest >= least) runs += runs_of_block(map, begin, end, least, found + runs);
    }
    return {Order<T>::finite(highest, extreme), runs};
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

}  // namespace kptool
