#include "decode.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "half.hpp"
#include "parallel.hpp"

namespace kptool {
namespace {

// Order-preserving integers: max and min over them vectorise, which for floats NaN and signed zeros forbid,
// and a NaN or an infinity of either sign shows as a key beyond those of all finite numbers.
inline std::int32_t key(float value) {
    std::int32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits ^ ((bits >> 31) & 0x7fffffff);
}
inline std::int16_t key(Half value) {
    const auto bits = static_cast<std::int16_t>(value.bits);
    return static_cast<std::int16_t>(bits ^ ((bits >> 15) & 0x7fff));
}
inline std::uint8_t key(std::uint8_t value) { return value; }

inline bool finite(std::int32_t low, std::int32_t high) {
    constexpr std::int32_t infinity = 0x7f800000;
    return high < infinity && low > (static_cast<std::int32_t>(0xff800000u) ^ 0x7fffffff);
}
inline bool finite(std::int16_t low, std::int16_t high) {
    constexpr std::int16_t infinity = 0x7c00;
    return high < infinity && low > static_cast<std::int16_t>(static_cast<std::int16_t>(0xfc00u) ^ 0x7fff);
}
inline bool finite(std::uint8_t, std::uint8_t) { return true; }

inline double value(float v) { return v; }
inline double value(Half v) { return to_float(v); }
inline double value(std::uint8_t v) { return v / 255.0; }

template <class T>
using Key = decltype(key(T{}));

template <class T>
struct Range {
    Key<T> low, high;
};

// Smallest and largest key of a run of values.
template <class T>
__attribute__((always_inline)) inline Range<T> range_of(const T* values, std::size_t count) {
    Key<T> low = key(values[0]), high = low;
    for (std::size_t i = 0; i < count; ++i) {
        const Key<T> k = key(values[i]);
        low = std::min(low, k);
        high = std::max(high, k);
    }
    return {low, high};
}

KPTOOL_CLONES Range<float> scan(const float* values, std::size_t count) { return range_of(values, count); }
KPTOOL_CLONES Range<Half> scan(const Half* values, std::size_t count) { return range_of(values, count); }
KPTOOL_CLONES Range<std::uint8_t> scan(const std::uint8_t* values, std::size_t count) {
    return range_of(values, count);
}

// One map: its values as doubles, bounds included.
template <class T>
struct Field {
    const T* data;
    std::ptrdiff_t height, width;

    double at(std::ptrdiff_t x, std::ptrdiff_t y) const { return value(data[y * width + x]); }
};

struct Peak {
    std::ptrdiff_t x, y;
    double height;  // 0: the map has none
};

// The first largest value. The map is read once, in blocks; only the block that holds it is looked at again.
template <class T>
Peak find_peak(const Field<T>& field) {
    constexpr std::size_t block = 4096 / sizeof(T);
    const auto area = static_cast<std::size_t>(field.height * field.width);
    Range<T> total = scan(field.data, std::min(block, area));
    std::size_t best = 0;
    for (std::size_t start = block; start < area; start += block) {
        const Range<T> part = scan(field.data + start, std::min(block, area - start));
        if (part.high > total.high) total.high = part.high, best = start;
        total.low = std::min(total.low, part.low);
    }
    if (!finite(total.low, total.high) || total.low == total.high) return {0, 0, 0.0};
    const T* found = field.data + best;
    while (key(*found) != total.high) ++found;
    const double height = value(*found);
    const std::ptrdiff_t index = found - field.data;
    return {index % field.width, index / field.width, height > 0 ? height : 0.0};
}

struct Point {
    double x, y;
};

// The pixels about a peak, along each axis until the map falls below `share` of it, or rises again (another
// peak).
struct Window {
    std::ptrdiff_t left, right, up, down;
};

template <class T>
Window window_about(const Field<T>& field, const Peak& peak, double share, std::ptrdiff_t limit) {
    const double floor = share * peak.height;
    const auto walk = [&](std::ptrdiff_t dx, std::ptrdiff_t dy, std::ptrdiff_t room) {
        std::ptrdiff_t steps = 0;
        while (steps < std::min(room, limit) &&
               field.at(peak.x + (steps + 1) * dx, peak.y + (steps + 1) * dy) >= floor)
            ++steps;
        return steps;
    };
    return {walk(-1, 0, peak.x), walk(1, 0, field.width - 1 - peak.x), walk(0, -1, peak.y),
            walk(0, 1, field.height - 1 - peak.y)};
}

constexpr std::ptrdiff_t kReach = 64;

// Mean position weighted by value, in a window about the peak that is symmetric, so that a cut does not pull.
template <class T>
Point centroid(const Field<T>& field, const Peak& peak) {
    const Window half = window_about(field, peak, 0.5, kReach);
    // Twice the half width at half maximum is 2.35 sigma: 98 % of a Gaussian's mass along each axis.
    const std::ptrdiff_t wide = 2 * std::max({half.left, half.right, std::ptrdiff_t{1}}) + 1;
    const std::ptrdiff_t tall = 2 * std::max({half.up, half.down, std::ptrdiff_t{1}}) + 1;
    const std::ptrdiff_t rx = std::min({wide, peak.x, field.width - 1 - peak.x});
    const std::ptrdiff_t ry = std::min({tall, peak.y, field.height - 1 - peak.y});
    double sum = 0, sx = 0, sy = 0;
    for (std::ptrdiff_t y = -ry; y <= ry; ++y) {
        for (std::ptrdiff_t x = -rx; x <= rx; ++x) {
            const double v = std::max(0.0, field.at(peak.x + x, peak.y + y));
            sum += v, sx += v * static_cast<double>(x), sy += v * static_cast<double>(y);
        }
    }
    return {static_cast<double>(peak.x) + sx / sum, static_cast<double>(peak.y) + sy / sum};
}

// Mean position weighted by value over the whole map: the plain form, which noise and borders bias.
template <class T>
Point centroid_global(const Field<T>& field) {
    double sum = 0, sx = 0, sy = 0;
    for (std::ptrdiff_t y = 0; y < field.height; ++y) {
        double row = 0, rx = 0;
        for (std::ptrdiff_t x = 0; x < field.width; ++x) {
            const double v = std::max(0.0, field.at(x, y));
            row += v, rx += v * static_cast<double>(x);
        }
        sum += row, sx += rx, sy += row * static_cast<double>(y);
    }
    return {sx / sum, sy / sum};
}

// Zhang et al., CVPR 2020, equations 4 to 8: one Newton step on the log of the map from its largest pixel,
// with central differences over one pixel (gradient) and two (curvature). Pixels near the border stay where
// they are.
template <class T>
Point dark(const Field<T>& field, const Peak& peak) {
    const Point stay{static_cast<double>(peak.x), static_cast<double>(peak.y)};
    if (peak.x < 2 || peak.y < 2 || peak.x >= field.width - 2 || peak.y >= field.height - 2) return stay;
    const auto l = [&](std::ptrdiff_t dx, std::ptrdiff_t dy) {
        return std::log(std::max(field.at(peak.x + dx, peak.y + dy), 1e-10));
    };
    const double gx = 0.5 * (l(1, 0) - l(-1, 0)), gy = 0.5 * (l(0, 1) - l(0, -1));
    const double middle = 2 * l(0, 0);
    const double xx = 0.25 * (l(2, 0) - middle + l(-2, 0)), yy = 0.25 * (l(0, 2) - middle + l(0, -2));
    const double xy = 0.25 * (l(1, 1) - l(-1, 1) - l(1, -1) + l(-1, -1));
    const double det = xx * yy - xy * xy;
    if (!(det > 0) || !(xx < 0)) return stay;
    const double dx = (xy * gy - yy * gx) / det, dy = (xy * gx - xx * gy) / det;
    return {stay.x + std::clamp(dx, -1.5, 1.5), stay.y + std::clamp(dy, -1.5, 1.5)};
}

// A Gaussian of one width in both directions, as the exponent p = c0 + c1 x + c2 y + c3 (x^2 + y^2).
using Fit = std::array<double, 4>;

// Normal equations of a weighted linear least-squares problem in those four coefficients, solved by Cholesky.
struct Normal {
    std::array<double, 10> a{};  // the upper triangle, row by row
    Fit b{};

    void add(double x, double y, double weight, double target) {
        const Fit f{1.0, x, y, x * x + y * y};
        std::size_t n = 0;
        for (std::size_t i = 0; i < 4; ++i) {
            const double wf = weight * f[i];
            for (std::size_t j = i; j < 4; ++j) a[n++] += wf * f[j];
            b[i] += wf * target;
        }
    }

    // False where the system does not determine the coefficients.
    bool solve(Fit& c) const {
        double l[4][4] = {};
        std::size_t n = 0;
        for (std::size_t i = 0; i < 4; ++i) {
            for (std::size_t j = i; j < 4; ++j) l[j][i] = a[n++];
        }
        for (std::size_t i = 0; i < 4; ++i) {
            const double diagonal = l[i][i];
            for (std::size_t k = 0; k < i; ++k) l[i][i] -= l[i][k] * l[i][k];
            if (!(l[i][i] > 1e-10 * diagonal) || !(diagonal > 0)) return false;
            l[i][i] = std::sqrt(l[i][i]);
            for (std::size_t j = i + 1; j < 4; ++j) {
                for (std::size_t k = 0; k < i; ++k) l[j][i] -= l[j][k] * l[i][k];
                l[j][i] /= l[i][i];
            }
        }
        for (std::size_t i = 0; i < 4; ++i) {
            c[i] = b[i];
            for (std::size_t k = 0; k < i; ++k) c[i] -= l[i][k] * c[k];
            c[i] /= l[i][i];
        }
        for (std::size_t i = 4; i-- > 0;) {
            for (std::size_t k = i + 1; k < 4; ++k) c[i] -= l[k][i] * c[k];
            c[i] /= l[i][i];
        }
        return true;
    }
};

// A Gaussian fitted to the window by least squares on the values: first the log-parabola weighted by value^2
// (which is what least squares on the values is, to first order), then Gauss-Newton steps to the
// least-squares solution itself, in which noise no longer biases the log. The window is cut by the border and
// the fit is not, so a peak at or beyond the border is found from one side.
template <class T>
Point gaussian(const Field<T>& field, const Peak& peak) {
    const Window w = window_about(field, peak, 0.15, kReach);
    const auto widen = [](std::ptrdiff_t steps, std::ptrdiff_t room) {
        return std::min(std::max(steps, std::ptrdiff_t{2}), room);
    };
    const std::ptrdiff_t x0 = -widen(w.left, peak.x), x1 = widen(w.right, field.width - 1 - peak.x);
    const std::ptrdiff_t y0 = -widen(w.up, peak.y), y1 = widen(w.down, field.height - 1 - peak.y);
    const auto each = [&](auto&& add) {
        for (std::ptrdiff_t y = y0; y <= y1; ++y) {
            for (std::ptrdiff_t x = x0; x <= x1; ++x) {
                add(static_cast<double>(x), static_cast<double>(y),
                    field.at(peak.x + x, peak.y + y) / peak.height);
            }
        }
    };
    // The pixels next to the peak always count: of a narrow Gaussian in a corner, few others are left.
    const auto near = [](double x, double y) { return std::abs(x) + std::abs(y) <= 2; };
    Fit c{};
    Normal first;
    each([&](double x, double y, double v) {
        if (v >= 0.1 || (near(x, y) && v > 1e-3)) first.add(x, y, v * v, std::log(v));
    });
    if (!first.solve(c) || !(c[3] < 0)) return centroid(field, peak);
    for (int step = 0; step < 2; ++step) {
        Normal next;
        each([&](double x, double y, double v) {
            const double p = c[0] + c[1] * x + c[2] * y + c[3] * (x * x + y * y);
            const double m = std::exp(std::clamp(p, -20.0, 1.0));
            if (m > 0.02 || near(x, y)) next.add(x, y, m * m, p + (v - m) / m);
        });
        Fit better{};
        if (!next.solve(better) || !(better[3] < 0)) break;
        c = better;
    }
    const double dx = -0.5 * c[1] / c[3], dy = -0.5 * c[2] / c[3];
    if (!(std::abs(dx) <= 1.5 && std::abs(dy) <= 1.5)) return centroid(field, peak);  // no Gaussian
    return {static_cast<double>(peak.x) + dx, static_cast<double>(peak.y) + dy};
}

template <class T>
Point locate(const Field<T>& field, const Peak& peak, Method method) {
    switch (method) {
        case Method::centroid:
            return centroid(field, peak);
        case Method::centroid_global:
            return centroid_global(field);
        case Method::dark:
            return dark(field, peak);
        case Method::gaussian:
            return gaussian(field, peak);
        case Method::argmax:
            break;
    }
    return {static_cast<double>(peak.x), static_cast<double>(peak.y)};
}

template <class T>
void decode_one(const Field<T>& field, Method method, float* point, float* score) {
    const Peak peak = find_peak(field);
    const double right = static_cast<double>(field.width) - 0.5,
                 bottom = static_cast<double>(field.height) - 0.5;
    Point found{(right - 0.5) / 2, (bottom - 0.5) / 2};
    if (peak.height > 0) found = locate(field, peak, method);
    point[0] = static_cast<float>(std::clamp(found.x, -0.5, right));
    point[1] = static_cast<float>(std::clamp(found.y, -0.5, bottom));
    *score = static_cast<float>(peak.height);
}

}  // namespace

template <class T>
void decode(Maps<const T> maps, Method method, float* points, float* scores, std::size_t threads) {
    const std::size_t bytes = maps.area() * sizeof(T);
    parallel(maps.count, choose_threads(threads, maps.count, bytes), [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            const Field<T> field{maps.map(i), static_cast<std::ptrdiff_t>(maps.height),
                                 static_cast<std::ptrdiff_t>(maps.width)};
            decode_one(field, method, points + 2 * i, scores + i);
        }
    });
}

template void decode(Maps<const float>, Method, float*, float*, std::size_t);
template void decode(Maps<const Half>, Method, float*, float*, std::size_t);
template void decode(Maps<const std::uint8_t>, Method, float*, float*, std::size_t);

}  // namespace kptool
