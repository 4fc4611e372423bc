#include "checksum.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "dispatch.hpp"

namespace kptool {
namespace {

constexpr std::size_t lanes = 16;
constexpr std::size_t most_rows = 360;  // the largest number for which no lane's second sum overflows
constexpr std::uint64_t modulus = 65535;

struct Sums {
    std::uint64_t plain;     // of the words
    std::uint64_t weighted;  // of the plain sums after each word
};

// The sums of rows of `lanes` words each, in the machine's byte order. A lane's word of row i is counted rows - i times
// by its own second sum; in the order of words it counts lanes * (rows - i) - lane times.
KPTOOL_VERSIONS Sums add_rows(const std::uint8_t* data, std::size_t rows) {
    std::array<std::uint32_t, lanes> first{}, second{};
    for (std::size_t row = 0; row < rows; ++row) {
        std::array<std::uint16_t, lanes> words;
        std::memcpy(words.data(), data + row * sizeof(words), sizeof(words));
        for (std::size_t i = 0; i < lanes; ++i) {
            first[i] += words[i];
            second[i] += first[i];
        }
    }
    Sums sums{0, 0};
    for (std::size_t i = 0; i < lanes; ++i) {
        sums.plain += first[i];
        sums.weighted += lanes * std::uint64_t{second[i]} - i * std::uint64_t{first[i]};
    }
    return sums;
}

bool little_endian() {
    const std::uint16_t one = 1;
    std::uint8_t byte = 0;
    std::memcpy(&byte, &one, 1);
    return byte == 1;
}

}  // namespace

std::uint32_t fletcher32(const std::uint8_t* data, std::size_t count) {
    constexpr std::size_t row_bytes = 2 * lanes;
    std::uint64_t plain = 0, weighted = 0;
    std::size_t rows = count / row_bytes;
    while (rows > 0) {
        const std::size_t some = std::min(rows, most_rows);
        const Sums sums = add_rows(data, some);
        weighted = (weighted + some * lanes * plain + sums.weighted) % modulus;
        plain = (plain + sums.plain) % modulus;
        data += some * row_bytes;
        rows -= some;
    }
    // Swapping the bytes of all words multiplies their sums by 256, modulo 65535.
    if (little_endian()) {
        plain = plain * 256 % modulus;
        weighted = weighted * 256 % modulus;
    }
    for (std::size_t rest = count % row_bytes, i = 0; i < rest; i += 2) {
        plain += (std::uint64_t{data[i]} << 8) | (i + 1 < rest ? data[i + 1] : 0U);
        weighted += plain;
    }
    return static_cast<std::uint32_t>((weighted % modulus) << 16 | (plain % modulus));
}

}  // namespace kptool
