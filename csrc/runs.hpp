// Finds the parts of a map that hold high values, in a single pass.
#pragma once

#include <cstddef>
#include <cstdint>

#include "half.hpp"
#include "order.hpp"

namespace kptool {

// Consecutive pixels that are looked at together: a cache line.
template <class T>
constexpr std::size_t run_length = 64 / sizeof(T);

struct Runs {
    bool finite;        // whether all values of the map are
    std::size_t count;  // of runs with a value of at least `least`
};

// Writes the indices of those runs, ascending, to `found`, which has room for all runs of the map.
Runs find_runs(const float* map, std::size_t count, Order<float>::Key least, std::uint32_t* found);
Runs find_runs(const Half* map, std::size_t count, Order<Half>::Key least, std::uint32_t* found);
Runs find_runs(const std::uint8_t* map, std::size_t count, Order<std::uint8_t>::Key least,
               std::uint32_t* found);

}  // namespace kptool
