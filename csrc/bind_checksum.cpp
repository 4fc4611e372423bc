#include "bind.hpp"
#include "checksum.hpp"

namespace kptool {
namespace {

std::uint32_t bind(const py::buffer& data) {
    const py::buffer_info bytes = data.request();
    require(bytes.itemsize == 1 && bytes.ndim == 1 && (bytes.shape[0] < 2 || bytes.strides[0] == 1),
            "data: not bytes");
    // Releasing the GIL is safe: `bytes` keeps the memory alive and in place.
    const py::gil_scoped_release release;
    return fletcher32(static_cast<const std::uint8_t*>(bytes.ptr), static_cast<std::size_t>(bytes.size));
}

}  // namespace

void register_checksum(py::module_& module) {
    module.def("fletcher32", &bind, py::arg("data"),
               "The Fletcher-32 checksum of bytes as in HDF5, both sums modulo 65535.");
}

}  // namespace kptool
