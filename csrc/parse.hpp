// Parsing comma-separated rows of numbers in which one cell holds an image as text: Kaggle's csv.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kptool {

// The shape of a row. `pixel_column` may be beyond `columns`: there is no image then.
struct RowShape {
    std::size_t columns, pixel_column, pixels;
};

enum class ParseError {
    none,
    too_few_columns,
    too_many_columns,
    not_a_number,
    too_few_pixels,
    too_many_pixels,
    pixel_out_of_range,
    pixel_not_a_number,
};

// What a call did: whole rows parsed, bytes they took (blank lines included), and the first error, in the row
// after them: its column, and a count where that helps (columns or pixels seen).
struct ParseResult {
    std::size_t rows = 0, bytes = 0;
    ParseError error = ParseError::none;
    std::size_t column = 0, detail = 0;
};

// Parse up to `capacity` whole lines of `text` into numbers (capacity, columns) and images (capacity,
// pixels).
//
// An empty cell is NaN, and so is the place of the image. Cells may stand in double quotes. A line that is
// not ended by a newline is left alone unless `last` says that no more text follows. Never reads outside of
// `text`.
ParseResult parse_rows(std::string_view text, const RowShape& shape, bool last, std::size_t capacity,
                       double* numbers, std::uint8_t* images);

}  // namespace kptool
