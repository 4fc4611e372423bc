// Work shared by threads that are started for one call and joined at its end: no pool to outlive a fork, no
// second OpenMP runtime beside torch's. Each item is computed by one thread alone, so results do not depend
// on their number.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace kptool {

// How many threads to use for `items` of which each costs about `bytes` of memory traffic. 0 asks for all
// processors.
inline std::size_t choose_threads(std::size_t wanted, std::size_t items, std::size_t bytes) {
    constexpr std::size_t worth_a_thread = std::size_t{1}
                                           << 19;  // starting one costs about as much as this much work
    const std::size_t available =
        wanted ? wanted : std::max<std::size_t>(1, std::thread::hardware_concurrency());
    const std::size_t useful = std::max<std::size_t>(1, items * bytes / worth_a_thread);
    return std::max<std::size_t>(1, std::min({available, useful, items}));
}

// Call `work(begin, end)` on contiguous ranges that cover 0..items. The first exception of any thread is
// rethrown.
template <class Work>
void parallel(std::size_t items, std::size_t threads, Work work) {
    if (threads <= 1) {
        work(std::size_t{0}, items);
        return;
    }
    std::exception_ptr failure;
    std::mutex guard;
    const auto run = [&](std::size_t part) {
        try {
            work(items * part / threads, items * (part + 1) / threads);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(guard);
            if (!failure) failure = std::current_exception();
        }
    };
    std::vector<std::thread> started;
    started.reserve(threads - 1);
    std::size_t part = 1;
    try {
        for (; part < threads; ++part) started.emplace_back(run, part);
    } catch (const std::system_error&) {
        // No more threads to be had: this one does what is left.
    }
    run(0);
    for (std::size_t rest = part; rest < threads; ++rest) run(rest);
    for (std::thread& thread : started) thread.join();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace kptool
