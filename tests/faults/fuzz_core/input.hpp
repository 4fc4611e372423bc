// Shared by the fuzzers: decoding an input, and aborting if a guarantee is violated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#define PROMISED(condition) promised(condition, #condition, __LINE__)

inline void promised(bool kept, const char* what, int line) {
    if (kept) return;
    std::fprintf(stderr, "line %d: broken promise: %s\n", line, what);
    std::abort();
}

class Input {
  public:
    Input(const std::uint8_t* data, std::size_t size) : at_(data), left_(size) {}

    std::size_t left() const { return left_; }
    const std::uint8_t* rest() const { return at_; }

    // The next bytes as a T; zeros after the end of the input.
    template <class T>
    T take() {
        T value{};
        const std::size_t bytes = left_ < sizeof value ? left_ : sizeof value;
        if (bytes > 0) std::memcpy(&value, at_, bytes);
        at_ += bytes;
        left_ -= bytes;
        return value;
    }

    // An integer from low to high.
    std::size_t between(std::size_t low, std::size_t high) {
        return low + take<std::uint16_t>() % (high - low + 1);
    }

  private:
    const std::uint8_t* at_;
    std::size_t left_;
};

// A separate heap array, so that reads and writes beyond either end are detected.
template <class T>
std::unique_ptr<T[]> array_of(std::size_t count) {
    return std::unique_ptr<T[]>(new T[count]());
}
