// Sums over the window around a peak, from which a Gaussian is fitted.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "window.hpp"

namespace kptool {

constexpr std::size_t max_window = 2 * ((3 * max_reach + 1) / 2) + 1;
constexpr std::size_t lanes = 4;  // columns that are processed together: widths are padded to a multiple
constexpr std::size_t max_width = (max_window + lanes - 1) / lanes * lanes;

using Line = std::array<double, max_width>;

// The values of a window as fractions of 1, padded with columns of zeros, and the coordinates of its columns
// and rows, u and v.
struct Patch {
    std::size_t width = 0, height = 0, column = 0, row = 0;  // column and row are the peak's
    std::size_t padded = 0;                                  // the width
    Line u, v;
    std::array<double, max_window * max_width> values;

    template <class T>
    Patch(const Map<T>& map, Pixel peak, const Window& window, double unit)
        : width(static_cast<std::size_t>(window.x1 - window.x0)),
          height(static_cast<std::size_t>(window.y1 - window.y0)),
          column(static_cast<std::size_t>(peak.x - window.x0)),
          row(static_cast<std::size_t>(peak.y - window.y0)),
          padded((width + lanes - 1) / lanes * lanes) {
        const double to_units = 1.0 / unit;
        for (std::size_t x = 0; x < width; ++x)
            u[x] = static_cast<double>(window.x0 + static_cast<std::ptrdiff_t>(x) - peak.x) * to_units;
        for (std::size_t y = 0; y < height; ++y) {
            const std::ptrdiff_t line = window.y0 + static_cast<std::ptrdiff_t>(y);
            v[y] = static_cast<double>(line - peak.y) * to_units;
            const T* const from = map.data + line * map.width + window.x0;
            for (std::size_t x = 0; x < padded; ++x)
                values[y * padded + x] = x < width ? as_double(from[x]) : 0.0;
        }
    }

    double top() const { return values[row * padded + column]; }
};

// For every column, the sums over rows of a quantity times v^0 ... v^(n - 1). Each column has its own sums,
// so that loops over columns vectorise.
template <std::size_t n>
struct Columns {
    std::array<double, n * max_width> sums;  // those of one power after those of another

    explicit Columns(std::size_t padded) {
        for (std::size_t i = 0; i < n; ++i) std::fill_n(&sums[i * max_width], padded, 0.0);
    }
    // The sums over all pixels of the quantity times u^i v^j at [i][j], where i + j < n.
    std::array<std::array<double, n>, n> totals(const Patch& patch) const {
        std::array<std::array<double, n>, n> total = {};
        for (std::size_t x = 0; x < patch.width; ++x) {
            for (std::size_t j = 0; j < n; ++j) {
                double term = sums[j * max_width + x];
                for (std::size_t i = 0; i + j < n; ++i) {
                    total[i][j] += term;
                    term *= patch.u[x];
                }
            }
        }
        return total;
    }
};

// Adds the weights of the pixels that the fit of logarithms uses, and the weights times the logarithms. Where
// the top is flat, its pixels are left out, because they only bound the Gaussian from below.
void add_logarithms(const Patch& patch, bool flat, Columns<5>& weights, Columns<3>& pulls);

// Adds model (value - model), where the model is height across[x] down[y].
void add_residuals(const Patch& patch, const Line& across, const Line& down, double height,
                   Columns<3>& pulls);

}  // namespace kptool
