// The Gaussian that fits a map best around its peak.
#pragma once

#include "top.hpp"

namespace kptool {

// With u = (x - top.pixel.x) / reach and v likewise, log value = a + b u + c v + d (u^2 + v^2) has its peak
// at
// -(b, c) / 2d. Values above a fifth of the peak, or within two steps, give a first fit of the logarithms,
// weighted with the value squared: noise of one size in a value is noise of size 1 / value in its logarithm.
// One Gauss-Newton step on the values themselves, over the whole window, then brings it to least squares. A
// blob that is symmetric about a point keeps its centre whatever its shape, borders only leave pixels out,
// and no width has to be known. Of a top that was cut off only the flanks are fitted, by their logarithms
// alone; the answer stays on the rectangle that the top spans. Where no Gaussian fits, it is the top's
// middle.
//
// Guo, A simple algorithm for fitting a Gaussian function, IEEE Signal Processing Magazine 28(5), 2011.
template <class T>
Point fit_gaussian(const Map<T>& map, const Top& top);

}  // namespace kptool
