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

constexpr std::align_val_t alignment{std::size_t{2} << 20};  // the size of a huge page

struct Pool {
    std::mutex mutex;
    std::array<Block, pool_blocks> waiting{};

    std::size_t bytes() const {
        std::size_t sum = 0;
        for (const Block& block : waiting) sum += block.size;
        return sum;
    }
};

// Never destroyed, because arrays may outlive the module's other objects. Created when the module is
// loaded, because creation at first use could be interrupted by a fork. The lock is only ever tried: a
// caller that does not get it, for example in a process forked while another thread held it, uses the
// system allocator instead of waiting.
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
    madvise(block.data, block.size, MADV_HUGEPAGE);  // only a hint
#endif
    return block;
}

void give_block(Block block) noexcept {
    {
        const std::unique_lock lock(pool.mutex, std::try_to_lock);
        if (lock && block.size <= pool_bytes) {
            auto& waiting = pool.waiting;
            std::rotate(waiting.begin(), waiting.end() - 1, waiting.end());
            std::swap(block, waiting.front());  // removes the oldest
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
