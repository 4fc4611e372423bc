#include <algorithm>
#include <utility>

#include "bind.hpp"
#include "decode.hpp"
#include "maxima.hpp"

namespace kptool {
namespace {

constexpr std::pair<const char*, Method> methods[] = {
    {"argmax", Method::argmax}, {"centroid", Method::centroid}, {"centroid-global", Method::centroid_global},
    {"dark", Method::dark},     {"gaussian", Method::gaussian},
};

constexpr std::size_t most_pixels = std::size_t{1} << 32, most_distance = std::size_t{1} << 16;

Method method_of(const std::string& name) {
    for (const auto& [known, method] : methods) {
        if (name == known) return method;
    }
    throw py::value_error("method: unknown " + name);
}

template <class T>
py::tuple run(const py::array& heatmaps, Method method, std::size_t threads) {
    const View<const T, 4> maps = input<T, 4>(heatmaps, "heatmaps");
    require(maps.shape[2] > 0 && maps.shape[3] > 0, "heatmaps: an axis is empty");
    py::array_t<float> coords({maps.shape[0], maps.shape[1], std::size_t{2}});
    py::array_t<float> scores({maps.shape[0], maps.shape[1]});
    float* const points = coords.mutable_data();
    float* const values = scores.mutable_data();
    {
        // Releasing the GIL is safe: the argument keeps the maps alive, nothing else refers to the results
        // yet, and the kernel only accesses memory.
        const py::gil_scoped_release release;
        decode(maps, method, threads, points, values);
    }
    return py::make_tuple(std::move(coords), std::move(scores));
}

py::tuple bind(const py::array& heatmaps, const std::string& method, std::size_t threads) {
    if (holds<float>(heatmaps)) return run<float>(heatmaps, method_of(method), threads);
    if (holds<Half>(heatmaps)) return run<Half>(heatmaps, method_of(method), threads);
    return run<std::uint8_t>(heatmaps, method_of(method), threads);
}

template <class T>
py::tuple find(const py::array& heatmaps, const PeakSearch& search) {
    const View<const T, 4> maps = input<T, 4>(heatmaps, "heatmaps");
    require(maps.shape[2] > 0 && maps.shape[3] > 0, "heatmaps: an axis is empty");
    require(maps.shape[2] * maps.shape[3] <= most_pixels, "heatmaps: more than 2^32 pixels");
    const std::size_t count = maps.shape[0] * maps.shape[1] * search.most;
    py::array_t<float> coords({maps.shape[0], maps.shape[1], search.most, std::size_t{2}});
    py::array_t<float> scores({maps.shape[0], maps.shape[1], search.most});
    py::array_t<std::int64_t> counts({maps.shape[0], maps.shape[1]});
    float* const points = std::fill_n(coords.mutable_data(), 2 * count, 0.0f) - 2 * count;
    float* const values = std::fill_n(scores.mutable_data(), count, 0.0f) - count;
    std::int64_t* const numbers = counts.mutable_data();
    {
        const py::gil_scoped_release release;  // safe, as in `run`
        find_peaks(maps, search, points, values, numbers);
    }
    return py::make_tuple(std::move(coords), std::move(scores), std::move(counts));
}

py::tuple bind_find(const py::array& heatmaps, double threshold, std::size_t distance, std::size_t most,
                    const std::string& method, std::size_t threads) {
    require(threshold > 0.0 && threshold <= 1e30, "threshold: not above 0");
    require(distance >= 1 && distance <= most_distance, "distance: not from 1 to 65536");
    require(most >= 1 && most <= most_pixels, "most: not from 1 to 2^32");
    const PeakSearch search{threshold, static_cast<std::ptrdiff_t>(distance), most, method_of(method),
                            threads};
    if (holds<float>(heatmaps)) return find<float>(heatmaps, search);
    if (holds<Half>(heatmaps)) return find<Half>(heatmaps, search);
    require(threshold <= 1.0, "threshold: above 1, which is the largest value of bytes");
    return find<std::uint8_t>(heatmaps, search);
}

}  // namespace

void register_decode(py::module_& module) {
    py::list names;
    for (const auto& entry : methods) names.append(entry.first);
    module.attr("METHODS") = py::tuple(names);
    module.def("decode", &bind, py::arg("heatmaps").noconvert(), py::arg("method"), py::arg("threads"),
               "Points (N, K, 2) and scores (N, K); see kptool.heatmaps.decode.");
    module.def("find_peaks", &bind_find, py::arg("heatmaps").noconvert(), py::arg("threshold"),
               py::arg("distance"), py::arg("most"), py::arg("method"), py::arg("threads"),
               "Points (N, K, most, 2), scores (N, K, most), counts (N, K); see kptool.heatmaps.find_peaks.");
}

}  // namespace kptool
