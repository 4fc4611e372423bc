// What the bindings share: array types, and checks of everything that would make a kernel read or write out
// of bounds. `kptool/heatmaps.py` checks what the values mean; these raise TypeError and ValueError, in a
// programmer's words.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstring>
#include <stdexcept>
#include <string>

#include "view.hpp"

namespace py = pybind11;

namespace kptool {

// Exactly this type and layout: a function that takes one never gets a converted copy.
template <class T>
using Array = py::array_t<T, py::array::c_style>;

void register_render(py::module_& module);
void register_decode(py::module_& module);
void register_parse(py::module_& module);

inline void require(bool condition, const std::string& what) {
    if (!condition) throw py::value_error(what);
}

// Call `use(T{})` with the element type that an array's dtype names: float32, float16 or uint8.
template <class Use>
auto with_dtype(const py::array& array, Use use) {
    const char kind = array.dtype().kind();
    const auto size = array.itemsize();
    require(array.dtype().attr("isnative").cast<bool>(), "arrays must be in the machine's byte order");
    if (kind == 'f' && size == 4) return use(float{});
    if (kind == 'f' && size == 2) return use(Half{});
    if (kind == 'u' && size == 1) return use(std::uint8_t{});
    throw py::type_error("heatmaps must be float32, float16 or uint8");
}

inline void require_heatmaps(const py::array& maps) {
    require(maps.ndim() == 4, "heatmaps must have 4 dimensions (N, K, h, w)");
    require((maps.flags() & py::array::c_style) != 0, "heatmaps must be C-contiguous");
    const auto address = reinterpret_cast<std::uintptr_t>(maps.data());
    require(address % static_cast<std::uintptr_t>(maps.itemsize()) == 0, "heatmaps must be aligned");
}

inline std::size_t length(const py::array& array, int axis) {
    return static_cast<std::size_t>(array.shape(axis));
}

}  // namespace kptool
