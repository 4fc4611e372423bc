#include "parse.hpp"

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

namespace kptool {
namespace {

std::string_view trimmed(std::string_view cell) {
    while (!cell.empty() && (cell.front() == ' ' || cell.front() == '\t')) cell.remove_prefix(1);
    while (!cell.empty() && (cell.back() == ' ' || cell.back() == '\t')) cell.remove_suffix(1);
    return cell;
}

// The next cell of a line, without its quotes; `line` is moved behind it, and `more` says whether a comma
// followed.
std::string_view next_cell(std::string_view& line, bool& more) {
    const bool quoted = !line.empty() && line.front() == '"';
    const std::size_t close = quoted ? line.find('"', 1) : std::string_view::npos;
    const std::size_t from = close == std::string_view::npos ? 0 : close;
    const std::size_t comma = line.find(',', from);
    more = comma != std::string_view::npos;
    std::string_view cell = line.substr(0, comma);
    line.remove_prefix(more ? comma + 1 : line.size());
    if (close != std::string_view::npos && trimmed(cell).back() == '"')
        cell = trimmed(cell).substr(1, close - 1);
    return cell;
}

ParseError parse_number(std::string_view cell, double& number) {
    cell = trimmed(cell);
    if (cell.empty()) {
        number = std::numeric_limits<double>::quiet_NaN();
        return ParseError::none;
    }
    if (cell.front() == '+') cell.remove_prefix(1);
    const auto [end, code] = std::from_chars(cell.data(), cell.data() + cell.size(), number);
    const bool whole = code == std::errc{} && end == cell.data() + cell.size();
    return whole && std::isfinite(number) ? ParseError::none : ParseError::not_a_number;
}

// Whole numbers 0..255 between spaces. The loop reads a digit at a time: at one to three digits a number,
// that is what the text costs to look at, and it takes a fraction of what unzipping it did.
ParseError parse_pixels(std::string_view cell, std::size_t expected, std::uint8_t* image,
                        std::size_t& count) {
    const char* at = cell.data();
    const char* const end = at + cell.size();
    count = 0;
    while (at != end) {
        unsigned digit = static_cast<unsigned char>(*at) - '0';
        if (digit > 9) {
            if (*at != ' ' && *at != '\t') return ParseError::pixel_not_a_number;
            ++at;
            continue;
        }
        if (count == expected) return ParseError::too_many_pixels;
        unsigned number = digit;
        while (++at != end && (digit = static_cast<unsigned char>(*at) - '0') <= 9) {
            number = number * 10 + digit;
            if (number > 255) return ParseError::pixel_out_of_range;
        }
        image[count++] = static_cast<std::uint8_t>(number);
    }
    return count == expected ? ParseError::none : ParseError::too_few_pixels;
}

// One line into one row; the error's place goes into `result`.
ParseError parse_line(std::string_view line, const RowShape& shape, double* numbers, std::uint8_t* image,
                      ParseResult& result) {
    bool more = true;
    std::size_t column = 0;
    for (; more && column < shape.columns; ++column) {
        result.column = column;
        const std::string_view cell = next_cell(line, more);
        ParseError error;
        if (column == shape.pixel_column) {
            numbers[column] = std::numeric_limits<double>::quiet_NaN();
            error = parse_pixels(cell, shape.pixels, image, result.detail);
        } else {
            error = parse_number(cell, numbers[column]);
        }
        if (error != ParseError::none) return error;
    }
    result.detail = column;
    if (column < shape.columns) return ParseError::too_few_columns;
    return more ? ParseError::too_many_columns : ParseError::none;
}

}  // namespace

ParseResult parse_rows(std::string_view text, const RowShape& shape, bool last, std::size_t capacity,
                       double* numbers, std::uint8_t* images) {
    ParseResult result;
    while (result.bytes < text.size() && result.rows < capacity) {
        std::string_view line = text.substr(result.bytes);
        const void* newline = std::memchr(line.data(), '\n', line.size());
        if (!newline && !last) break;
        const std::size_t length =
            newline ? static_cast<std::size_t>(static_cast<const char*>(newline) - line.data()) : line.size();
        line = line.substr(0, length);
        if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
        if (!trimmed(line).empty()) {
            result.error = parse_line(line, shape, numbers + result.rows * shape.columns,
                                      images + result.rows * shape.pixels, result);
            if (result.error != ParseError::none) return result;
            ++result.rows;
        }
        result.bytes += length + (newline ? 1 : 0);
    }
    return result;
}

}  // namespace kptool
