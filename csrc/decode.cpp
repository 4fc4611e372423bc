#include "decode.hpp"

#include "locate.hpp"
#include "parallel.hpp"
#include "peak.hpp"

namespace kptool {
namespace {

constexpr std::size_t grain_bytes = std::size_t{256}
                                    << 10;  // below this, starting a thread costs more than it saves

template <class T>
void decode_map(const Map<T>& map, Locator<T>& locator, float* point, float* score) {
    const Peak peak = find_peak(map.data, static_cast<std::size_t>(map.width * map.height));
    if (!peak.valid) {
        point[0] = 0.5f * static_cast<float>(map.width - 1);
        point[1] = 0.5f * static_cast<float>(map.height - 1);
        *score = 0.0f;
        return;
    }
    const auto index = static_cast<std::ptrdiff_t>(peak.index);
    const Pixel pixel{index % map.width, index / map.width};
    locator.locate(map, pixel, point);
    *score = static_cast<float>(map.at(pixel.x, pixel.y));
}

}  // namespace

template <class T>
void decode(View<const T, 4> maps, Method method, std::size_t threads, float* coords, float* scores) {
    const std::size_t area = maps.template stride<2>();
    const std::size_t grain = grain_bytes / (area * sizeof(T)) + 1;
    parallel_for(maps.shape[0] * maps.shape[1], threads, grain, [&](std::size_t begin, std::size_t end) {
        Locator<T> locator(method);
        for (std::size_t i = begin; i < end; ++i) {
            const Map<T> map{maps.data + i * area, static_cast<std::ptrdiff_t>(maps.shape[2]),
                             static_cast<std::ptrdiff_t>(maps.shape[3])};
            decode_map(map, locator, coords + 2 * i, scores + i);
        }
        locator.finish();
    });
}

template void decode(View<const float, 4>, Method, std::size_t, float*, float*);
template void decode(View<const Half, 4>, Method, std::size_t, float*, float*);
template void decode(View<const std::uint8_t, 4>, Method, std::size_t, float*, float*);

}  // namespace kptool
