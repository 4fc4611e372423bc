#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "bind.hpp"
#include "pool.hpp"
#include "render.hpp"

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace kptool {
namespace {

using OptionalArray = std::optional<py::array>;

constexpr double least_sigma = 0.1, most_sigma = 1000.0;
constexpr std::size_t least_pooled = std::size_t{1} << 20;

// (N, K, ...) as (N, 1, K, ...), and (N, M, K, ...) as it is.
template <class T, std::size_t D>
View<const T, D + 1> with_instances(const py::array& array, const std::string& name) {
    if (array.ndim() == D + 1) return input<T, D + 1>(array, name);
    const View<const T, D> single = input<T, D>(array, name);
    View<const T, D + 1> view{single.data, {single.shape[0], 1}};
    std::copy_n(single.shape.begin() + 1, D - 1, view.shape.begin() + 2);
    return view;
}

RenderPlan checked_plan(const py::array& centers, const py::array& sigma, const OptionalArray& visibility,
                        double window, std::size_t threads) {
    const auto points = with_instances<double, 3>(centers, "centers");
    const auto sigmas = input<double, 1>(sigma, "sigma");
    require(points.shape[3] == 2, "centers: the last axis is not (x, y)");
    require(sigmas.shape[0] == points.shape[2], "sigma: not one value per keypoint");
    for (std::size_t k = 0; k < sigmas.shape[0]; ++k) {
        require(sigmas.data[k] >= least_sigma && sigmas.data[k] <= most_sigma, "sigma: not from 0.1 to 1000");
    }
    const std::uint8_t* visible = nullptr;
    if (visibility) {
        const auto view = with_instances<std::uint8_t, 2>(*visibility, "visibility");
        require(std::equal(view.shape.begin(), view.shape.end(), points.shape.begin()),
                "visibility: not (N, K), or (N, M, K)");
        visible = view.data;
    }
    return {points, sigmas.data, visible, window, threads};
}

// Calls draw(plan, maps) with a view of `out` for its dtype.
template <class Draw>
void dispatch(const RenderPlan& plan, py::array& out, const Draw& draw) {
    const auto run = [&](auto maps) {
        require(maps.shape[0] == plan.centers.shape[0] && maps.shape[1] == plan.centers.shape[2],
                "out: its first axes are not those of centers");
        require(maps.shape[2] > 0 && maps.shape[3] > 0, "out: an axis is empty");
        // Releasing the GIL is safe: the arguments keep the arrays alive, and the kernel only accesses
        // their memory.
        const py::gil_scoped_release release;
        draw(plan, maps);
    };
    if (holds<float>(out)) return run(output<float, 4>(out, "out"));
    if (holds<Half>(out)) return run(output<Half, 4>(out, "out"));
    run(output<std::uint8_t, 4>(out, "out"));
}

void bind_render(const py::array& centers, const py::array& sigma, const OptionalArray& visibility,
                 double window, py::array& out, std::size_t threads) {
    dispatch(checked_plan(centers, sigma, visibility, window, threads), out,
             [](const RenderPlan& plan, auto maps) { render(plan, maps); });
}

long process() {
#if defined(_WIN32)
    return 0;  // there is no fork
#else
    return getpid();
#endif
}

// Remembers which pixels it drew, so that it only has to erase those.
class Canvas {
  public:
    explicit Canvas(py::array out) : out_(std::move(out)) {
        require(out_.ndim() == 4, "out: wrong number of axes");
        std::copy_n(out_.shape(), 4, shape_.begin());
        drawn_.resize(static_cast<std::size_t>(shape_[0] * shape_[1]));
    }

    void draw(const py::array& centers, const py::array& sigma, const OptionalArray& visibility,
              double window, std::size_t threads) {
        // The record of what was drawn depends on the shape, and NumPy allows the shape of an array to be
        // changed.
        require(out_.ndim() == 4 && std::equal(shape_.begin(), shape_.end(), out_.shape()),
                "out: its shape was changed");
        if (process_ != process()) start_anew();
        const RenderPlan plan = checked_plan(centers, sigma, visibility, window, threads);
        require(plan.centers.shape[1] == 1, "centers: several instances");
        dispatch(plan, out_, [this](const RenderPlan& plan, auto maps) {
            const std::scoped_lock lock(*mutex_);  // needed because the GIL is released
            redraw(plan, maps, drawn_.data());
        });
    }

  private:
    // Called in a forked child. If another thread was drawing during the fork, the maps may be half drawn,
    // and the mutex may be locked by a thread that does not exist here: it can neither be locked nor
    // destroyed, so it is leaked. The GIL excludes other callers.
    void start_anew() {
        const auto side = [this](std::size_t axis) { return static_cast<std::size_t>(shape_[axis]); };
        std::fill(drawn_.begin(), drawn_.end(), Patch{{0, side(3)}, {0, side(2)}});
        auto fresh = std::make_unique<std::mutex>();
        static_cast<void>(mutex_.release());
        mutex_ = std::move(fresh);
        process_ = process();
    }

    py::array out_;
    std::array<py::ssize_t, 4> shape_{};
    std::vector<Patch> drawn_;
    std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();
    long process_ = process();
};

// An uninitialised array; large ones use pooled memory.
py::array empty(const std::vector<py::ssize_t>& shape, const py::dtype& type) {
    const char code = type.char_();
    require(code == code_of<float> || code == code_of<Half> || code == code_of<std::uint8_t>,
            "dtype: not float32, float16 or uint8");
    auto bytes = static_cast<std::size_t>(type.itemsize());
    for (const py::ssize_t side : shape) bytes *= static_cast<std::size_t>(side);
    if (bytes < least_pooled) return py::array(type, shape);
    auto block = std::make_unique<Block>();
    *block = take_block(bytes);
    const py::capsule owner(block.get(), [](void* pointer) {
        const std::unique_ptr<Block> given(static_cast<Block*>(pointer));
        give_block(*given);
    });
    const void* const data = block.release()->data;  // now owned by the capsule
    return py::array(type, shape, data, owner);
}

}  // namespace

void register_render(py::module_& module) {
    module.def("render", &bind_render, py::arg("centers").noconvert(), py::arg("sigma").noconvert(),
               py::arg("visibility").noconvert().none(true), py::arg("window"), py::arg("out").noconvert(),
               py::arg("threads"), "Write Gaussian heatmaps into `out`; see kptool.heatmaps.render.");
    py::class_<Canvas>(module, "Canvas", "Redraws one array of zeros; see kptool.heatmaps.Renderer.")
        .def(py::init<py::array>(), py::arg("out").noconvert())
        .def("draw", &Canvas::draw, py::arg("centers").noconvert(), py::arg("sigma").noconvert(),
             py::arg("visibility").noconvert().none(true), py::arg("window"), py::arg("threads"));
    module.def("empty", &empty, py::arg("shape"), py::arg("dtype"),
               "Like numpy.empty, from memory that is used again.");
    module.def("clear_pool", &clear_pool, "Return the memory that waits to be used again to the system.");
}

}  // namespace kptool
