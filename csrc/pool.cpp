#include "pool.hpp"

#include <algorithm>
#include <array>
#include <mutex>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace kptool {
namespace {

constexpr std::align_val_t alignment{std::size_t{2} << 20};  // a huge page's

struct Pool {
    std::mutex mutex;
    std::array<Block, pool_blocks> waiting{};

    std::size_t bytes() const {
        std::size_t sum = 0;
        for (const Block& block : waiting) sum += block.size;
        return sum;
    }
};

// Never destroyed: arrays may live longer than the module's other objects. Made when the module is loaded,
// not at the first use, which a fork might cut in two. Its lock is only ever tried: who does not get it, be
// it in a process forked while another thread had it, goes to the system instead of waiting.
Pool& pool = *new Pool;

void release(Block block) noexcept { ::operator delete(block.data, alignment); }

}  // namespace

Block take_block(std::size_t size) {
    {
        const std::unique_lock lock(pool.mutex, std::try_to_lock);
        for (Block& block : pool.waiting) {
            if (lock && block.size >= size && block.size - size <= size / 4)
                return std::exchange(block, Block{});
        }
    }
    const Block block{::operator new(size, alignment), size};
#if defined(__linux__)
    madvise(block.data, block.size, MADV_HUGEPAGE);  // advice: nothing depends on it
#endif
    return block;
}

void give_block(Block block) noexcept {
    {
        const std::unique_lock lock(pool.mutex, std::try_to_lock);
        if (lock && block.size <= pool_bytes) {
            auto& waiting = pool.waiting;
            std::rotate(waiting.begin(), waiting.end() - 1, waiting.end());
            std::swap(block, waiting.front());  // the oldest leaves
            while (pool.bytes() > pool_bytes) {
                const auto oldest =
                    std::find_if(waiting.rbegin(), waiting.rend(), [](const Block& b) { return b.size > 0; });
                release(std::exchange(*oldest, Block{}));
            }
        }
    }
    release(block);
}

void clear_pool() noexcept {
    const std::unique_lock lock(pool.mutex, std::try_to_lock);
    for (Block& block : pool.waiting) {
        if (lock) release(std::exchange(block, Block{}));
    }
}

}  // namespace kptool
