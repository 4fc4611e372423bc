// What a kernel sees of an array: a pointer and a shape. Kernels never own memory and know no Python.
#pragma once

#include <cstddef>
#include <cstdint>

// Hot loops are compiled for several instruction sets; the loader picks one. Results are the same in all of
// them, because contraction is off and no loop reorders floating-point sums.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define KPTOOL_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define KPTOOL_CLONES
#endif

namespace kptool {

// A float16 as its bits; `to_float` and `to_half` convert.
struct Half {
    std::uint16_t bits;
};

// `count` maps of height x width values, C-contiguous.
template <class T>
struct Maps {
    T* data;
    std::size_t count, height, width;

    std::size_t area() const { return height * width; }
    T* map(std::size_t i) const { return data + i * area(); }
};

}  // namespace kptool
