#include "render.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "gaussian.hpp"
#include "outer.hpp"
#include "parallel.hpp"
#include "stream.hpp"

namespace kptool {
namespace {

constexpr std::size_t grain_bytes = std::size_t{256}
                                    << 10;  // below this, starting a thread costs more than it saves

struct Blob {
    double x, y, sigma, window;
};

// The value that a type stores for 1, and the distance in sigmas beyond which the Gaussian rounds to zero.
template <class T>
struct Format {
    static constexpr float one = 1.0f;
    static constexpr double reach = 13.3;  // exp(-reach^2 / 2) < 2^-126
};
template <>
struct Format<Half> {
    static constexpr float one = 1.0f;
    static constexpr double reach = 5.8871;  // < 2^-25
};
template <>
struct Format<std::uint8_t> {
    static constexpr float one = 255.0f;
    static constexpr double reach = 3.5312;  // < 0.5 / 255
};

// Draws maps one after another; holds the buffers of one thread.
template <class T>
class Painter {
  public:
    Painter(std::size_t height, std::size_t width)
        : height_(height),
          width_(width),
          row_(width),
          part_(padded(width)),
          column_(padded(height)),
          zeros_(std::max(height, width)) {}

    // The pixels that are nonzero for a blob.
    Patch patch(const Blob& blob) const {
        const double radius = std::min(blob.window, Format<T>::reach) * blob.sigma;
        const Patch where{span_around(width_, blob.x, radius), span_around(height_, blob.y, radius)};
        return where.x.size() == 0 || where.y.size() == 0 ? Patch{} : where;
    }

    void draw(Writer& to, const Blob& blob) {
        place(blob);
        to.zeros(where_.y.begin * width_ * sizeof(T));
        // Computed here because it overlaps with writing the zeros to memory.
        fill_gaussian(column_.data(), where_.y, blob.y, blob.sigma, Format<T>::one);
        paint(to, {column_.data(), where_.y.size(), row_.data(), width_});
        to.zeros((height_ - where_.y.end) * width_ * sizeof(T));
    }

    // Draws only the patch, widened to whole cache lines of floats, and returns the widened patch.
    Patch touch_up(T* map, const Blob& blob, bool direct) {
        place(blob);
        fill_gaussian(column_.data(), where_.y, blob.y, blob.sigma, Format<T>::one);
        const Patch wide{{where_.x.begin / 16 * 16, std::min(padded(where_.x.end), width_)}, where_.y};
        put(map, wide, column_.data(), row_.data() + wide.x.begin, direct);
        return wide;
    }

    // Raises the pixels of the patch that are below the blob.
    void merge(T* map, const Blob& blob) {
        place(blob);
        if (where_.area() == 0) return;
        fill_gaussian(column_.data(), where_.y, blob.y, blob.sigma, Format<T>::one);
        const std::size_t width = where_.x.size(), height = where_.y.size();
        scratch_.resize(std::max(scratch_.size(), width * height));
        outer(scratch_.data(), width, {column_.data(), height, row_.data() + where_.x.begin, width});
        raise(map + where_.y.begin * width_ + where_.x.begin, width_, scratch_.data(), {height, width});
    }

    void erase(T* map, const Patch& where, bool direct) {
        put(map, where, zeros_.data(), zeros_.data(), direct);
    }

  private:
    // Computes where_ and row_.
    void place(const Blob& blob) {
        std::fill_n(row_.begin() + where_.x.begin, where_.x.size(), 0.0f);
        where_ = patch(blob);
        fill_gaussian(part_.data(), where_.x, blob.x, blob.sigma, 1.0f);
        std::copy_n(part_.begin(), where_.x.size(), row_.begin() + where_.x.begin);
    }

    void put(T* map, const Patch& where, const float* column, const float* row, bool direct) const {
        T* const corner = map + where.y.begin * width_ + where.x.begin;
        const Factors factors{column, where.y.size(), row, where.x.size()};
        if constexpr (std::is_same_v<T, float>) {
            if (direct) return stream_outer(corner, width_, factors);
        }
        outer(corner, width_, factors);
    }

    void paint(Writer& to, const Factors& factors) {
        const std::size_t bytes = factors.height * width_ * sizeof(T);
        if (void* const here = to.skip(bytes, false)) return outer(static_cast<T*>(here), width_, factors);
        if constexpr (std::is_same_v<T, float>) {
            if (void* const here = width_ % 4 == 0 ? to.skip(bytes, true) : nullptr) {
                return stream_outer(static_cast<T*>(here), width_, factors);
            }
        }
        scratch_.resize(std::max(scratch_.size(), factors.height * width_));
        outer(scratch_.data(), width_, factors);
        to.copy(scratch_.data(), bytes);
    }

    std::size_t height_, width_;
    Patch where_;  // row_ is zero outside of it
    std::vector<float> row_, part_, column_, zeros_;
    std::vector<T> scratch_;
};

// Calls work(painter, begin, end) on ranges of maps, on several threads.
template <class T, class Work>
void for_maps(const RenderPlan& plan, View<T, 4> maps, const Work& work) {
    const std::size_t grain = grain_bytes / (maps.template stride<2>() * sizeof(T)) + 1;
    parallel_for(maps.shape[0] * maps.shape[1], plan.threads, grain, [&](std::size_t begin, std::size_t end) {
        const FlushToZero guard;
        Painter<T> painter(maps.shape[2], maps.shape[3]);
        work(painter, begin, end);
    });
}

// What to draw of an instance into map i: its index among the centers.
std::size_t index_of(const RenderPlan& plan, std::size_t i, std::size_t instance) {
    const std::size_t keypoints = plan.centers.shape[2];
    return (i / keypoints * plan.centers.shape[1] + instance) * keypoints + i % keypoints;
}

Blob blob(const RenderPlan& plan, std::size_t index) {
    const double* center = plan.centers.data + 2 * index;
    return {center[0], center[1], plan.sigma[index % plan.centers.shape[2]], plan.window};
}

bool hidden(const RenderPlan& plan, std::size_t index) {
    return plan.visibility != nullptr && plan.visibility[index] == 0;
}

template <class T>
void render_instances(const RenderPlan& plan, View<T, 4> maps) {
    const std::size_t area = maps.template stride<2>(), instances = plan.centers.shape[1];
    for_maps(plan, maps, [&](Painter<T>& painter, std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            T* const map = maps.data + i * area;
            bool empty = true;
            for (std::size_t m = 0; m < instances; ++m) {
                const std::size_t index = index_of(plan, i, m);
                if (hidden(plan, index)) continue;
                if (empty) {
                    Writer to(map, false);
                    painter.draw(to, blob(plan, index));
                    empty = false;
                } else {
                    painter.merge(map, blob(plan, index));
                }
            }
            if (empty) std::memset(map, 0, area * sizeof(T));
        }
    });
}

}  // namespace

template <class T>
void render(const RenderPlan& plan, View<T, 4> maps) {
    if (plan.centers.shape[1] != 1) return render_instances(plan, maps);
    const std::size_t area = maps.template stride<2>();
    const bool direct = maps.template stride<0>() * sizeof(T) > last_level_cache();
    for_maps(plan, maps, [&](Painter<T>& painter, std::size_t begin, std::size_t end) {
        Writer to(maps.data + begin * area, direct);
        for (std::size_t i = begin; i < end; ++i) {
            if (hidden(plan, i)) {
                to.zeros(area * sizeof(T));
            } else {
                painter.draw(to, blob(plan, i));
            }
        }
    });
}

template <class T>
void redraw(const RenderPlan& plan, View<T, 4> maps, Patch* drawn) {
    const std::size_t area = maps.template stride<2>();
    const bool lines = reinterpret_cast<std::uintptr_t>(maps.data) % 64 == 0 && maps.shape[3] % 16 == 0;
    const bool direct = lines && maps.template stride<0>() * sizeof(T) > last_level_cache();
    for_maps(plan, maps, [&](Painter<T>& painter, std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            T* const map = maps.data + i * area;
            const bool shown = !hidden(plan, i);
            const Patch next = shown ? painter.patch(blob(plan, i)) : Patch{};
            if (!direct && next.area() + drawn[i].area() > area) {  // redrawing all is less work
                Writer to(map, false);
                shown ? painter.draw(to, blob(plan, i)) : to.zeros(area * sizeof(T));
                drawn[i] = next;
            } else {
                painter.erase(map, drawn[i], direct);
                drawn[i] = shown ? painter.touch_up(map, blob(plan, i), direct) : Patch{};
            }
        }
        finish_streams();
    });
}

template void render(const RenderPlan&, View<float, 4>);
template void render(const RenderPlan&, View<Half, 4>);
template void render(const RenderPlan&, View<std::uint8_t, 4>);
template void redraw(const RenderPlan&, View<float, 4>, Patch*);
template void redraw(const RenderPlan&, View<Half, 4>, Patch*);
template void redraw(const RenderPlan&, View<std::uint8_t, 4>, Patch*);

}  // namespace kptool
