// The one pass over a map.
#pragma once

#include <cstddef>
#include <cstdint>

#include "half.hpp"

namespace kptool {

struct Peak {
    bool valid;         // finite, somewhere positive, and not the same everywhere
    std::size_t index;  // of the first largest value
};

Peak find_peak(const float* map, std::size_t count);
Peak find_peak(const Half* map, std::size_t count);
Peak find_peak(const std::uint8_t* map, std::size_t count);

}  // namespace kptool
