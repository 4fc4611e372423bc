// Finds the pixels of a map that may be peaks, most of which a single pass rules out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "half.hpp"
#include "order.hpp"

namespace kptool {

constexpr std::size_t run_bytes = 512;

// Consecutive pixels that are looked at together.
template <class T>
constexpr std::size_t run_length = run_bytes / sizeof(T);

struct Runs {
    bool finite;        // whether all values of the map are
    std::size_t count;  // of runs with a value of at least `least`
};

// Writes the indices of those runs, ascending, to `found`, which has room for all runs of the map.
Runs find_runs(const float* map, std::size_t count, Order<float>::Key least, std::uint32_t* found);
Runs find_runs(const Half* map, std::size_t count, Order<Half>::Key least, std::uint32_t* found);
Runs find_runs(const std::uint8_t* map, std::size_t count, Order<std::uint8_t>::Key least,
               std::uint32_t* found);

constexpr std::size_t group_length = 16;

// Sets bit i of marks[g] if pixel i of group g, of `count` that begin at `here`, is at least `least` and as
// high as those beside, above and below it; clears all others. The pixels before and after the groups, and
// those one width before and after, must be in the map.
void mark_summits(const float* here, std::size_t width, std::size_t count, Order<float>::Key least,
                  std::uint16_t* marks);
void mark_summits(const Half* here, std::size_t width, std::size_t count, Order<Half>::Key least,
                  std::uint16_t* marks);
void mark_summits(const std::uint8_t* here, std::size_t width, std::size_t count,
                  Order<std::uint8_t>::Key least, std::uint16_t* marks);

}  // namespace kptool
