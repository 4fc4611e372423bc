#include "fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "moments.hpp"

namespace kptool {
namespace {

constexpr double least_pivot = 1e-9;
constexpr double least_top = -0.01;  // in log units relative to a flat top, which was rounded or saturated

using Fit = std::array<double, 4>;  // a, b, c, d

// Normal equations for the terms (1, u, v, u^2 + v^2).
struct Equations {
    double matrix[4][4] = {};
    Fit right = {};

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
// times t^0 ... t^4, from which the normal equations are built. From one pixel to the next, the model grows
// by a factor that itself changes by a constant factor.
struct Axis {
    Line model = {};
    std::array<double, 5> moments = {};

    Axis(const Line& t, std::size_t count, std::size_t origin, double step, double linear, double curve) {
        const double change = std::exp(2.0 * curve * step * step);
        const auto go = [&](double direction, std::size_t pixels) {
            double value = 1.0, factor = std::exp((direction * linear + curve * step) * step);
            for (std::size_t i = 1; i <= pixels; ++i) {
                value *= factor;
                factor *= change;
                model[direction > 0.0 ? origin + i : origin - i] = value;
            }
        };
        model[origin] = 1.0;
        go(1.0, count - 1 - origin);
        go(-1.0, origin);
        for (std::size_t i = 0; i < count; ++i) {
            double power = model[i] * model[i];
            for (double& moment : moments) {
                moment += power;
                power *= t[i];
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

Fit right_side(const Patch& patch, const Columns<3>& pulls) {
    const auto sum = pulls.totals(patch);
    return {sum[0][0], sum[1][0], sum[0][1], sum[2][0] + sum[0][2]};
}

// The first fit.
Fit fit_logarithms(const Patch& patch, bool flat) {
    Columns<5> weights(patch.padded);
    Columns<3> pulls(patch.padded);
    add_logarithms(patch, flat, weights, pulls);
    Equations e;
    const auto sum = weights.totals(patch);
    const auto set = [&](std::size_t i, std::size_t j, double value) { e.matrix[i][j] = value; };
    set(0, 0, sum[0][0]);
    set(0, 1, sum[1][0]);
    set(0, 2, sum[0][1]);
    set(0, 3, sum[2][0] + sum[0][2]);
    set(1, 1, sum[2][0]);
    set(1, 2, sum[1][1]);
    set(1, 3, sum[3][0] + sum[1][2]);
    set(2, 2, sum[0][2]);
    set(2, 3, sum[2][1] + sum[0][3]);
    set(3, 3, sum[4][0] + 2.0 * sum[2][2] + sum[0][4]);
    e.right = right_side(patch, pulls);
    return e.solve();
}

// The Gauss-Newton step from `fit`: normal equations weighted by model^2; the right-hand side is
// model (value - model).
Fit refine(const Patch& patch, double unit, const Fit& fit) {
    const double step = 1.0 / unit;
    const Axis x(patch.u, patch.width, patch.column, step, fit[1], fit[3]);
    const Axis y(patch.v, patch.height, patch.row, step, fit[2], fit[3]);
    const double height = std::exp(fit[0]);
    Equations e;
    fill_matrix(e, x.moments, y.moments, height * height);
    Columns<3> pulls(patch.padded);
    add_residuals(patch, x.model, y.model, height, pulls);
    e.right = right_side(patch, pulls);
    Fit better = e.solve();
    for (std::size_t i = 0; i < 4; ++i) better[i] += fit[i];
    return better;
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
    const Patch patch(map, peak, window, scale);
    Fit fit = fit_logarithms(patch, flat);
    if (!is_peaked(fit) || (flat && fit[0] < least_top)) return middle(map, top);
    if (flat) return nearest_on(top, centre_of(fit, peak, scale));
    const Fit better = refine(patch, scale, fit);
    if (is_peaked(better)) fit = better;
    return centre_of(fit, peak, scale);
}

template Point fit_gaussian(const Map<float>&, const Top&);
template Point fit_gaussian(const Map<Half>&, const Top&);
template Point fit_gaussian(const Map<std::uint8_t>&, const Top&);

}  // namespace kptool
