"""Turns objects that are seen at any angle upright: one shape in the image, and the map that brings each object onto it.

A network that sees an object at all angles first says roughly where its keypoints are; turned upright by these, it sees
the object as half of its training images showed it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import Size, swap_order
from kptool.data import shapes

FILLS = 0.75
"""Share of an image's side that the shape takes, of the side that it fills more."""
_SYMMETRIC = 0.3
"""Root mean square distance of a shape from its mirror image, in its radius, up to which it has an axis."""
_MOST_SCALED = 4.0
"""Largest enlargement or reduction: other objects stay as they are."""


def shape_of(
    points: NDArray[np.floating], labelled: NDArray[np.bool_], size: Size, pairs: Sequence[tuple[int, int]]
) -> NDArray[np.float64] | None:
    """The shape (K, 2) onto which objects (N, K, 2), labelled (N, K), are turned, in pixels of an image of `size`; NaN for
    keypoints without labels, None if too few are labelled.

    It is the mean shape, with its axis of symmetry upright if the flip `pairs` show one, else at the usual angle.
    """
    mean = shapes.mean_shape(points, labelled)
    if mean is None:
        return None
    z = shapes.to_complex(mean)
    usual = z * _usual_turn(points, labelled, z)
    turned = _on_axis(usual, pairs)
    low = np.array([np.nanmin(turned.real), np.nanmin(turned.imag)])
    high = np.array([np.nanmax(turned.real), np.nanmax(turned.imag)])
    sides = np.array([size[1], size[0]], np.float64)
    scale = FILLS / ((high - low) / sides).max()
    centred = np.stack([turned.real, turned.imag], -1) - (low + high) / 2
    return np.asarray(centred * scale + (sides - 1) / 2)


def _usual_turn(points: NDArray[np.floating], labelled: NDArray[np.bool_], mean: shapes.Complex) -> complex:
    """The rotation of the mean shape (K,) to the angle at which most objects are, as a unit complex number."""
    factors = _factors(shapes.to_complex(points), labelled, mean)[0]
    known = np.isfinite(factors) & (factors != 0)
    total = (factors[known].conj() / np.abs(factors[known])).sum()
    return complex(total / abs(total)) if abs(total) > 1e-9 else 1 + 0j


def _on_axis(shape: shapes.Complex, pairs: Sequence[tuple[int, int]]) -> shapes.Complex:
    """The shape (K,), turned by less than a quarter so that its axis of symmetry is vertical; as it is without one."""
    if not pairs:
        return shape
    mirrored = -shape[swap_order(len(shape), pairs)].conj()
    both = np.isfinite(shape) & np.isfinite(mirrored)
    if not both.any():
        return shape
    turn = (shape[both] * mirrored[both].conj()).sum()
    turn /= max(abs(turn), 1e-300)
    off = np.sqrt(np.mean(np.abs(shape[both] - mirrored[both] * turn) ** 2))
    if off > _SYMMETRIC * np.sqrt(np.mean(np.abs(shape[both]) ** 2)):
        return shape
    back = np.exp(-0.5j * np.angle(turn))
    return np.asarray(shape * (back if back.real >= 0 else -back))


def maps_onto(
    points: NDArray[np.floating], labelled: NDArray[np.bool_], shape: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The similarity of least squares (N, 2, 3) that takes each object (N, K, 2), labelled (N, K), onto `shape` (K, 2).

    NaN for objects with fewer than three labelled keypoints, or that it would scale more than fourfold.
    """
    target = shapes.to_complex(shape)
    factors, middle, aim = _factors(shapes.to_complex(points), labelled, target)
    few = (labelled & np.isfinite(target)).sum(1) < shapes.LEAST_POINTS
    odd = few | (np.abs(factors) > _MOST_SCALED) | (np.abs(factors) < 1 / _MOST_SCALED)
    factors = np.where(odd, complex(np.nan, np.nan), factors)
    offset = aim - factors * middle
    rows = [[factors.real, -factors.imag, offset.real], [factors.imag, factors.real, offset.imag]]
    return np.moveaxis(np.array(rows), -1, 0).astype(np.float32)


def _factors(
    z: shapes.Complex, labelled: NDArray[np.bool_], target: shapes.Complex
) -> tuple[shapes.Complex, shapes.Complex, shapes.Complex]:
    """The factors (N,) by which objects (N, K), about their middles (N,), become `target` (K,), about its middles (N,)."""
    weights = (labelled & np.isfinite(target)).astype(float)
    total = np.maximum(weights.sum(1), 1)
    z, w = np.where(weights > 0, z, 0), np.nan_to_num(target) * weights
    middle, aim = z.sum(1) / total, w.sum(1) / total
    centred = (z - middle[:, None]) * weights
    extent = np.maximum((np.abs(centred) ** 2).sum(1), 1e-300)
    return ((w - aim[:, None] * weights) * centred.conj()).sum(1) / extent, middle, aim
