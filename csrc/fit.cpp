#include "fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace kptool {
namespace {

constexpr double log_floor = 0.2;
constexpr double zero_floor = 1e-10;
constexpr double least_pivot = 1e-9;
constexpr double least_top = -0.01;  // in log units relative to a flat top, which was rounded or saturated
constexpr std::size_t max_window = 2 * ((3 * max_reach + 1) / 2) + 1;

using Fit = std::array<double, 4>;  // a, b, c, d

// Normal equations for the terms (1, u, v, u^2 + v^2).
struct Equations {
    double matrix[4][4] = {};
    Fit right = {};

    void add(double u, double v, double weight, double value) {
        const double terms[4] = {1.0, u, v, u * u + v * v};
        for (std::size_t i = 0; i < 4; ++i) {
            for (std::size_t j = i; j < 4; ++j) matrix[i][j] += weight * terms[i] * terms[j];
            right[i] += weight * terms[i] * value;
        }
    }

    // Gaussian elimination; an unknown that the data do not determine becomes 0.
    Fit solve() {
        std::array<bool, 4> used;
        const std::array<double, 4> diagonal = {matrix[0][0], matrix[1][1], matrix[2][2], matrix[3][3]};
        for (std::size_t i = 0; i < 4; ++i) {
            used[i] = matrix[i][i] > least_pivot * diagonal[i];
            for (std::size_t j = i + 1; used[i] && j < 4; ++j) {
                const double factor = matrix[i][j] / matrix[i][i];
                for (std::size_t k = j; k < 4; ++k) matrix[j][k] -= factor * matrix[i][k];
                right[j] -= factor * right[i];
            }
        }
        Fit solution = {};
        for (std::size_t i = 4; i-- > 0;) {
            if (!used[i]) continue;
            double rest = right[i];
            for (std::size_t j = i + 1; j < 4; ++j) rest -= matrix[i][j] * solution[j];
            solution[i] = rest / matrix[i][i];
        }
        return solution;
    }
};

// Whether a fit has a maximum at most one reach away from the peak pixel along each axis, and at most e^4
// times as high.
bool is_peaked(const Fit& f) {
    return f[3] < 0.0 && std::max(std::abs(f[1]), std::abs(f[2])) <= -2.0 * f[3] &&
           f[0] - (f[1] * f[1] + f[2] * f[2]) / (4.0 * f[3]) <= 4.0;
}

// One axis of the model, exp(linear t + curve t^2) at the pixels of the window, and the sums of its square
// times t^0 ... t^4, from which the normal equations are built.
struct Axis {
    std::array<double, max_window> t, model;
    std::array<double, 5> moments = {};
    std::size_t count = 0;

    Axis(std::ptrdiff_t begin, std::ptrdiff_t end, std::ptrdiff_t origin, double unit, double linear,
         double curve) {
        const double to_units = 1.0 / unit;
        for (std::ptrdiff_t i = begin; i < end; ++i, ++count) {
            const double at = static_cast<double>(i - origin) * to_units;
            t[count] = at;
            model[count] = std::exp((linear + curve * at) * at);
            double power = model[count] * model[count];
            for (double& moment : moments) {
                moment += power;
                power *= at;
            }
        }
    }
};

// Sums of model^2 times products of terms; they separate into x and y like the model.
void fill_matrix(Equations& e, const std::array<double, 5>& x, const std::array<double, 5>& y, double scale) {
    const auto set = [&](std::size_t i, std::size_t j, double value) { e.matrix[i][j] = scale * value; };
    set(0, 0, x[0] * y[0]);
    set(0, 1, x[1] * y[0]);
    set(0, 2, x[0] * y[1]);
    set(0, 3, x[2] * y[0] + x[0] * y[2]);
    set(1, 1, x[2] * y[0]);
    set(1, 2, x[1] * y[1]);
    set(1, 3, x[3] * y[0] + x[1] * y[2]);
    set(2, 2, x[0] * y[2]);
    set(2, 3, x[2] * y[1] + x[0] * y[3]);
    set(3, 3, x[4] * y[0] + 2.0 * x[2] * y[2] + x[0] * y[4]);
}

// The Gauss-Newton step from `fit`: normal equations weighted by model^2; the right-hand side is
// model (value - model).
template <class T>
Fit refine(const Map<T>& map, Pixel peak, const Window& window, double unit, const Fit& fit) {
    const Axis x(window.x0, window.x1, peak.x, unit, fit[1], fit[3]);
    const Axis y(window.y0, window.y1, peak.y, unit, fit[2], fit[3]);
    const double height = std::exp(fit[0]);
    const double to_share = 1.0 / map.at(peak.x, peak.y);
    Equations e;
    fill_matrix(e, x.moments, y.moments, height * height);
    for (std::size_t j = 0; j < y.count; ++j) {
        const double line = height * y.model[j];
        double sum[3] = {};
        for (std::size_t i = 0; i < x.count; ++i) {
            const double model = line * x.model[i];
            const double value = map.at(window.x0 + static_cast<std::ptrdiff_t>(i),
                                        window.y0 + static_cast<std::ptrdiff_t>(j));
            const double pull = model * (value * to_share - model);
            sum[0] += pull;
            sum[1] += pull * x.t[i];
            sum[2] += pull * x.t[i] * x.t[i];
        }
        e.right[0] += sum[0];
        e.right[1] += sum[1];
        e.right[2] += sum[0] * y.t[j];
        e.right[3] += sum[2] + sum[0] * y.t[j] * y.t[j];
    }
    Fit step = e.solve();
    for (std::size_t i = 0; i < 4; ++i) step[i] += fit[i];
    return step;
}

// The first fit. The pixels of a flat top are left out, because they only bound the Gaussian from below.
template <class T>
Fit fit_logarithms(const Map<T>& map, Pixel peak, const Window& window, double unit, bool flat) {
    const double height = map.at(peak.x, peak.y), to_share = 1.0 / height, to_units = 1.0 / unit;
    const double least = log_floor * height;  // compared before dividing, since rounding would decide ties
    const std::ptrdiff_t near = flat ? -1 : 2;
    Equations e;
    for (std::ptrdiff_t y = window.y0; y < window.y1; ++y) {
        for (std::ptrdiff_t x = window.x0; x < window.x1; ++x) {
            const double value = map.at(x, y) * to_share;
            const std::ptrdiff_t dx = x - peak.x, dy = y - peak.y;
            if ((map.at(x, y) > least || (std::abs(dx) + std::abs(dy) <= near && value > zero_floor)) &&
                !(flat && map.at(x, y) == height)) {
                e.add(static_cast<double>(dx) * to_units, static_cast<double>(dy) * to_units, value * value,
                      std::log(value));
            }
        }
    }
    return e.solve();
}

Point centre_of(const Fit& fit, Pixel origin, double unit) {
    return {static_cast<double>(origin.x) - unit * fit[1] / (2.0 * fit[3]),
            static_cast<double>(origin.y) - unit * fit[2] / (2.0 * fit[3])};
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
Point fit_gaussian(const Map<T>& map, const Top& top) {
    const Pixel peak = top.pixel;
    const std::ptrdiff_t unit = reach(map, peak);
    const std::ptrdiff_t side = (3 * unit + 1) / 2;
    const Window window{std::max<std::ptrdiff_t>(peak.x - side, 0), std::min(peak.x + side + 1, map.width),
                        std::max<std::ptrdiff_t>(peak.y - side, 0), std::min(peak.y + side + 1, map.height)};
    const auto scale = static_cast<double>(unit);
    const bool flat = !top.is_single() && is_flat(map, top);
    Fit fit = fit_logarithms(map, peak, window, scale, flat);
    if (!is_peaked(fit) || (flat && fit[0] < least_top)) return middle(map, top);
    if (flat) return nearest_on(top, centre_of(fit, peak, scale));
    const Fit better = refine(map, peak, window, scale, fit);
    if (is_peaked(better)) fit = better;
    return centre_of(fit, peak, scale);
}

template Point fit_gaussian(const Map<float>&, const Top&);
template Point fit_gaussian(const Map<Half>&, const Top&);
template Point fit_gaussian(const Map<std::uint8_t>&, const Top&);

}  // namespace kptool
