#include "stream.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>

#include "dispatch.hpp"

#if KPTOOL_X86
#include <immintrin.h>
#endif

namespace kptool {
namespace {

// Fills `count` units of 16 bytes, the size of the smallest non-temporal vector store; a null source means
// zeros.
using Stream = void (*)(char* to, const char* from, std::size_t count);

#if KPTOOL_X86
void stream_128(char* to, const char* from, std::size_t count) {
    const __m128i zero = _mm_setzero_si128();
    for (std::size_t i = 0; i < count; ++i) {
        auto* unit = reinterpret_cast<__m128i*>(to + 16 * i);
        _mm_stream_si128(unit,
                         from ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 16 * i)) : zero);
    }
}

// Writes whole cache lines of 64 bytes. The processor also combines the smaller stores before and after
// them into lines.
__attribute__((target("avx512f"))) void stream_512(char* to, const char* from, std::size_t count) {
    const std::size_t head = std::min((0 - reinterpret_cast<std::uintptr_t>(to)) % 64 / 16, count);
    const std::size_t lines = (count - head) / 4;
    const std::size_t body = head + 4 * lines;
    stream_128(to, from, head);
    const __m512i zero = _mm512_setzero_si512();
    for (std::size_t i = head; i < body; i += 4) {
        auto* line = reinterpret_cast<__m512i*>(to + 16 * i);
        _mm512_stream_si512(line, from ? _mm512_loadu_si512(from + 16 * i) : zero);
    }
    stream_128(to + 16 * body, from ? from + 16 * body : nullptr, count - body);
}

__attribute__((target("avx"))) void stream_256(char* to, const char* from, std::size_t count) {
    const std::size_t head = std::min((0 - reinterpret_cast<std::uintptr_t>(to)) % 32 / 16, count);
    const std::size_t body = head + (count - head) / 2 * 2;
    stream_128(to, from, head);
    const __m256i zero = _mm256_setzero_si256();
    for (std::size_t i = head; i < body; i += 2) {
        auto* pair = reinterpret_cast<__m256i*>(to + 16 * i);
        _mm256_stream_si256(
            pair, from ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 16 * i)) : zero);
    }
    stream_128(to + 16 * body, from ? from + 16 * body : nullptr, count - body);
}

Stream choose() {
    if (__builtin_cpu_supports("avx512f")) return stream_512;
    return __builtin_cpu_supports("avx") ? stream_256 : stream_128;
}
#else
Stream choose() { return nullptr; }
#endif

std::size_t read_cache_size() {
#if defined(KPTOOL_CACHE_BYTES)
    return KPTOOL_CACHE_BYTES;  // for tests, so that small arrays are streamed as well
#endif
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");
    std::size_t kibibytes = 0;
    return (file >> kibibytes) ? kibibytes << 10 : std::size_t{32} << 20;
}

// Initialised when the module is loaded: doing so at first use could be interrupted by a fork.
const Stream stream = choose();
const std::size_t cache_size = read_cache_size();

}  // namespace

std::size_t last_level_cache() { return cache_size; }

void finish_streams() {
#if KPTOOL_X86
    _mm_sfence();
#endif
}

Writer::Writer(void* begin, bool direct)
    : at_(static_cast<char*>(begin)), direct_(direct && stream != nullptr) {
    if (!direct_) return;
    from_ = to_ = reinterpret_cast<std::uintptr_t>(begin) % unit_size;
    at_ -= from_;
}

Writer::~Writer() {
    if (!direct_) return;
    flush();
    finish_streams();
}

// Appends to a unit that has already been started. Returns the number of bytes of `source` consumed.
std::size_t Writer::gather(const void* source, std::size_t bytes) {
    if (to_ == 0) return 0;
    const std::size_t taken = bytes < unit_size - to_ ? bytes : unit_size - to_;
    if (source != nullptr) {
        std::memcpy(unit_ + to_, source, taken);
    } else {
        std::memset(unit_ + to_, 0, taken);
    }
    to_ += taken;
    if (to_ == unit_size) flush();
    return taken;
}

void Writer::flush() {
    if (from_ == 0 && to_ == unit_size) {
        stream(at_, unit_, 1);
    } else {
        std::memcpy(at_ + from_, unit_ + from_, to_ - from_);
    }
    if (to_ == unit_size) at_ += unit_size;
    from_ = to_ = 0;
}

void Writer::zeros(std::size_t bytes) {
    if (!direct_) {
        std::memset(at_, 0, bytes);
        at_ += bytes;
        return;
    }
    bytes -= gather(nullptr, bytes);
    if (bytes == 0) return;
    const std::size_t units = bytes / unit_size;
    stream(at_, nullptr, units);
    at_ += units * unit_size;
    to_ = bytes % unit_size;
    std::memset(unit_, 0, to_);
}

void Writer::copy(const void* source, std::size_t bytes) {
    if (!direct_) {
        std::memcpy(at_, source, bytes);
        at_ += bytes;
        return;
    }
    const std::size_t taken = gather(source, bytes);
    const char* from = static_cast<const char*>(source) + taken;
    bytes -= taken;
    if (bytes == 0) return;
    const std::size_t units = bytes / unit_size;
    stream(at_, from, units);
    at_ += units * unit_size;
    to_ = bytes % unit_size;
    std::memcpy(unit_, from + units * unit_size, to_);
}

void* Writer::skip(std::size_t bytes, bool streaming) {
    if (direct_ != streaming || to_ != 0 || (streaming && bytes % unit_size != 0)) return nullptr;
    void* const here = at_;
    at_ += bytes;
    return here;
}

}  // namespace kptool
