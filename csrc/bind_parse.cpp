#include "bind.hpp"
#include "parse.hpp"

namespace kptool {
namespace {

const char* code_of(ParseError error) {
    switch (error) {
        case ParseError::too_few_columns:
            return "too-few-columns";
        case ParseError::too_many_columns:
            return "too-many-columns";
        case ParseError::not_a_number:
            return "not-a-number";
        case ParseError::too_few_pixels:
            return "too-few-pixels";
        case ParseError::too_many_pixels:
            return "too-many-pixels";
        case ParseError::pixel_out_of_range:
            return "pixel-out-of-range";
        case ParseError::pixel_not_a_number:
            return "pixel-not-a-number";
        case ParseError::none:
            break;
    }
    return "none";
}

py::tuple parse(const py::bytes& data, std::size_t columns, py::ssize_t pixel_column, std::size_t pixels,
                Array<double> floats, Array<std::uint8_t> images, bool final) {
    require(floats.ndim() == 2 && length(floats, 1) == columns && columns > 0,
            "floats must be (rows, columns)");
    require(images.ndim() == 2 && length(images, 1) == pixels && images.shape(0) == floats.shape(0),
            "images must be (rows, pixels)");
    require(pixel_column < static_cast<py::ssize_t>(columns), "pixel_column is beyond the columns");
    const std::string_view text(data);
    double* const numbers = floats.mutable_data();
    std::uint8_t* const pictures = images.mutable_data();
    const RowShape shape{columns, pixel_column < 0 ? columns : static_cast<std::size_t>(pixel_column),
                         pixels};
    ParseResult result;
    {
        // bytes never change, the arrays are the caller's own, and the kernel touches nothing of Python.
        const py::gil_scoped_release unlocked;
        result = parse_rows(text, shape, final, length(floats, 0), numbers, pictures);
    }
    py::object error = py::none();
    if (result.error != ParseError::none) {
        error = py::make_tuple(result.rows, result.column, code_of(result.error), result.detail);
    }
    return py::make_tuple(result.rows, result.bytes, error);
}

}  // namespace

void register_parse(py::module_& module) {
    module.def("parse_rows", &parse, py::arg("data"), py::arg("columns"), py::arg("pixel_column"),
               py::arg("pixels"), py::arg("floats").noconvert(), py::arg("images").noconvert(),
               py::arg("final"), "Parse whole lines into floats and images; returns (rows, bytes, error).");
}

}  // namespace kptool
