// The csv parser and the pixel parser on arbitrary bytes, split anywhere, against a simple pixel parser.
#include "parse.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "input.hpp"

using namespace kptool;

namespace {

// Parses byte by byte; -1 if the text is not exactly `count` numbers from 0 to 255.
std::vector<int> plain_pixels(const std::string& text, std::size_t count) {
    std::vector<int> values;
    const std::vector<int> wrong{-1};
    for (std::size_t i = 0; i < text.size();) {
        if (text[i] == ' ') {
            ++i;
            continue;
        }
        int value = 0;
        for (; i < text.size() && text[i] != ' '; ++i) {
            if (text[i] < '0' || text[i] > '9') return wrong;
            value = std::min(value * 10 + (text[i] - '0'), 256);
        }
        if (value > 255) return wrong;
        values.push_back(value);
    }
    return values.size() == count ? values : wrong;
}

void check_pixels(Text text, std::size_t count) {
    const auto out = array_of<std::uint8_t>(count);
    const PixelError error = parse_pixels(text, count, out.get());
    const std::vector<int> expected = plain_pixels(std::string(text.begin, text.end), count);
    const bool right = expected.size() == count && (count == 0 || expected[0] >= 0);
    PROMISED(right == (error.code == nullptr));
    PROMISED(error.count <= count);
    if (right) PROMISED(std::equal(expected.begin(), expected.end(), out.get()));
}

struct Arrays {
    explicit Arrays(std::size_t rows, const Table& table)
        : shape_{rows, table.columns},
          floats_(array_of<double>(rows * table.columns)),
          images_(array_of<std::uint8_t>(rows * table.pixels)),
          pixels_(table.pixels) {}

    View<double, 2> floats(std::size_t from = 0) {
        return {floats_.get() + from * shape_[1], {shape_[0] - from, shape_[1]}};
    }
    View<std::uint8_t, 2> images(std::size_t from = 0) {
        return {images_.get() + from * pixels_, {shape_[0] - from, pixels_}};
    }
    bool same(Arrays& other, std::size_t rows) {
        return std::memcmp(floats_.get(), other.floats_.get(), rows * shape_[1] * sizeof(double)) == 0 &&
               std::equal(images_.get(), images_.get() + rows * pixels_, other.images_.get());
    }

  private:
    std::array<std::size_t, 2> shape_;
    std::unique_ptr<double[]> floats_;
    std::unique_ptr<std::uint8_t[]> images_;
    std::size_t pixels_;
};

void check_rows(Arrays& arrays, const Parsed& parsed, const Table& table, std::size_t rows,
                std::size_t size) {
    PROMISED(parsed.rows <= rows && parsed.bytes <= size);
    const double* values = arrays.floats().data;
    for (std::size_t i = 0; i < parsed.rows * table.columns; ++i) PROMISED(!std::isinf(values[i]));
    if (!parsed.error) return;
    PROMISED(parsed.error->row == parsed.rows && parsed.error->column <= table.columns);
    PROMISED(parsed.error->code != nullptr);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input(data, size);
    const std::size_t columns = input.between(1, 6), rows = input.between(0, 6),
                      cut = input.take<std::uint16_t>();
    const auto pixel_column = static_cast<std::ptrdiff_t>(input.between(0, columns)) - 1;
    const Table table{columns, pixel_column, pixel_column < 0 ? 0 : input.between(0, 200)};
    const std::size_t length = input.left();
    const auto copy = array_of<char>(length);
    if (length > 0) std::memcpy(copy.get(), input.rest(), length);
    const Text text{copy.get(), copy.get() + length};

    check_pixels(text, table.pixels);
    Arrays whole(rows, table), pieces(rows, table);
    const Parsed all = parse_rows(text, table, whole.floats(), whole.images(), true);
    check_rows(whole, all, table, rows, length);

    // The same, split in two.
    const Text head{text.begin, text.begin + std::min(cut, length)};
    const Parsed first = parse_rows(head, table, pieces.floats(), pieces.images(), false);
    check_rows(pieces, first, table, rows, length);
    Parsed both = first;
    if (!first.error) {
        both = parse_rows({text.begin + first.bytes, text.end}, table, pieces.floats(first.rows),
                          pieces.images(first.rows), true);
        both.rows += first.rows;
        both.bytes += first.bytes;
    }
    PROMISED(both.rows == all.rows && both.bytes == all.bytes && !both.error == !all.error);
    PROMISED(whole.same(pieces, all.rows));
    return 0;
}
