#include "parse.hpp"

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <locale>
#include <sstream>
#include <string>

namespace kptool {
namespace {

const char* find(Text text, char what) {
    const void* found = text.begin == text.end
                            ? nullptr
                            : std::memchr(text.begin, what, static_cast<std::size_t>(text.end - text.begin));
    return found == nullptr ? text.end : static_cast<const char*>(found);
}

bool is_blank(char c) { return c == ' ' || c == '\t'; }

Text trim(Text text) {
    while (text.begin < text.end && is_blank(*text.begin)) ++text.begin;
    while (text.begin < text.end && is_blank(text.end[-1])) --text.end;
    return text;
}

struct Field {
    Text text;
    const char* rest;  // the comma after the field, or the end of the line
    bool closed;       // whether the field is unquoted, or its closing quote is right before `rest`
};

Field next_field(Text line) {
    if (line.begin == line.end || *line.begin != '"') {
        const char* end = find(line, ',');
        return {{line.begin, end}, end, true};
    }
    const Text inner{line.begin + 1, line.end};
    const char* quote = find(inner, '"');
    if (quote == line.end) return {inner, quote, false};
    const char* rest = quote + 1;
    return {{inner.begin, quote}, rest, rest == line.end || *rest == ','};
}

using Code = std::optional<ParseError>;

// Parses one field; the caller sets the row of the error.
Code parse_field(const Field& field, std::size_t column, const Table& table, double* number,
                 std::uint8_t* image) {
    if (static_cast<std::ptrdiff_t>(column) == table.pixel_column) {
        *number = std::numeric_limits<double>::quiet_NaN();
        if (!field.closed) return ParseError{0, column, "pixel-not-a-number", 0};
        const PixelError error = parse_pixels(field.text, table.pixels, image);
        if (error.code != nullptr) return ParseError{0, column, error.code, error.count};
        return std::nullopt;
    }
    const std::optional<double> value = field.closed ? parse_number(field.text) : std::nullopt;
    if (!value) return ParseError{0, column, "not-a-number", column};
    *number = *value;
    return std::nullopt;
}

Code parse_line(Text line, const Table& table, double* floats, std::uint8_t* image) {
    const char* at = line.begin;
    for (std::size_t column = 0; column < table.columns; ++column) {
        if (column > 0) {
            if (at == line.end) return ParseError{0, column, "too-few-columns", column};
            ++at;
        }
        const Field field = next_field({at, line.end});
        if (Code error = parse_field(field, column, table, floats + column, image)) return error;
        at = field.rest;
    }
    if (at != line.end) return ParseError{0, table.columns, "too-many-columns", table.columns};
    return std::nullopt;
}

}  // namespace

std::optional<double> parse_number(Text text) {
    text = trim(text);
    if (text.begin == text.end) return std::numeric_limits<double>::quiet_NaN();
    if (*text.begin == '+' && text.end - text.begin > 1 && text.begin[1] != '-') ++text.begin;
    double value = 0.0;
#if defined(__cpp_lib_to_chars)
    const auto [end, error] = std::from_chars(text.begin, text.end, value);
    if (error != std::errc() || end != text.end) return std::nullopt;
#else
    if (is_blank(*text.begin)) return std::nullopt;
    std::istringstream stream(std::string(text.begin, text.end));
    stream.imbue(std::locale::classic());
    if (!(stream >> value) || stream.peek() != std::istringstream::traits_type::eof()) return std::nullopt;
#endif
    if (!std::isfinite(value)) return std::nullopt;
    return value;
}

Parsed parse_rows(Text text, const Table& table, View<double, 2> floats, View<std::uint8_t, 2> images,
                  bool final) {
    Parsed parsed;
    const char* at = text.begin;
    while (parsed.rows < floats.shape[0] && at != text.end) {
        const char* newline = find({at, text.end}, '\n');
        if (newline == text.end && !final) break;
        const char* next = newline == text.end ? newline : newline + 1;
        Text line{at, newline};
        if (line.begin < line.end && line.end[-1] == '\r') --line.end;
        if (line.begin != line.end) {
            parsed.error = parse_line(line, table, floats.data + parsed.rows * floats.shape[1],
                                      images.data + parsed.rows * images.shape[1]);
            if (parsed.error) {
                parsed.error->row = parsed.rows;
                break;
            }
            ++parsed.rows;
        }
        at = next;
    }
    parsed.bytes = static_cast<std::size_t>(at - text.begin);
    return parsed;
}

}  // namespace kptool
