#include <utility>

#include "bind.hpp"
#include "decode.hpp"

namespace kptool {
namespace {

constexpr std::pair<const char*, Method> methods[] = {
    {"argmax", Method::argmax}, {"centroid", Method::centroid}, {"centroid-global", Method::centroid_global},
    {"dark", Method::dark},     {"gaussian", Method::gaussian},
};

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

}  // namespace

void register_decode(py::module_& module) {
    py::list names;
    for (const auto& entry : methods) names.append(entry.first);
    module.attr("METHODS") = py::tuple(names);
    module.def("decode", &bind, py::arg("heatmaps").noconvert(), py::arg("method"), py::arg("threads"),
               "Points (N, K, 2) and scores (N, K); see kptool.heatmaps.decode.");
}

}  // namespace kptool
