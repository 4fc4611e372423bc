#include "moments.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>

#include "dispatch.hpp"

namespace kptool {
namespace {

constexpr double log_floor = 0.2;
constexpr double zero_floor = 1e-10;

// log(x) of a normal number x > 0 to within 2e-14, without branches or calls, so that loops over it
// vectorise. x = 2^n m with m from sqrt(1/2) to sqrt(2), and log(m) = 2 artanh((m - 1) / (m + 1)).
KPTOOL_INLINE double logarithm(double x) {
    constexpr std::uint64_t one = 0x3ff0000000000000, root = 0x3fe6a09e667f3bcd;
    constexpr std::uint64_t integer = 0x4330000000000000;  // 2^52, whose low bits are those of an integer
    constexpr double log2 = 0.6931471805599453, bias = 4503599627371519.0;  // 2^52 + 1023
    std::uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const std::uint64_t raised = bits + (one - root);
    const std::uint64_t scaled = bits - ((raised & ~(~std::uint64_t{0} >> 12)) - one);
    const std::uint64_t exponent = (raised >> 52) | integer;
    double m, n;
    std::memcpy(&m, &scaled, sizeof m);
    std::memcpy(&n, &exponent, sizeof n);
    const double s = (m - 1.0) / (m + 1.0), z = s * s, z2 = z * z;
    const double low = (1.0 + z * (1.0 / 3)) + z2 * (1.0 / 5 + z * (1.0 / 7));
    const double high = (1.0 / 9 + z * (1.0 / 11)) + z2 * (1.0 / 13 + z * (1.0 / 15));
    return (n - bias) * log2 + 2.0 * s * (low + z2 * z2 * high);
}

// What one line of a window has in common.
struct LogLine {
    double to_share, least, left_out;
    double near;  // the columns at most this far from the peak are used even if they are low
    double v;
};

KPTOOL_VERSIONS void add_log_line(const double* KPTOOL_RESTRICT values,
                                  const double* KPTOOL_RESTRICT distance, std::size_t padded,
                                  const LogLine& line, double* KPTOOL_RESTRICT weights,
                                  double* KPTOOL_RESTRICT pulls) {
    const double v = line.v, v2 = v * v, v3 = v2 * v, v4 = v2 * v2;
    for (std::size_t begin = 0; begin < padded; begin += lanes) {
        for (std::size_t x = begin; x < begin + lanes; ++x) {
            const double share = values[x] * line.to_share;
            const bool high = values[x] > line.least, close = distance[x] <= line.near;
            const bool positive = share > zero_floor, free = values[x] != line.left_out;
            const bool used = free && (high || (close && positive));
            const double known = used ? share : 1.0;
            const double weight = used ? share * share : 0.0, pull = weight * logarithm(known);
            weights[x] += weight;
            weights[max_width + x] += weight * v;
            weights[2 * max_width + x] += weight * v2;
            weights[3 * max_width + x] += weight * v3;
            weights[4 * max_width + x] += weight * v4;
            pulls[x] += pull;
            pulls[max_width + x] += pull * v;
            pulls[2 * max_width + x] += pull * v2;
        }
    }
}

KPTOOL_VERSIONS void add_residual_line(const double* KPTOOL_RESTRICT values,
                                       const double* KPTOOL_RESTRICT across, std::size_t padded,
                                       double to_share, double height, double v,
                                       double* KPTOOL_RESTRICT pulls) {
    for (std::size_t begin = 0; begin < padded; begin += lanes) {
        for (std::size_t x = begin; x < begin + lanes; ++x) {
            const double model = height * across[x];
            const double pull = model * (values[x] * to_share - model);
            pulls[x] += pull;
            pulls[max_width + x] += pull * v;
            pulls[2 * max_width + x] += pull * (v * v);
        }
    }
}

double distance_between(std::size_t a, std::size_t b) { return static_cast<double>(a > b ? a - b : b - a); }

}  // namespace

void add_logarithms(const Patch& patch, bool flat, Columns<5>& weights, Columns<3>& pulls) {
    const double top = patch.top();
    // Compared with values before they are divided, since rounding would decide ties. No value used is -1.
    LogLine line{1.0 / top, log_floor * top, flat ? top : -1.0, -1.0, 0.0};
    Line distance;
    for (std::size_t x = 0; x < patch.padded; ++x) distance[x] = distance_between(x, patch.column);
    for (std::size_t y = 0; y < patch.height; ++y) {
        if (!flat) line.near = 2.0 - distance_between(y, patch.row);
        line.v = patch.v[y];
        add_log_line(&patch.values[y * patch.padded], distance.data(), patch.padded, line,
                     weights.sums.data(), pulls.sums.data());
    }
}

void add_residuals(const Patch& patch, const Line& across, const Line& down, double height,
                   Columns<3>& pulls) {
    const double to_share = 1.0 / patch.top();
    for (std::size_t y = 0; y < patch.height; ++y) {
        add_residual_line(&patch.values[y * patch.padded], across.data(), patch.padded, to_share,
                          height * down[y], patch.v[y], pulls.sums.data());
    }
}

}  // namespace kptool
