// A typed, non-owning view of a C-contiguous array.
#pragma once

#include <array>
#include <cstddef>

namespace kptool {

template <class T, std::size_t D>
struct View {
    T* data;
    std::array<std::size_t, D> shape;

    // The number of elements per entry of the first `axes` axes; stride<0>() is the size of the whole
    // array.
    template <std::size_t axes>
    std::size_t stride() const {
        std::size_t product = 1;
        for (std::size_t i = axes; i < D; ++i) product *= shape[i];
        return product;
    }
};

}  // namespace kptool
