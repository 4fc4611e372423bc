#include "gaussian.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "dispatch.hpp"

namespace kptool {
namespace {

// exp(x) for -700 < x <= 0 to within 7e-9, without branches or calls, so that loops over it vectorise.
//
// x = n log(2) + r with |r| <= log(2) / 2. The Taylor polynomial of degree 7 gives exp(r), and n is added
// to the exponent. Adding 1.5 2^52 rounds to an integer, which is then in the low bits of the sum.
KPTOOL_INLINE double exponential(double x) {
    constexpr double log2e = 1.4426950408889634, log2 = 0.6931471805599453, round = 6755399441055744.0;
    const double shifted = x * log2e + round;
    const double r = x - (shifted - round) * log2;
    const double r2 = r * r;
    const double low = (1.0 + r) + r2 * (1.0 / 2 + r * (1.0 / 6));
    const double high = (1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040));
    const double power = low + r2 * r2 * high;
    std::uint64_t n, bits;
    std::memcpy(&n, &shifted, sizeof n);
    std::memcpy(&bits, &power, sizeof bits);
    bits += n << 52;
    double result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
}

KPTOOL_VERSIONS void fill(float* values, std::size_t count, double first, double factor, double scale) {
    for (std::size_t begin = 0; begin < count; begin += 16) {
        for (std::size_t i = begin; i < begin + 16; ++i) {
            const double distance = first + static_cast<double>(static_cast<std::int32_t>(i));
            values[i] = static_cast<float>(scale * exponential(distance * distance * factor));
        }
    }
}

}  // namespace

Span span_around(std::size_t count, double center, double radius) {
    const double last = static_cast<double>(count);
    // The casts round down. The order of the arguments matters: NaN becomes 0 instead of an invalid index.
    const double begin = std::min(last, std::max(0.0, center - radius));
    const double end = std::min(last, std::max(0.0, center + radius + 1.0));
    auto first = static_cast<std::size_t>(begin);
    first += static_cast<double>(first) < begin;
    return {first, std::max(first, static_cast<std::size_t>(end))};
}

void fill_gaussian(float* values, Span span, double center, double sigma, float scale) {
    fill(values, span.size(), static_cast<double>(span.begin) - center, -0.5 / (sigma * sigma), scale);
}

}  // namespace kptool
