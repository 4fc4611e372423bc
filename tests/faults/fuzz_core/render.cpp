// Rendering and redrawing of arbitrary keypoints, with and without streaming, and the streaming writer.
#include "render.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "input.hpp"
#include "stream.hpp"

using namespace kptool;

namespace {

bool is_drawn(float value) { return value >= 0.0f && value <= 1.0f; }
bool is_drawn(Half value) { return is_drawn(to_float(value)); }
bool is_drawn(std::uint8_t) { return true; }

struct Scene {
    std::size_t count, keypoints;
    std::vector<double> centers, sigma;
    std::vector<std::uint8_t> visibility;
    double window;

    Scene(Input& input, std::size_t n, std::size_t k) : count(n), keypoints(k) {
        const auto kind = input.take<std::uint8_t>();
        for (std::size_t i = 0; i < 2 * n * k; ++i) centers.push_back(coordinate(input, kind));
        for (std::size_t i = 0; i < k; ++i) sigma.push_back(width(input));
        for (std::size_t i = 0; i < n * k; ++i) visibility.push_back(input.take<std::uint8_t>() % 4);
        window = kind & 2 ? 5.6 : std::abs(input.take<double>());
    }

    // Arbitrary bits, or a position near the map.
    static double coordinate(Input& input, std::uint8_t kind) {
        return kind & 1 ? input.take<double>() : input.take<std::int16_t>() / 128.0;
    }

    static double width(Input& input) {
        const double value = input.take<double>();
        return value >= 0.1 && value <= 1000.0 ? value
                                               : 0.1 + static_cast<double>(input.take<std::uint8_t>());
    }

    RenderPlan plan(bool all) const {
        return {{centers.data(), {count, keypoints, 2}},
                sigma.data(),
                all ? nullptr : visibility.data(),
                window,
                1};
    }
};

template <class T>
void check(Input& input) {
    const std::size_t n = input.between(0, 3), k = input.between(1, 3);
    const std::size_t height = input.between(1, 80), width = input.between(1, 80),
                      size = n * k * height * width;
    const auto drawn = array_of<T>(size), again = array_of<T>(size);
    std::vector<Patch> patches(n * k);
    const View<T, 4> maps{drawn.get(), {n, k, height, width}}, canvas{again.get(), {n, k, height, width}};
    for (int round = 0; round < 2; ++round) {
        const Scene scene(input, n, k);
        std::memset(static_cast<void*>(drawn.get()), 0x7f, size * sizeof(T));
        render(scene.plan(round == 0), maps);
        redraw(scene.plan(round == 0), canvas, patches.data());
        PROMISED(std::all_of(drawn.get(), drawn.get() + size, [](T value) { return is_drawn(value); }));
        PROMISED(size == 0 || std::memcmp(drawn.get(), again.get(), size * sizeof(T)) == 0);
    }
}

// Runs of zeros and bytes, with and without streaming, at any start address.
void check_writer(Input& input) {
    constexpr std::size_t most = 4096;
    const std::size_t size = input.between(0, most), lead = input.between(0, 64);
    const bool direct = input.take<std::uint8_t>() % 2 == 1;
    const auto memory = array_of<char>(lead + size);
    std::vector<char> expected(lead + size), source(most, '\1');
    std::memset(memory.get(), 7, lead + size);
    std::fill_n(expected.begin(), lead, static_cast<char>(7));
    {
        Writer to(memory.get() + lead, direct);
        for (std::size_t done = 0; done < size;) {
            const std::size_t bytes = std::min(input.between(0, 300) + (input.left() == 0), size - done);
            const auto way = input.take<std::uint8_t>() % 3;
            void* const here = way == 2 ? to.skip(bytes, direct) : nullptr;
            if (here != nullptr) {
                PROMISED(here == memory.get() + lead + done);
                std::memset(here, 1, bytes);
            } else if (way == 0) {
                to.zeros(bytes);
            } else {
                to.copy(source.data(), bytes);
            }
            std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(lead + done), bytes,
                        static_cast<char>(way != 0));
            done += bytes;
        }
    }
    PROMISED(std::equal(expected.begin(), expected.end(), memory.get()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input(data, size);
    switch (input.take<std::uint8_t>() % 4) {
        case 0:
            check<float>(input);
            break;
        case 1:
            check<Half>(input);
            break;
        case 2:
            check<std::uint8_t>(input);
            break;
        default:
            check_writer(input);
    }
    return 0;
}
