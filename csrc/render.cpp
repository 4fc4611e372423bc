#include "render.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "half.hpp"
#include "parallel.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace kptool {
namespace {

// Above this many bytes the output cannot stay in the last-level cache, and is written past it.
constexpr std::size_t kStreamBytes = std::size_t{24} << 20;
// A map up to this size is drawn in a scratch that stays in the second-level cache.
constexpr std::size_t kScratchBytes = std::size_t{1} << 19;
// Factors below this are zero, so that no product is a subnormal float, which would be slow; the error is as
// small.
constexpr double kTiny = 1e-19;

Half quantise(float value, Half) { return to_half(value); }
std::uint8_t quantise(float value, std::uint8_t) { return static_cast<std::uint8_t>(value * 255.0f + 0.5f); }

// The 1-D factor exp(-(x - centre)^2 / (2 sigma^2)) over the window's pixels, into line[x0..x1).
//
// From the pixel nearest to the centre outwards it obeys g(x + 1) = g(x) r(x), r(x + 1) = r(x) exp(-1 /
// sigma^2), so that a line costs four exponentials, however long it is; in double the products lose nothing
// that a float can show.
void factor(double centre, double sigma, double window, std::size_t length, float* line, std::size_t& x0,
            std::size_t& x1) {
    const double last = static_cast<double>(length) - 1;
    const double reach = window * sigma;
    const double low = std::max(0.0, std::ceil(centre - reach)),
                 high = std::min(last, std::floor(centre + reach));
    if (!(low <= high)) {
        x0 = x1 = 0;
        return;
    }
    const double start = std::min(std::max(std::nearbyint(centre), low), high);
    const double a = 0.5 / (sigma * sigma), d = start - centre;
    const double peak = std::exp(-a * d * d), step = std::exp(-2 * a);
    const auto first = static_cast<std::size_t>(low), end = static_cast<std::size_t>(high) + 1;
    const auto middle = static_cast<std::size_t>(start);
    double up = peak, rise = std::exp(-a * (2 * d + 1));
    std::size_t x = middle;
    for (; x < end && up > kTiny; ++x, up *= rise, rise *= step) line[x] = static_cast<float>(up);
    x1 = x;
    double down = peak, fall = std::exp(-a * (1 - 2 * d));
    x = middle + 1;
    for (; x > first && down > kTiny; --x, down *= fall, fall *= step) line[x - 1] = static_cast<float>(down);
    x0 = x;
    if (x0 >= x1) x0 = x1 = 0;
}

KPTOOL_CLONES
void product(const float* line, float scale, float* out, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) out[i] = scale * line[i];
}

KPTOOL_CLONES
void product(const float* line, float scale, Half* out, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) out[i] = quantise(scale * line[i], Half{});
}

KPTOOL_CLONES
void product(const float* line, float scale, std::uint8_t* out, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) out[i] = quantise(scale * line[i], std::uint8_t{});
}

// The lines of one thread: room for a row's and a column's factor.
struct Lines {
    std::vector<float> row, column;
    Lines(std::size_t height, std::size_t width) : row(width), column(height) {}
};

// Draw Gaussian i of `what` into a map that is zero there; returns the patch it covers.
template <class T>
Box draw(const Gaussians& what, std::size_t i, T* map, std::size_t height, std::size_t width, Lines& lines) {
    Box box;
    if (!what.visible[i]) return box;
    const double sigma = what.sigma[i % what.sigmas];
    factor(what.centres[2 * i], sigma, what.window, width, lines.row.data(), box.x0, box.x1);
    if (box.x0 == box.x1) return Box{};
    factor(what.centres[2 * i + 1], sigma, what.window, height, lines.column.data(), box.y0, box.y1);
    for (std::size_t y = box.y0; y < box.y1; ++y) {
        product(lines.row.data() + box.x0, lines.column[y], map + y * width + box.x0, box.x1 - box.x0);
    }
    return box;
}

template <class T>
void erase(const Box& box, T* map, std::size_t width) {
    for (std::size_t y = box.y0; y < box.y1; ++y) {
        std::memset(map + y * width + box.x0, 0, (box.x1 - box.x0) * sizeof(T));
    }
}

// Copy past the caches: memory that will not be read soon should not be read first just to be overwritten.
void stream(const void* from, void* to, std::size_t bytes) {
#if defined(__SSE2__)
    const auto* source = static_cast<const unsigned char*>(from);
    auto* target = static_cast<unsigned char*>(to);
    const std::size_t head = std::min(bytes, (64 - reinterpret_cast<std::uintptr_t>(target) % 64) % 64);
    std::memcpy(target, source, head);
    source += head, target += head, bytes -= head;
    for (; bytes >= 64; bytes -= 64, source += 64, target += 64) {
        for (int i = 0; i < 4; ++i) {
            const __m128i value = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source) + i);
            _mm_stream_si128(reinterpret_cast<__m128i*>(target) + i, value);
        }
    }
    std::memcpy(target, source, bytes);
#else
    std::memcpy(to, from, bytes);
#endif
}

void finish_streaming() {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

}  // namespace

template <class T>
void render(const Gaussians& what, Maps<T> maps, std::size_t threads) {
    const std::size_t bytes = maps.area() * sizeof(T);
    const bool streamed = bytes * maps.count > kStreamBytes && bytes <= kScratchBytes;
    parallel(maps.count, choose_threads(threads, maps.count, bytes), [&](std::size_t begin, std::size_t end) {
        Lines lines(maps.height, maps.width);
        std::vector<T> scratch(streamed ? maps.area() : 0);
        for (std::size_t i = begin; i < end; ++i) {
            if (streamed) {
                const Box box = draw(what, i, scratch.data(), maps.height, maps.width, lines);
                stream(scratch.data(), maps.map(i), bytes);
                erase(box, scratch.data(), maps.width);
            } else {
                std::memset(maps.map(i), 0, bytes);
                draw(what, i, maps.map(i), maps.height, maps.width, lines);
            }
        }
        finish_streaming();
    });
}

template <class T>
void redraw(const Gaussians& what, Maps<T> maps, std::vector<Box>& boxes, std::size_t threads) {
    const std::size_t touched = 64 * maps.height;  // about a cache line per row of a patch
    parallel(maps.count, choose_threads(threads, maps.count, touched),
             [&](std::size_t begin, std::size_t end) {
                 Lines lines(maps.height, maps.width);
                 for (std::size_t i = begin; i < end; ++i) {
                     erase(boxes[i], maps.map(i), maps.width);
                     boxes[i] = draw(what, i, maps.map(i), maps.height, maps.width, lines);
                 }
             });
}

template void render(const Gaussians&, Maps<float>, std::size_t);
template void render(const Gaussians&, Maps<Half>, std::size_t);
template void render(const Gaussians&, Maps<std::uint8_t>, std::size_t);
template void redraw(const Gaussians&, Maps<float>, std::vector<Box>&, std::size_t);
template void redraw(const Gaussians&, Maps<Half>, std::vector<Box>&, std::size_t);
template void redraw(const Gaussians&, Maps<std::uint8_t>, std::vector<Box>&, std::size_t);

}  // namespace kptool
