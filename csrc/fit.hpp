// Least-squares fit of a Gaussian around a map's peak.
#pragma once

#include "lanes.hpp"
#include "top.hpp"

namespace kptool {

// A peak to fit.
template <class T>
struct Blob {
    Map<T> map;
    Top top;
};

// The positions of at most `lanes` peaks, which are computed together, and each as if it were alone.
//
// With u = (x - top.pixel.x) / reach and v likewise, the model is
// log value = a + b u + c v + d (u^2 + v^2), whose peak is at -(b, c) / (2 d).
//
// Step 1: a linear fit of the logarithms of all values above a fifth of the peak or within two steps of it,
// weighted by the value squared, because noise of constant size in a value becomes noise of size 1 / value
// in its logarithm. Step 2: one Gauss-Newton step on the values themselves over the whole window, towards
// the least-squares solution. The fit is unbiased for any blob that is symmetric about a point, borders
// only remove pixels, and sigma need not be known.
//
// For a saturated peak, only the logarithms of the flanks are fitted, and the result is clamped to the
// rectangle spanned by the flat top. If no Gaussian fits, the result is the middle of the top.
//
// Reference: Guo, A simple algorithm for fitting a Gaussian function, IEEE Signal Processing Magazine
// 28(5), 2011.
template <class T>
void fit_gaussians(const Blob<T>* blobs, std::size_t count, Point* points);

}  // namespace kptool
