// Finds a map's peak in a single pass.
#pragma once

#include <cstddef>
#include <cstdint>

#include "half.hpp"

namespace kptool {

struct Peak {
    bool valid;         // all values finite, at least one positive, and not all equal
    std::size_t index;  // of the first maximum
};

Peak find_peak(const float* map, std::size_t count);
Peak find_peak(const Half* map, std::size_t count);
Peak find_peak(const std::uint8_t* map, std::size_t count);

}  // namespace kptool
