#include "outer.hpp"

#include <algorithm>

#include "dispatch.hpp"
#include "order.hpp"

#if KPTOOL_X86
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace kptool {
namespace {

template <class O, class T>
KPTOOL_INLINE void raise_each(T* map, std::size_t pitch, const T* values, Extent extent) {
    for (std::size_t y = 0; y < extent.height; ++y, map += pitch, values += extent.width) {
        for (std::size_t x = 0; x < extent.width; ++x)
            map[x] = O::key(map[x]) < O::key(values[x]) ? values[x] : map[x];
    }
}

void halves(Half* map, std::size_t pitch, const Factors& f, std::size_t first) {
    for (std::size_t y = 0; y < f.height; ++y) {
        for (std::size_t x = first; x < f.width; ++x) map[y * pitch + x] = to_half(f.column[y] * f.row[x]);
    }
}

void halves_128(Half* map, std::size_t pitch, const Factors& f) { halves(map, pitch, f, 0); }

#if KPTOOL_X86
__attribute__((target("avx,f16c"))) void halves_256(Half* map, std::size_t pitch, const Factors& f) {
    const std::size_t whole = f.width / 8 * 8;
    for (std::size_t y = 0; y < f.height; ++y) {
        const __m256 scale = _mm256_set1_ps(f.column[y]);
        for (std::size_t x = 0; x < whole; x += 8) {
            const __m256 product = _mm256_mul_ps(scale, _mm256_loadu_ps(f.row + x));
            auto* eight = reinterpret_cast<__m128i*>(map + y * pitch + x);
            _mm_storeu_si128(eight, _mm256_cvtps_ph(product, _MM_FROUND_TO_NEAREST_INT));
        }
    }
    halves(map, pitch, f, whole);
}

void stream_128(float* map, std::size_t pitch, const Factors& f) {
    for (std::size_t y = 0; y < f.height; ++y, map += pitch) {
        const __m128 scale = _mm_set1_ps(f.column[y]);
        for (std::size_t x = 0; x < f.width; x += 4)
            _mm_stream_ps(map + x, _mm_mul_ps(scale, _mm_loadu_ps(f.row + x)));
    }
}

// Rows of whole cache lines, few enough to keep them all in registers.
template <std::size_t lines>
__attribute__((target("avx512f"))) void stream_lines(float* map, std::size_t pitch, const Factors& f) {
    __m512 row[lines];
    for (std::size_t i = 0; i < lines; ++i) row[i] = _mm512_loadu_ps(f.row + 16 * i);
    for (std::size_t y = 0; y < f.height; ++y, map += pitch) {
        const __m512 scale = _mm512_set1_ps(f.column[y]);
        for (std::size_t i = 0; i < lines; ++i) _mm512_stream_ps(map + 16 * i, _mm512_mul_ps(scale, row[i]));
    }
}

constexpr std::size_t most_lines = 8;
constexpr void (*by_lines[])(float*, std::size_t, const Factors&) = {
    stream_lines<1>, stream_lines<2>, stream_lines<3>, stream_lines<4>,
    stream_lines<5>, stream_lines<6>, stream_lines<7>, stream_lines<most_lines>};

// Stores whole cache lines where they lie within a row; the processor combines the partial stores at row
// boundaries.
__attribute__((target("avx512f"))) void stream_512(float* map, std::size_t pitch, const Factors& f) {
    const bool whole =
        reinterpret_cast<std::uintptr_t>(map) % 64 == 0 && pitch % 16 == 0 && f.width % 16 == 0;
    if (whole && f.width > 0 && f.width <= 16 * most_lines) return by_lines[f.width / 16 - 1](map, pitch, f);
    for (std::size_t y = 0; y < f.height; ++y, map += pitch) {
        const __m512 scale = _mm512_set1_ps(f.column[y]);
        const __m128 part = _mm_set1_ps(f.column[y]);
        const std::size_t head =
            std::min((0 - reinterpret_cast<std::uintptr_t>(map)) % 64 / sizeof(float), f.width);
        std::size_t x = 0;
        for (; x < head; x += 4) _mm_stream_ps(map + x, _mm_mul_ps(part, _mm_loadu_ps(f.row + x)));
        for (; x + 16 <= f.width; x += 16)
            _mm512_stream_ps(map + x, _mm512_mul_ps(scale, _mm512_loadu_ps(f.row + x)));
        for (; x < f.width; x += 4) _mm_stream_ps(map + x, _mm_mul_ps(part, _mm_loadu_ps(f.row + x)));
    }
}
#endif

// Chosen when the module is loaded: choosing at first use could be interrupted by a fork.
#if KPTOOL_X86
// Not every compiler's __builtin_cpu_supports knows f16c.
bool supports_f16c() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __builtin_cpu_supports("avx") && __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

const auto best_halves = supports_f16c() ? halves_256 : halves_128;
const auto best_stream = __builtin_cpu_supports("avx512f") ? stream_512 : stream_128;
#else
const auto best_halves = halves_128;
const auto best_stream = static_cast<void (*)(float*, std::size_t, const Factors&)>(outer);
#endif

}  // namespace

KPTOOL_VERSIONS void outer(float* map, std::size_t pitch, const Factors& f) {
    const float* KPTOOL_RESTRICT row = f.row;
    for (std::size_t y = 0; y < f.height; ++y) {
        float* KPTOOL_RESTRICT line = map + y * pitch;
        const float scale = f.column[y];
        for (std::size_t x = 0; x < f.width; ++x) line[x] = scale * row[x];
    }
}

KPTOOL_VERSIONS void outer(std::uint8_t* map, std::size_t pitch, const Factors& f) {
    const float* KPTOOL_RESTRICT row = f.row;
    const float* const column = f.column;
    const std::size_t height = f.height, width = f.width;
    for (std::size_t y = 0; y < height; ++y) {
        std::uint8_t* KPTOOL_RESTRICT line = map + y * pitch;
        const float scale = column[y];
        for (std::size_t x = 0; x < width; ++x) {
            line[x] = static_cast<std::uint8_t>(static_cast<std::int32_t>(scale * row[x] + 0.5f));
        }
    }
}

// The bits of floating-point numbers that are not negative have the same order as these.
KPTOOL_VERSIONS void raise(float* map, std::size_t pitch, const float* values, Extent extent) {
    raise_each<Order<float>>(map, pitch, values, extent);
}
KPTOOL_VERSIONS void raise(Half* map, std::size_t pitch, const Half* values, Extent extent) {
    raise_each<Order<Half>>(map, pitch, values, extent);
}
KPTOOL_VERSIONS void raise(std::uint8_t* map, std::size_t pitch, const std::uint8_t* values, Extent extent) {
    raise_each<Order<std::uint8_t>>(map, pitch, values, extent);
}

void outer(Half* map, std::size_t pitch, const Factors& factors) { best_halves(map, pitch, factors); }

void stream_outer(float* map, std::size_t pitch, const Factors& factors) { best_stream(map, pitch, factors); }

}  // namespace kptool
