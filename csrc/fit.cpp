#include "fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "normal.hpp"

namespace kptool {
namespace {

constexpr double log_floor = 0.2;  // of the peak: lower values are left out of the fit of logarithms
constexpr double zero_floor = 1e-10;
constexpr double least_top = -0.01;  // in log units relative to a flat top, which was rounded or saturated

// Pixels of the fit's window on each side of the peak.
constexpr std::ptrdiff_t side_of(std::ptrdiff_t unit) { return (3 * unit + 1) / 2; }

constexpr std::size_t max_window = 2 * static_cast<std::size_t>(side_of(max_reach)) + 1;

using Line = std::array<Lanes, max_window>;

// Windows of four maps, with their peaks in the middle. A pixel that a window or a map lacks has the value 0,
// and its column or row is marked by 0 in `columns` or `rows`, in which all others have 1.
struct Windows {
    std::size_t side, size;     // of the largest
    Lanes top = {}, flat = {};  // flat: 1 where the top is saturated
    Lanes unit = {};
    Line steps, columns, rows;  // steps: the coordinates of columns and rows, u and v
    std::array<Lanes, max_window * max_window> values;

    explicit Windows(std::size_t largest) : side(largest), size(2 * largest + 1) {
        std::fill_n(steps.begin(), size, Lanes{});
        std::fill_n(columns.begin(), size, Lanes{});
        std::fill_n(rows.begin(), size, Lanes{});
        std::fill_n(values.begin(), size * size, Lanes{});
    }
    const Lanes* row(std::size_t y) const { return &values[y * size]; }
    Lanes* row(std::size_t y) { return &values[y * size]; }
};

// Columns and rows that hold all pixels that the fit of logarithms uses.
struct Box {
    std::size_t x0, x1, y0, y1;
};

KPTOOL_INLINE Box used_box(const Windows& w) {
    const Lanes least = log_floor * w.top;
    std::array<Mask, max_window> columns = {}, rows = {};
    for (std::size_t y = 0; y < w.size; ++y) {
        const Lanes* const values = w.row(y);
        for (std::size_t x = 0; x < w.size; ++x) {
            const Mask high = least < values[x];
            columns[x] |= high;
            rows[y] |= high;
        }
    }
    const std::size_t near = std::min<std::size_t>(w.side, 2);
    Box box{0, w.size, 0, w.size};
    while (box.x0 < w.side - near && !any(columns[box.x0])) ++box.x0;
    while (box.x1 > w.side + near + 1 && !any(columns[box.x1 - 1])) --box.x1;
    while (box.y0 < w.side - near && !any(rows[box.y0])) ++box.y0;
    while (box.y1 > w.side + near + 1 && !any(rows[box.y1 - 1])) --box.y1;
    return box;
}

KPTOOL_INLINE double distance(std::size_t a, std::size_t b) {
    return static_cast<double>(a > b ? a - b : b - a);
}

// The first fit, of the logarithms.
KPTOOL_INLINE Fit fit_logarithms(const Windows& w) {
    const Box box = used_box(w);
    // Compared with values before they are divided, since rounding would decide ties.
    const Lanes to_share = 1.0 / w.top, least = log_floor * w.top;
    // A saturated top only bounds the Gaussian from below, and is left out. No value that is used is -1.
    const Mask flat = w.flat != 0.0;
    const Lanes left_out = select(flat, w.top, all(-1.0));
    Moments<5> weights;
    Moments<3> pulls;
    for (std::size_t y = box.y0; y < box.y1; ++y) {
        const Lanes* const values = w.row(y);
        // the columns at most this far from the peak are used even if they are low
        const Lanes near = select(flat, all(-1.0), all(2.0 - distance(y, w.side)));
        Lanes weighted[5] = {}, pulled[3] = {};
        for (std::size_t x = box.x0; x < box.x1; ++x) {
            const Lanes share = values[x] * to_share;
            const Mask close = all(distance(x, w.side)) <= near, positive = zero_floor < share;
            const Mask used = (values[x] != left_out) & ((least < values[x]) | (close & positive));
            Lanes weight = select(used, share * share, Lanes{});
            Lanes pull = weight * logarithm(select(used, share, all(1.0)));
            for (std::size_t i = 0; i < 5; ++i, weight *= w.steps[x]) weighted[i] += weight;
            for (std::size_t i = 0; i < 3; ++i, pull *= w.steps[x]) pulled[i] += pull;
        }
        weights.add(weighted, w.steps[y]);
        pulls.add(pulled, w.steps[y]);
    }
    return Equations(weights, pulls).solve();
}

// One axis of the model, exp(linear t + curve t^2) at the pixels of the windows, and the sums of its square
// times t^0 ... t^4, from which the normal equations are built. From one pixel to the next, the model grows
// by a factor that itself changes by a constant factor.
struct Axis {
    Line model;
    Lanes moments[5] = {};

    KPTOOL_INLINE Axis(const Windows& w, const Line& known, const Lanes& linear, const Lanes& curve) {
        const Lanes step = 1.0 / w.unit, bend = curve * step, change = exponential(2.0 * bend * step);
        Lanes right = exponential((linear + bend) * step), left = exponential((bend - linear) * step);
        model[w.side] = all(1.0);
        for (std::size_t i = 1; i <= w.side; ++i, right *= change, left *= change) {
            model[w.side + i] = model[w.side + i - 1] * right;
            model[w.side - i] = model[w.side - i + 1] * left;
        }
        for (std::size_t i = 0; i < w.size; ++i) {
            model[i] = select(known[i] != 0.0, model[i], Lanes{});  // which may be infinite beyond
            Lanes power = model[i] * model[i];
            for (std::size_t n = 0; n < 5; ++n, power *= w.steps[i]) moments[n] += power;
        }
    }
};

// The Gauss-Newton step from `fit`: normal equations weighted by model^2; the right-hand side is
// model (value - model).
KPTOOL_INLINE Fit refine(const Windows& w, const Fit& fit) {
    const Axis x(w, w.columns, fit.of[1], fit.of[3]), y(w, w.rows, fit.of[2], fit.of[3]);
    const Lanes height = exponential(fit.of[0]), to_share = 1.0 / w.top;
    Moments<5> weights;  // of a product, so that they are products as well
    for (std::size_t j = 0; j < 5; ++j) {
        for (std::size_t i = 0; i + j < 5; ++i)
            weights.of[i][j] = height * height * (x.moments[i] * y.moments[j]);
    }
    Moments<3> pulls;
    for (std::size_t j = 0; j < w.size; ++j) {
        const Lanes* const values = w.row(j);
        const Lanes tall = height * y.model[j];
        Lanes pulled[3] = {};
        for (std::size_t i = 0; i < w.size; ++i) {
            const Lanes model = tall * x.model[i];
            Lanes pull = model * (values[i] * to_share - model);
            for (std::size_t n = 0; n < 3; ++n, pull *= w.steps[i]) pulled[n] += pull;
        }
        pulls.add(pulled, w.steps[j]);
    }
    Fit better = Equations(weights, pulls).solve();
    for (std::size_t n = 0; n < 4; ++n) better.of[n] += fit.of[n];
    return better;
}

// Where a fit has a maximum at most one reach away from the peak pixel along each axis, and at most e^4
// times as high.
KPTOOL_INLINE Mask is_peaked(const Fit& fit) {
    const Lanes &b = fit.of[1], &c = fit.of[2], &d = fit.of[3];
    const Lanes most = -2.0 * d;
    return (d < 0.0) & (b <= most) & (-1.0 * b <= most) & (c <= most) & (-1.0 * c <= most) &
           (fit.of[0] - (b * b + c * c) / (4.0 * d) <= 4.0);
}

// The peaks' positions relative to their pixels, in x and y, and whether there are any.
struct Peaks {
    Lanes x, y;
    Mask found;
};

KPTOOL_VERSIONS void fit_windows(const Windows& w, Peaks& peaks) {
    const Fit first = fit_logarithms(w);
    const Mask pointed = w.flat == 0.0, high = least_top <= first.of[0];
    peaks.found = is_peaked(first) & (pointed | high);
    const Fit second = refine(w, first);
    const Mask better = is_peaked(second) & pointed;
    const Lanes span = -0.5 * w.unit / select(better, second.of[3], first.of[3]);
    peaks.x = span * select(better, second.of[1], first.of[1]);
    peaks.y = span * select(better, second.of[2], first.of[2]);
}

// The columns, or rows, of a window that lie in the map and at most `own` from the peak.
struct Part {
    std::size_t begin, end;
};

Part part_of(std::ptrdiff_t side, std::ptrdiff_t own, std::ptrdiff_t peak, std::ptrdiff_t count) {
    return {static_cast<std::size_t>(side - std::min(own, peak)),
            static_cast<std::size_t>(side + std::min(own, count - 1 - peak) + 1)};
}

// Copies a map's window into a lane. `unit`: the reach of its peak.
template <class T>
void place(Windows& w, std::size_t lane, const Blob<T>& blob, std::ptrdiff_t unit) {
    const auto [px, py] = blob.top.pixel;
    const auto side = static_cast<std::ptrdiff_t>(w.side);
    const Part across = part_of(side, side_of(unit), px, blob.map.width);
    const Part down = part_of(side, side_of(unit), py, blob.map.height);
    w.top[lane] = blob.map.at(px, py);
    w.flat[lane] = !blob.top.is_single() && is_flat(blob.map, blob.top) ? 1.0 : 0.0;
    w.unit[lane] = static_cast<double>(unit);
    const double to_units = 1.0 / w.unit[lane];
    for (std::size_t i = 0; i < w.size; ++i) {
        w.steps[i][lane] = (static_cast<double>(i) - static_cast<double>(w.side)) * to_units;
    }
    for (std::size_t x = across.begin; x < across.end; ++x) w.columns[x][lane] = 1.0;
    for (std::size_t y = down.begin; y < down.end; ++y) {
        w.rows[y][lane] = 1.0;
        const std::ptrdiff_t line = py - side + static_cast<std::ptrdiff_t>(y);
        const T* const from = blob.map.data + line * blob.map.width;
        Lanes* const values = w.row(y);
        for (std::size_t x = across.begin; x < across.end; ++x)
            values[x][lane] = as_double(from[px - side + static_cast<std::ptrdiff_t>(x)]);
    }
}

// The nearest point within the rectangle spanned by a flat top.
Point nearest_on(const Top& top, Point p) {
    const auto [x, y] = top.pixel;
    const auto clamp = [](double value, std::ptrdiff_t first, std::ptrdiff_t last) {
        return std::min(std::max(value, static_cast<double>(first) - 0.5), static_cast<double>(last) + 0.5);
    };
    return {clamp(p.x, x - top.left, x + top.right), clamp(p.y, y - top.up, y + top.down)};
}

}  // namespace

template <class T>
void fit_gaussians(const Blob<T>* blobs, std::size_t count, Point* points) {
    std::ptrdiff_t units[lanes] = {};
    for (std::size_t i = 0; i < count; ++i) units[i] = reach(blobs[i].map, blobs[i].top.pixel);
    Windows windows(static_cast<std::size_t>(side_of(*std::max_element(units, units + lanes))));
    for (std::size_t i = 0; i < lanes; ++i) {  // those that are not needed repeat the first one
        place(windows, i, blobs[i < count ? i : 0], units[i < count ? i : 0]);
    }
    Peaks peaks;
    fit_windows(windows, peaks);
    for (std::size_t i = 0; i < count; ++i) {
        const Top& top = blobs[i].top;
        const Point fitted{static_cast<double>(top.pixel.x) + peaks.x[i],
                           static_cast<double>(top.pixel.y) + peaks.y[i]};
        points[i] = peaks.found[i] == 0 ? middle(blobs[i].map, top)
                                        : (windows.flat[i] != 0.0 ? nearest_on(top, fitted) : fitted);
    }
}

template void fit_gaussians(const Blob<float>*, std::size_t, Point*);
template void fit_gaussians(const Blob<Half>*, std::size_t, Point*);
template void fit_gaussians(const Blob<std::uint8_t>*, std::size_t, Point*);

}  // namespace kptool
