// Fills memory larger than the caches. Non-temporal stores avoid reading the memory first and do not evict
// other data from the caches; they are only faster when whole cache lines are written, once and in order.
#pragma once

#include <cstddef>

#if defined(__SSE2__) || defined(_M_X64)
#define KPTOOL_SSE2 1
#include <xmmintrin.h>
#endif

namespace kptool {

// Size of the last-level cache in bytes; 32 MiB if the system does not report it.
std::size_t last_level_cache();

// Makes non-temporal stores visible to other threads like ordinary ones.
void finish_streams();

// Writes a range of memory sequentially. With `direct`, it assembles units of 16 bytes and writes them with
// non-temporal stores; without, or if the processor has no such stores, it uses memset and memcpy.
class Writer {
  public:
    Writer(void* begin, bool direct);
    ~Writer();
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    void zeros(std::size_t bytes);
    void copy(const void* source, std::size_t bytes);

    // Returns a pointer to the next `bytes` for the caller to fill with ordinary stores, or, if
    // `streaming`, with non-temporal stores of whole units. Returns null if the writer works in the other
    // mode or is in the middle of a unit.
    void* skip(std::size_t bytes, bool streaming);

  private:
    static constexpr std::size_t unit_size = 16;

    std::size_t gather(const void* source, std::size_t bytes);
    void flush();

    alignas(unit_size) char unit_[unit_size] = {};
    char* at_;                       // destination of unit_
    std::size_t from_ = 0, to_ = 0;  // the filled part of unit_
    bool direct_;
};

// Flushes subnormal results and inputs of this thread to zero during its lifetime: they are far below any
// output's resolution, and slow to compute with.
class FlushToZero {
  public:
#if KPTOOL_SSE2
    FlushToZero() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040u); }
    ~FlushToZero() { _mm_setcsr(saved_); }
#else
    FlushToZero() {}
#endif
    FlushToZero(const FlushToZero&) = delete;
    FlushToZero& operator=(const FlushToZero&) = delete;

#if KPTOOL_SSE2
  private:
    unsigned saved_;
#endif
};

}  // namespace kptool
