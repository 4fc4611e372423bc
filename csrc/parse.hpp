// Lines of comma-separated numbers, one of whose columns may hold the pixels of an image as text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "view.hpp"

namespace kptool {

struct Text {
    const char* begin;
    const char* end;
};

struct Table {
    std::size_t columns;
    std::ptrdiff_t pixel_column;  // -1: none
    std::size_t pixels;
};

struct ParseError {
    std::size_t row, column;
    const char* code;
    std::size_t detail;  // columns or pixels that were read before it
};

struct Parsed {
    std::size_t rows = 0, bytes = 0;
    std::optional<ParseError> error;
};

// Parses whole lines of `text` until it or `floats` (rows, columns) is full. A last line without its end is
// left, unless `final`. Rows before an error are valid, and `bytes` then ends before the faulty line.
Parsed parse_rows(Text text, const Table& table, View<double, 2> floats, View<std::uint8_t, 2> images,
                  bool final);

// A finite number in decimal notation, or nothing where an empty text gives NaN; whatever the locale.
std::optional<double> parse_number(Text text);

struct PixelError {
    const char* code;  // null: none
    std::size_t count;
};

// Exactly `pixels` integers from 0 to 255 with spaces between.
PixelError parse_pixels(Text text, std::size_t pixels, std::uint8_t* out);

}  // namespace kptool
