// Filling memory that is larger than the caches: non-temporal stores skip reading it first, and leave the
// caches to others. They pay only where whole cache lines are written, once and in order.
#pragma once

#include <cstddef>

#if defined(__SSE2__) || defined(_M_X64)
#define KPTOOL_SSE2 1
#include <xmmintrin.h>
#endif

namespace kptool {

// Size in bytes of the last-level cache; 32 MiB where the system does not tell.
std::size_t last_level_cache();

// Lets other threads see what was streamed as they see ordinary stores.
void finish_streams();

// Writes a stretch of memory from its begin to its end. With `direct` it gathers units of 16 bytes and sends
// them past the caches; without, and where the processor has no such stores, it is memset and memcpy.
class Writer {
  public:
    Writer(void* begin, bool direct);
    ~Writer();
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    void zeros(std::size_t bytes);
    void copy(const void* source, std::size_t bytes);

    // The place of the next `bytes`, for the caller to write: with ordinary stores, or, `streaming`, with
    // units that go past the caches. Null where the writer does not work that way, or stands within a unit.
    void* skip(std::size_t bytes, bool streaming);

  private:
    static constexpr std::size_t unit_size = 16;

    std::size_t gather(const void* source, std::size_t bytes);
    void flush();

    alignas(unit_size) char unit_[unit_size] = {};
    char* at_;                       // of unit_ in the memory
    std::size_t from_ = 0, to_ = 0;  // the part of unit_ that is filled
    bool direct_;
};

// While it lives, this thread's results too small for a normal float are zero: they are far below any
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
