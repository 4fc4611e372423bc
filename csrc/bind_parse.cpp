#include "bind.hpp"
#include "parse.hpp"

namespace kptool {
namespace {

py::tuple bind(const py::buffer& data, std::size_t columns, std::ptrdiff_t pixel_column, std::size_t pixels,
               py::array& floats, py::array& images, bool final) {
    const py::buffer_info bytes = data.request();
    require(bytes.itemsize == 1 && bytes.ndim == 1 && (bytes.shape[0] < 2 || bytes.strides[0] == 1),
            "data: not bytes");
    const Table table{columns, pixel_column, pixels};
    const auto numbers = output<double, 2>(floats, "floats");
    const auto pictures = output<std::uint8_t, 2>(images, "images");
    require(columns > 0 && numbers.shape[1] == columns, "floats: not (rows, columns)");
    require(pixel_column >= -1 && pixel_column < static_cast<std::ptrdiff_t>(columns),
            "pixel_column: no such column");
    if (pixel_column >= 0) {
        require(pictures.shape[0] >= numbers.shape[0] && pictures.shape[1] == pixels,
                "images: not (rows, pixels)");
    }
    const auto* begin = static_cast<const char*>(bytes.ptr);
    Parsed parsed;
    {
        // Releasing the GIL is safe: `bytes` and the arguments keep all memory alive and in place.
        const py::gil_scoped_release release;
        parsed = parse_rows({begin, begin + bytes.size}, table, numbers, pictures, final);
    }
    py::object error = py::none();
    if (parsed.error) {
        error =
            py::make_tuple(parsed.error->row, parsed.error->column, parsed.error->code, parsed.error->detail);
    }
    return py::make_tuple(parsed.rows, parsed.bytes, error);
}

}  // namespace

void register_parse(py::module_& module) {
    module.def("parse_rows", &bind, py::arg("data"), py::arg("columns"), py::arg("pixel_column"),
               py::arg("pixels"), py::arg("floats").noconvert(), py::arg("images").noconvert(),
               py::arg("final"),
               "Parse whole lines into `floats` and `images`; returns (rows, bytes, error or None).");
}

}  // namespace kptool
