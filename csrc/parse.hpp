// Parser for lines of comma-separated numbers, in which one column may hold the pixels of an image as text.
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
    std::size_t detail;  // columns or pixels read before the error
};

struct Parsed {
    std::size_t rows = 0, bytes = 0;
    std::optional<ParseError> error;
};

// Parses complete lines of `text` until the text ends or `floats` (rows, columns) is full. A last line
// without a line end is left for the next call, unless `final`. If there is an error, the rows before it
// are valid, and `bytes` ends before the faulty line.
Parsed parse_rows(Text text, const Table& table, View<double, 2> floats, View<std::uint8_t, 2> images,
                  bool final);

// Parses a finite decimal number, independently of the locale. Empty text gives NaN; anything else gives
// nullopt.
std::optional<double> parse_number(Text text);

struct PixelError {
    const char* code;  // null: no error
    std::size_t count;
};

// Parses exactly `pixels` integers from 0 to 255, separated by spaces.
PixelError parse_pixels(Text text, std::size_t pixels, std::uint8_t* out);

}  // namespace kptool
