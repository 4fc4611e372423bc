#include <cmath>
#include <vector>

#include "bind.hpp"
#include "render.hpp"

namespace kptool {
namespace {

// The arrays of a call, checked against the shape of its output.
Gaussians check(const Array<double>& centres, const Array<std::uint8_t>& visible, const Array<double>& sigma,
                double window, const py::array& out) {
    require_heatmaps(out);
    require(out.writeable(), "out must be writable");
    const auto n = out.shape(0), k = out.shape(1);
    require(centres.ndim() == 3 && centres.shape(0) == n && centres.shape(1) == k && centres.shape(2) == 2,
            "centres must be (N, K, 2)");
    require(visible.ndim() == 2 && visible.shape(0) == n && visible.shape(1) == k, "visible must be (N, K)");
    require(sigma.ndim() == 1 && (sigma.shape(0) == 1 || sigma.shape(0) == k), "sigma must be (1,) or (K,)");
    require(window > 0, "window must be positive");
    for (py::ssize_t i = 0; i < sigma.shape(0); ++i) {
        require(std::isfinite(sigma.at(i)) && sigma.at(i) > 0, "sigma must be positive");
    }
    const double* points = centres.data();
    for (py::ssize_t i = 0; i < centres.size(); ++i)
        require(std::isfinite(points[i]), "centres must be finite");
    return {points, visible.data(), sigma.data(), length(sigma, 0), window};
}

template <class T>
Maps<T> maps_of(py::array& out) {
    return {static_cast<T*>(out.mutable_data()), length(out, 0) * length(out, 1), length(out, 2),
            length(out, 3)};
}

void render_into(const Array<double>& centres, const Array<std::uint8_t>& visible, const Array<double>& sigma,
                 double window, py::array out, std::size_t threads) {
    const Gaussians what = check(centres, visible, sigma, window, out);
    with_dtype(out, [&](auto type) {
        const auto maps = maps_of<decltype(type)>(out);
        if (maps.area() == 0) return;
        // The arrays are held by the caller's references while this runs, and the kernel touches nothing of
        // Python.
        const py::gil_scoped_release unlocked;
        render(what, maps, threads);
    });
}

// Where the last Gaussians lie in a buffer, so that the next ones can be drawn without clearing it.
class Patches {
  public:
    void redraw_into(const Array<double>& centres, const Array<std::uint8_t>& visible,
                     const Array<double>& sigma, double window, py::array out, std::size_t threads) {
        const Gaussians what = check(centres, visible, sigma, window, out);
        with_dtype(out, [&](auto type) {
            const auto maps = maps_of<decltype(type)>(out);
            if (maps.area() == 0) return;
            require(boxes_.empty() || (boxes_.size() == maps.count && data_ == maps.data &&
                                       width_ == maps.width && height_ == maps.height),
                    "a renderer draws into one buffer only");
            if (boxes_.empty()) boxes_.resize(maps.count);
            data_ = maps.data, width_ = maps.width, height_ = maps.height;
            redraw(what, maps, boxes_, threads);  // keeps the GIL: `boxes_` is shared by whoever calls
        });
    }

  private:
    std::vector<Box> boxes_;
    const void* data_ = nullptr;
    std::size_t width_ = 0, height_ = 0;
};

}  // namespace

void register_render(py::module_& module) {
    const auto strict = [](const char* name) { return py::arg(name).noconvert(); };
    module.def("render_into", &render_into, strict("centres"), strict("visible"), strict("sigma"),
               py::arg("window"), strict("out"), py::arg("threads"),
               "Draw Gaussians into every value of `out`.");
    py::class_<Patches>(module, "Patches", "Remembers where Gaussians were drawn in one buffer.")
        .def(py::init<>())
        .def("redraw_into", &Patches::redraw_into, strict("centres"), strict("visible"), strict("sigma"),
             py::arg("window"), strict("out"), py::arg("threads"),
             "Erase the last Gaussians, draw the next.");
}

}  // namespace kptool
