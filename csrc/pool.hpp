// A pool that recycles large blocks of memory.
#pragma once

#include <cstddef>

namespace kptool {

struct Block {
    void* data;
    std::size_t size;
};

// Allocating fresh memory costs several times as much as drawing into it, because the system has to find
// and clear every page. Up to `pool_blocks` released blocks, of at most `pool_bytes` together, are
// therefore kept for later calls of about the same size.
constexpr std::size_t pool_blocks = 2;
constexpr std::size_t pool_bytes = std::size_t{2} << 30;

// At least `size` bytes, aligned to cache lines. Throws std::bad_alloc.
Block take_block(std::size_t size);

void give_block(Block block) noexcept;

// Returns all pooled blocks to the system.
void clear_pool() noexcept;

}  // namespace kptool
