#include "bind.hpp"
#include "decode.hpp"

namespace kptool {
namespace {

Method method_of(const std::string& name) {
    if (name == "argmax") return Method::argmax;
    if (name == "centroid") return Method::centroid;
    if (name == "centroid-global") return Method::centroid_global;
    if (name == "dark") return Method::dark;
    if (name == "gaussian") return Method::gaussian;
    throw py::value_error("there is no method " + name);
}

py::tuple decode_maps(const py::array& maps, const std::string& name, std::size_t threads) {
    require_heatmaps(maps);
    const Method method = method_of(name);
    const py::ssize_t n = maps.shape(0), k = maps.shape(1);
    require(n * k == 0 || maps.shape(2) * maps.shape(3) > 0, "heatmaps must have at least one pixel");
    Array<float> points({n, k, py::ssize_t{2}}), scores({n, k});
    float* const xy = points.mutable_data();
    float* const heights = scores.mutable_data();
    with_dtype(maps, [&](auto type) {
        using T = decltype(type);
        const Maps<const T> view{static_cast<const T*>(maps.data()), length(maps, 0) * length(maps, 1),
                                 length(maps, 2), length(maps, 3)};
        // `maps` is held by the caller, the results are not yet shared, and the kernel touches nothing of
        // Python.
        const py::gil_scoped_release unlocked;
        decode(view, method, xy, heights, threads);
    });
    return py::make_tuple(points, scores);
}

}  // namespace

void register_decode(py::module_& module) {
    module.def("decode", &decode_maps, py::arg("maps").noconvert(), py::arg("method"), py::arg("threads"),
               "Points (N, K, 2) and scores (N, K) of heatmaps (N, K, h, w).");
}

}  // namespace kptool
