// The hot loop of reading Kaggle's csv, which contains tens of millions of small integers.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "dispatch.hpp"
#include "parse.hpp"

#if KPTOOL_X86
#include <emmintrin.h>
#endif

namespace kptool {
namespace {

// Accepts any text, and determines the kind of error.
PixelError parse_slowly(Text text, std::size_t pixels, std::uint8_t* out) {
    std::size_t count = 0;
    const char* at = text.begin;
    while (true) {
        while (at < text.end && *at == ' ') ++at;
        if (at == text.end) break;
        if (count == pixels) return {"too-many-pixels", count};
        unsigned value = 0;
        for (; at < text.end && *at != ' '; ++at) {
            if (*at < '0' || *at > '9') return {"pixel-not-a-number", count};
            value = value * 10 + static_cast<unsigned>(*at - '0');
            if (value > 255) return {"pixel-out-of-range", count};
        }
        out[count++] = static_cast<std::uint8_t>(value);
    }
    if (count < pixels) return {"too-few-pixels", count};
    return {nullptr, count};
}

#if KPTOOL_X86
constexpr std::size_t block_size = 64;

// Sets bit i if byte i is a space. Returns false if any byte is neither a space nor a digit.
bool find_spaces(const char* block, std::uint64_t& spaces) {
    __m128i others = _mm_setzero_si128();
    spaces = 0;
    for (unsigned i = 0; i < block_size; i += 16) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + i));
        const __m128i space = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(' '));
        const __m128i above_nine = _mm_subs_epu8(_mm_sub_epi8(bytes, _mm_set1_epi8('0')), _mm_set1_epi8(9));
        others = _mm_or_si128(others, _mm_andnot_si128(space, above_nine));
        spaces |= static_cast<std::uint64_t>(static_cast<unsigned>(_mm_movemask_epi8(space))) << i;
    }
    return _mm_movemask_epi8(_mm_cmpeq_epi8(others, _mm_setzero_si128())) == 0xffff;
}

// Parses numbers of one to three digits, each from the four bytes before the space that ends it. Errors are
// accumulated, so that no step waits for a branch or for the previous number.
class Digits {
  public:
    // `end` is the end of the number and `length` its count of digits; the four bytes before `end` must be
    // readable.
    std::uint8_t number(const char* end, std::size_t length) {
        wrong_ |= length - 1 > 2;
        std::uint32_t bytes;
        std::memcpy(&bytes, end - 4, sizeof bytes);
        const unsigned foreign =
            8 * (4 - static_cast<unsigned>(length)) & 31u;  // bits that precede the number
        const std::uint32_t digits = (bytes >> foreign << foreign) & 0x0f0f0f0fu;
        largest_ = std::max(largest_, __builtin_bswap32(digits));
        // The top byte of the product is 100 hundreds + 10 tens + ones.
        return static_cast<std::uint8_t>((digits * ((100u << 16) + (10u << 8) + 1u)) >> 24);
    }

    bool fine() const { return !wrong_ && largest_ <= 0x020505u; }

  private:
    bool wrong_ = false;
    std::uint32_t largest_ = 0;  // one digit per byte, the most significant digit first
};

// Parses exactly `pixels` numbers separated by single spaces. Returns false for anything else, valid or
// not.
bool parse_fast(Text text, std::size_t pixels, std::uint8_t* out) {
    const auto size = static_cast<std::size_t>(text.end - text.begin);
    if (size < 4 || pixels == 0) return false;
    Digits digits;
    std::size_t count = 0, start = 0;
    for (std::size_t begin = 0; begin < size; begin += block_size) {
        char last[block_size];
        const char* block = text.begin + begin;
        if (size - begin < block_size) {
            std::memset(last, '0', block_size);
            std::memcpy(last, block, size - begin);
            block = last;
        }
        std::uint64_t spaces;
        if (!find_spaces(block, spaces)) return false;
        if (count + static_cast<std::size_t>(__builtin_popcountll(spaces)) >= pixels) return false;
        for (; spaces != 0; spaces &= spaces - 1) {
            const std::size_t end = begin + static_cast<std::size_t>(__builtin_ctzll(spaces));
            if (end < 4) {
                // Fewer than four bytes precede the space: read from a copy padded with zeros in front.
                char head[8] = {'0', '0', '0', '0'};
                std::memcpy(head + 4, text.begin, 4);
                out[count++] = digits.number(head + 4 + end, end - start);
            } else {
                out[count++] = digits.number(text.begin + end, end - start);
            }
            start = end + 1;
        }
    }
    if (count + 1 != pixels) return false;
    out[count] = digits.number(text.end, size - start);
    return digits.fine();
}
#else
bool parse_fast(Text, std::size_t, std::uint8_t*) { return false; }
#endif

}  // namespace

PixelError parse_pixels(Text text, std::size_t pixels, std::uint8_t* out) {
    if (parse_fast(text, pixels, out)) return {nullptr, pixels};
    return parse_slowly(text, pixels, out);
}

}  // namespace kptool
