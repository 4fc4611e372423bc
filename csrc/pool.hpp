// Large blocks of memory that are used again.
#pragma once

#include <cstddef>

namespace kptool {

struct Block {
    void* data;
    std::size_t size;
};

// Fresh memory costs several times what drawing into it does: the system has to find and clear every page. So
// up to `pool_blocks` blocks that were given back, of at most `pool_bytes` together, wait for the next call
// of about the same size.
constexpr std::size_t pool_blocks = 2;
constexpr std::size_t pool_bytes = std::size_t{2} << 30;

// At least `size` bytes, aligned to cache lines. Throws std::bad_alloc.
Block take_block(std::size_t size);

void give_block(Block block) noexcept;

// Returns what waits to the system.
void clear_pool() noexcept;

}  // namespace kptool
