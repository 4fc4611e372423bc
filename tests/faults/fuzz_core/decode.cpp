// All decoding methods and dtypes on maps of arbitrary bits.
#include "decode.hpp"

#include <cmath>

#include "input.hpp"

using namespace kptool;

namespace {

double value_of(float value) { return static_cast<double>(value); }
double value_of(Half value) { return static_cast<double>(to_float(value)); }
double value_of(std::uint8_t value) { return value / 255.0; }

// The index of the first maximum; `count` if the map has no valid one.
template <class T>
std::size_t plain_peak(const T* map, std::size_t count) {
    std::size_t best = 0;
    bool flat = true;
    for (std::size_t i = 0; i < count; ++i) {
        const double value = value_of(map[i]);
        if (!std::isfinite(value)) return count;
        flat = flat && value == value_of(map[0]);
        if (value > value_of(map[best])) best = i;
    }
    return flat || value_of(map[best]) <= 0.0 ? count : best;
}

template <class T>
void check(const View<const T, 4>& maps, Method method) {
    const std::size_t count = maps.shape[0] * maps.shape[1], area = maps.shape[2] * maps.shape[3];
    const auto coords = array_of<float>(2 * count), scores = array_of<float>(count);
    decode(maps, method, 1, coords.get(), scores.get());
    const float right = static_cast<float>(maps.shape[3]) - 0.5f,
                bottom = static_cast<float>(maps.shape[2]) - 0.5f;
    for (std::size_t i = 0; i < count; ++i) {
        const float x = coords[2 * i], y = coords[2 * i + 1];
        PROMISED(x >= -0.5f && x <= right && y >= -0.5f && y <= bottom);
        const T* const map = maps.data + i * area;
        const std::size_t peak = plain_peak(map, area);
        const double score = peak == area ? 0.0 : value_of(map[peak]);
        PROMISED(scores[i] == static_cast<float>(score));
        if (method == Method::argmax && peak < area) {
            PROMISED(x == static_cast<float>(peak % maps.shape[3]) &&
                     y == static_cast<float>(peak / maps.shape[3]));
        }
    }
}

template <class T>
void run(Input& input) {
    const std::size_t height = input.between(1, 70), width = input.between(1, 70), maps = input.between(0, 3);
    const std::size_t count = maps * height * width;
    const auto map = array_of<T>(count);
    // Short inputs are spread out: one value every few pixels.
    const std::size_t step = input.take<std::uint8_t>() % 40 + 1;
    for (std::size_t i = 0; i < count && input.left() >= sizeof(T); i += step) map[i] = input.take<T>();
    for (const Method method :
         {Method::argmax, Method::centroid, Method::centroid_global, Method::dark, Method::gaussian}) {
        check<T>({map.get(), {maps, 1, height, width}}, method);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input(data, size);
    switch (input.take<std::uint8_t>() % 3) {
        case 0:
            run<float>(input);
            break;
        case 1:
            run<Half>(input);
            break;
        default:
            run<std::uint8_t>(input);
    }
    return 0;
}
