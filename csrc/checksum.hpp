// Fletcher-32 as HDF5 computes it, by which damaged chunks of a cache are detected.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kptool {

// The checksum of `count` bytes, taken as big-endian 16-bit words; an odd last byte is the high one of a
// word. Both sums are modulo 65535, from 0 to 65534, the second one in the upper half. HDF5 may store 65535
// for 0.
std::uint32_t fletcher32(const std::uint8_t* data, std::size_t count);

}  // namespace kptool
