// Normal equations of four fits of a Gaussian at once.
#pragma once

#include "lanes.hpp"

namespace kptool {

// a, b, c, d of log value = a + b u + c v + d (u^2 + v^2).
struct Fit {
    Lanes of[4] = {};
};

// Sums over pixels of a quantity times u^i v^j, at [i][j] where i + j < n.
template <std::size_t n>
struct Moments {
    Lanes of[n][n] = {};

    // Adds a row's sums of the quantity times u^i.
    KPTOOL_INLINE void add(const Lanes (&row)[n], const Lanes& v) {
        Lanes power = all(1.0);
        for (std::size_t j = 0; j < n; ++j, power *= v) {
            for (std::size_t i = 0; i + j < n; ++i) of[i][j] += row[i] * power;
        }
    }
};

// The normal equations for the terms (1, u, v, u^2 + v^2): the products of the terms, weighted, and the
// right-hand side.
struct Equations {
    Lanes matrix[4][4], right[4];

    KPTOOL_INLINE Equations(const Moments<5>& weights, const Moments<3>& pulls) {
        const auto& w = weights.of;
        const auto& p = pulls.of;
        matrix[0][0] = w[0][0];
        matrix[0][1] = w[1][0];
        matrix[0][2] = w[0][1];
        matrix[0][3] = w[2][0] + w[0][2];
        matrix[1][1] = w[2][0];
        matrix[1][2] = w[1][1];
        matrix[1][3] = w[3][0] + w[1][2];
        matrix[2][2] = w[0][2];
        matrix[2][3] = w[2][1] + w[0][3];
        matrix[3][3] = w[4][0] + 2.0 * w[2][2] + w[0][4];
        right[0] = p[0][0];
        right[1] = p[1][0];
        right[2] = p[0][1];
        right[3] = p[2][0] + p[0][2];
    }

    // Gaussian elimination; an unknown that the data do not determine becomes 0.
    KPTOOL_INLINE Fit solve() {
        constexpr double least_pivot = 1e-9;
        const Lanes diagonal[4] = {matrix[0][0], matrix[1][1], matrix[2][2], matrix[3][3]};
        Lanes inverse[4];
        for (std::size_t i = 0; i < 4; ++i) {
            inverse[i] = select(least_pivot * diagonal[i] < matrix[i][i], 1.0 / matrix[i][i], Lanes{});
            for (std::size_t j = i + 1; j < 4; ++j) {
                const Lanes factor = matrix[i][j] * inverse[i];
                for (std::size_t k = j; k < 4; ++k) matrix[j][k] -= factor * matrix[i][k];
                right[j] -= factor * right[i];
            }
        }
        Fit solution;
        for (std::size_t i = 4; i-- > 0;) {
            Lanes rest = right[i];
            for (std::size_t j = i + 1; j < 4; ++j) rest -= matrix[i][j] * solution.of[j];
            solution.of[i] = rest * inverse[i];
        }
        return solution;
    }
};

}  // namespace kptool
