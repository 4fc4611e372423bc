// Shared by the bindings: checks of array arguments, and the registration functions called by module.cpp.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <string>

#include "half.hpp"
#include "view.hpp"

namespace kptool {

namespace py = pybind11;

void register_render(py::module_& module);
void register_decode(py::module_& module);
void register_parse(py::module_& module);
void register_checksum(py::module_& module);

// NumPy's type codes.
template <class T>
constexpr char code_of = '?';
template <>
inline constexpr char code_of<float> = 'f';
template <>
inline constexpr char code_of<double> = 'd';
template <>
inline constexpr char code_of<Half> = 'e';
template <>
inline constexpr char code_of<std::uint8_t> = 'B';

inline void require(bool condition, const char* message) {
    if (!condition) throw py::value_error(message);
}

template <class T>
bool holds(const py::array& array) {
    const char order = array.dtype().byteorder();
    return array.dtype().char_() == code_of<T> && (order == '=' || order == '|');
}

// Views accept only arrays of exactly the right dtype and layout: an implicit conversion would read from,
// or worse, write to a temporary copy.
template <class T, std::size_t D>
std::array<std::size_t, D> checked_shape(const py::array& array, const std::string& name) {
    if (!holds<T>(array)) throw py::type_error(name + ": wrong dtype " + std::string(py::str(array.dtype())));
    if (array.ndim() != static_cast<py::ssize_t>(D)) throw py::value_error(name + ": wrong number of axes");
    if ((array.flags() & py::array::c_style) == 0) throw py::value_error(name + ": not C-contiguous");
    if ((array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) == 0)
        throw py::value_error(name + ": not aligned");
    std::array<std::size_t, D> shape{};
    for (std::size_t i = 0; i < D; ++i)
        shape[i] = static_cast<std::size_t>(array.shape(static_cast<py::ssize_t>(i)));
    return shape;
}

template <class T, std::size_t D>
View<const T, D> input(const py::array& array, const std::string& name) {
    return {static_cast<const T*>(array.data()), checked_shape<T, D>(array, name)};
}

template <class T, std::size_t D>
View<T, D> output(py::array& array, const std::string& name) {
    const auto shape = checked_shape<T, D>(array, name);
    if (!array.writeable()) throw py::value_error(name + ": not writable");
    return {static_cast<T*>(array.mutable_data()), shape};
}

}  // namespace kptool
