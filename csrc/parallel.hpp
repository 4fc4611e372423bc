// Threads are started and joined within each call. None outlives the call, so forking is safe, and there is
// no second thread pool to compete with torch's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace kptool {

// The number of threads this process may run at once: the size of its CPU affinity mask, where known.
inline std::size_t available_threads() {
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        return static_cast<std::size_t>(CPU_COUNT(&allowed));
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

// Calls work(begin, end) on disjoint ranges that cover 0 ... count - 1, on at most `threads` threads (0:
// all available) with at least `grain` items each. Rethrows the first exception thrown by any of them.
template <class Work>
void parallel_for(std::size_t count, std::size_t threads, std::size_t grain, const Work& work) {
    const std::size_t wanted = threads == 0 ? available_threads() : threads;
    const std::size_t parts =
        std::max<std::size_t>(1, std::min(wanted, count / std::max<std::size_t>(1, grain)));
    if (parts == 1) return work(std::size_t{0}, count);
    std::vector<std::exception_ptr> errors(parts);
    const auto run = [&](std::size_t part) noexcept {
        try {
            work(count * part / parts, count * (part + 1) / parts);
        } catch (...) {
            errors[part] = std::current_exception();
        }
    };
    std::vector<std::thread> workers;
    workers.reserve(parts - 1);
    std::size_t started = 1;
    try {
        for (; started < parts; ++started) workers.emplace_back(run, started);
    } catch (const std::exception&) {
        // The system cannot start more threads: the calling thread processes the remaining ranges.
    }
    run(0);
    for (std::size_t part = started; part < parts; ++part) run(part);
    for (std::thread& worker : workers) worker.join();
    for (const std::exception_ptr& error : errors) {
        if (error) std::rethrow_exception(error);
    }
}

}  // namespace kptool
