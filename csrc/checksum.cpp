#include "checksum.hpp"

#include <algorithm>
#include <cstring>

#include "dispatch.hpp"

namespace kptool {
namespace {

constexpr std::uint32_t block = 256;  // words, so few that no sum overflows
constexpr std::uint64_t modulus = 65535;

struct Sums {
    std::uint32_t plain;     // of the words
    std::uint32_t weighted;  // of the plain sums after each word
};

// Of a block of words in the machine's byte order.
KPTOOL_INLINE Sums add_block(const std::uint8_t* data) {
    Sums sums{0, 0};
    for (std::uint32_t i = 0; i < block; ++i) {
        std::uint16_t word;
        std::memcpy(&word, data + 2 * i, sizeof word);
        sums.plain += word;
        sums.weighted += word * (block - i);
    }
    return sums;
}

// Adds whole blocks to both sums.
KPTOOL_VERSIONS void add_blocks(const std::uint8_t* data, std::size_t blocks, std::uint64_t* plain,
                                std::uint64_t* weighted) {
    for (std::size_t i = 0; i < blocks; ++i) {
        const Sums sums = add_block(data + 2 * block * i);
        *weighted += block * *plain + sums.weighted;
        *plain += sums.plain;
    }
}

bool little_endian() {
    const std::uint16_t one = 1;
    std::uint8_t byte = 0;
    std::memcpy(&byte, &one, 1);
    return byte == 1;
}

}  // namespace

std::uint32_t fletcher32(const std::uint8_t* data, std::size_t count) {
    constexpr std::size_t block_bytes = 2 * block, most = 4096;  // blocks, so few that neither sum overflows
    std::uint64_t plain = 0, weighted = 0;
    for (std::size_t blocks = count / block_bytes; blocks > 0;) {
        const std::size_t some = std::min(blocks, most);
        add_blocks(data, some, &plain, &weighted);
        plain %= modulus;
        weighted %= modulus;
        data += some * block_bytes;
        blocks -= some;
    }
    // Swapping the bytes of all words multiplies their sums by 256, modulo 65535.
    if (little_endian()) {
        plain = plain * 256 % modulus;
        weighted = weighted * 256 % modulus;
    }
    for (std::size_t rest = count % block_bytes, i = 0; i < rest; i += 2) {
        plain += (std::uint64_t{data[i]} << 8) | (i + 1 < rest ? data[i + 1] : 0U);
        weighted += plain;
    }
    return static_cast<std::uint32_t>((weighted % modulus) << 16 | (plain % modulus));
}

}  // namespace kptool
