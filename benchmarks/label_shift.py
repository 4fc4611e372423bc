"""Measure the shift of a data set's labels from the features that they name, by methods with different assumptions.

    kptool extract training.zip --groups groups.csv --out faces
    python benchmarks/label_shift.py find faces/dataset.h5 unet.npz                  points by kptool
    python benchmarks/label_shift.py find faces/dataset.h5 dlib.npz --with dlib      points by dlib, if installed
    python benchmarks/label_shift.py measure faces/dataset.h5 unet.npz dlib.npz
    python benchmarks/label_shift.py mirror faces/dataset.h5                          pictures against mirror images

Every face is turned upright; its points are predicted in the image and in its mirror image, and averaged, so that on
average they favour neither left nor right, whatever predicts them. docs/label-shift.md explains and combines the results.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kptool.base import face68
from kptool.base.geometry import apply_affine, fit_similarity, flip_points, invert_affine
from kptool.base.skeleton import FACE15
from kptool.cache.store import Cache
from kptool.network import cards
from kptool.report import peers

Floats = NDArray[np.float64]
_SCALE, _SIDE = 3, 480
_SINGLE = [2, 3, 4, 5, 10, 11, 12, 13, 14]
"""Keypoints that are one of the original 68, not a mean of several, so that their coordinates lie on the pixel grid."""
_EYES_MOUTH = [0, 1, 2, 3, 4, 5, 11, 12, 13, 14]


def named(points: Floats, names: tuple[str, ...]) -> Floats:
    """The 15 points that are compared, (N, 15, 2), from points of the 15- or the 68-point scheme."""
    if tuple(names) == FACE15.names:
        return points
    return np.stack([points[:, list(face68.PARTS[name])].mean(1) for name in FACE15.names], 1)


def mean_shape() -> Floats:
    """The mirror-symmetric shape (15, 2) to which faces are aligned, in pixels of a 96x96 face."""
    card = cards.read_card(Path(__file__).parent.parent / "kptool" / "weights" / "unet.safetensors")
    shape = np.array(card.data["mean_shape"])
    return (shape + flip_points(shape, 96, FACE15.flip_pairs)) / 2


def upright(points: Floats) -> tuple[Floats, Floats]:
    """Align faces by their labels (N, 15, 2): upright, in the middle of a canvas, `_SCALE` times the size of a 96x96 face.

    Returns the maps (N, 2, 3) to the canvas, and the tilt of each face (N,) in radians.
    """
    target = (mean_shape() - 47.5) * _SCALE + (_SIDE - 1) / 2
    affines = np.stack([fit_similarity(each, target) for each in points])
    return affines, np.arctan2(-affines[:, 1, 0], affines[:, 0, 0])


def canvas(image: NDArray[np.uint8], affine: Floats) -> NDArray[np.uint8]:
    """Warp an image (H, W) or (3, H, W) to the canvas, (`_SIDE`, `_SIDE`, 3), with its border replicated outwards."""
    colour = np.stack([image] * 3, -1) if image.ndim == 2 else np.moveaxis(image, 0, -1)
    pad = max(colour.shape) // 2
    padded = Image.fromarray(np.pad(colour, ((pad, pad), (pad, pad), (0, 0)), mode="edge"))
    back = invert_affine(affine)
    shift = back[:, 2] + pad + 0.5 - back[:, :2] @ np.array([0.5, 0.5])
    data = (*back[0, :2], shift[0], *back[1, :2], shift[1])
    return np.asarray(padded.transform((_SIDE, _SIDE), Image.Transform.AFFINE, data, Image.Resampling.BICUBIC))


def finder(name: str) -> Callable[[NDArray[np.uint8], Floats], Floats | None]:
    """A function from a canvas and the face's box on it to points (K, 2) in kptool's keypoint order, or None."""
    if name == "kptool":
        from kptool import Predictor

        predictor = Predictor("unet", "cpu", as_labelled=True)
        return lambda image, box: predictor.predict(image, boxes=[tuple(box)])[0].keypoints.astype(float)
    find = peers.load(name)

    def search(image: NDArray[np.uint8], box: Floats) -> Floats | None:
        faces = [np.array([face[key] for key in FACE15.names]) for face in find(image)]
        middle = box[:2] + box[2:] / 2
        faces = [face for face in faces if np.linalg.norm(face.mean(0) - middle) < 0.3 * box[2]]
        return faces[0] if faces else None

    return search


def find(cache: Path, out: Path, name: str, *, split: str, every: int) -> None:
    """Write the predicted points (N, K, 2) of a split's images, in their pixels, to `out`; NaN where no face is found."""
    search = finder(name)
    with Cache(cache) as opened:
        index, info = opened.index(split)[::every], opened.info
        images, points = opened.read("images", index), opened.read("keypoints", index).astype(float)
    points = named(points, info.names)
    affines, _ = upright(points)
    found = np.full(points.shape, np.nan)
    for i, (image, affine) in enumerate(zip(images, affines, strict=True)):
        placed, drawn = apply_affine(affine, points[i]), canvas(image, affine)
        low, high = placed.min(0), placed.max(0)
        box = np.array([*(low - 0.15 * (high - low)), *(1.3 * (high - low))])
        mirrored = box.copy()
        mirrored[0] = _SIDE - 1 - box[0] - box[2]
        here, there = search(drawn, box), search(np.ascontiguousarray(drawn[:, ::-1]), mirrored)
        if here is not None and there is not None:
            both = (here + flip_points(there, _SIDE, FACE15.flip_pairs)) / 2
            found[i] = apply_affine(invert_affine(affine), both)
    np.savez(out, found=found, index=index, name=name)
    print(f"{name}: {int(np.isfinite(found).all((1, 2)).sum())} of {len(found)} faces")


def grid_step(points: Floats) -> Floats:
    """The grid spacing (N,) of each image's labels (N, 15, 2): the approximate greatest common divisor of their gaps."""
    steps = []
    for each in points[:, _SINGLE]:
        step = 0.0
        for gap in np.concatenate([np.diff(np.unique(each[:, axis].round(6))) for axis in (0, 1)]):
            a, b = max(step, gap), min(step, gap)
            while b > 2e-3:
                a, b = b, abs(a - b * round(a / b))
            step = a
        steps.append(step)
    return np.array(steps)


def regress(x: Floats, y: Floats, groups: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Least-squares coefficients (D,) of y (N,) on x (N, D), and cluster-robust standard errors (D,) by group."""
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ (x.T @ y)
    score = x * (y - x @ beta)[:, None]
    sums = np.stack([score[groups == g].sum(0) for g in np.unique(groups)])
    return beta, np.sqrt(np.diag(inverse @ (sums.T @ sums) @ inverse))


def within(values: Floats, groups: NDArray[np.int64]) -> Floats:
    """Values (N, ...) minus the mean of their group."""
    _, which, count = np.unique(groups, return_inverse=True, return_counts=True)
    means = np.zeros((len(count), *values.shape[1:]))
    np.add.at(means, which, values)
    return values - (means / count.reshape(-1, *[1] * (values.ndim - 1)))[which]


def measure(cache: Path, files: list[Path]) -> None:
    """Print the estimates from the points in each file."""
    with Cache(cache) as opened:
        names = opened.info.names
        every, group = named(opened.read("keypoints").astype(float), names), opened.read("group")
    group = np.where(group >= 0, group, -1 - np.arange(len(group)))
    steps = grid_step(every)
    print(
        f"spacing of the labels' grid: mean {steps.mean():.3f}, 5 to 95 % {np.percentile(steps, [5, 95]).round(2)} px"
    )
    for file in files:
        stored = np.load(file)
        good = np.isfinite(stored["found"]).all((1, 2))
        index = stored["index"][good]
        report(str(stored["name"]), every[index], stored["found"][good], group[index], steps[index])


def report(name: str, labels: Floats, found: Floats, groups: NDArray[np.int64], steps: Floats) -> None:
    """Print the shift estimates from one finder's points, for eyes and mouth, in pixels of a face scaled to 96x96."""
    affines, tilt = upright(labels)
    scale = np.sqrt(np.linalg.det(affines[:, :, :2])) / _SCALE
    apart = (labels - found)[:, _EYES_MOUTH] * scale[:, None, None]
    error = apart.mean(1)  # (N, 2): the mean over keypoints
    placed = apply_affine(affines, found)
    nose = placed[:, 10, 0] - placed[:, [2, 4], 0].mean(1)  # yaw: changes its sign under mirroring
    turn = nose / np.ptp(placed[..., 0], axis=1)
    kept = (np.abs(error - np.median(error, axis=0)) < 5).all(1)
    tilt, error, groups, turn, steps = tilt[kept], error[kept], groups[kept], turn[kept], (steps * scale)[kept]
    cos, sin, one = np.cos(tilt), np.sin(tilt), np.ones(len(tilt))
    across, along = error[:, 0] * cos + error[:, 1] * sin, -error[:, 0] * sin + error[:, 1] * cos
    print(f"\n{name}: {len(tilt)} faces, tilted by {np.degrees(tilt).std():.1f} degrees")
    print(
        "  labels minus points, mean of the keypoints' medians: x {:+.3f}, y {:+.3f}".format(
            *np.median(apart, 0).mean(0)
        )
    )
    x = np.stack([cos, sin, turn, turn**3], 1)
    beta, se = regress(x, across, groups)
    print(
        f"  across the face, averaged with its mirror image: x {beta[0]:+.3f} +- {se[0]:.3f}, y {beta[1]:+.3f} +- {se[1]:.3f}"
    )
    if len(np.unique(groups)) < len(groups):
        beta, se = regress(within(x[:, 1:], groups), within(across, groups), groups)
        print(f"  the same, within people: y {beta[0]:+.3f} +- {se[0]:.3f}")
    beta, se = regress(np.stack([-sin, one, turn**2], 1), along, groups)
    print(f"  along the face, by tilt: x {beta[0]:+.3f} +- {se[0]:.3f}")
    for axis, what in enumerate("xy" if steps.mean() > 0.1 else ""):
        beta, se = regress(np.stack([steps, one], 1), error[:, axis], groups)
        print(f"  {what} by grid spacing: {beta[0]:+.3f} +- {se[0]:.3f} steps and {beta[1]:+.3f} +- {se[1]:.3f} px")


def mirror(cache: Path) -> None:
    """Print the mean distance of validation images' points from those of their mirror images, as labelled and as features."""
    from kptool import Predictor

    with Cache(cache) as opened:
        images = opened.read("images", opened.index("val"))
    for as_labelled in (True, False):
        predictor = Predictor("unet", "cpu", detect=False, as_labelled=as_labelled)
        here, there = (predictor.predict_many(list(some)) for some in (images, np.ascontiguousarray(images[..., ::-1])))
        pairs = predictor.card.config.flip_pairs
        apart = np.stack(
            [
                a.keypoints - flip_points(b.keypoints, images.shape[-1], pairs)
                for (a,), (b,) in zip(here, there, strict=True)
            ]
        )
        mean = apart.mean((0, 1))
        print(
            f"{predictor.points}: a picture's points minus its mirror image's {mean[0]:+.3f} px in x, {mean[1]:+.3f} px in y"
        )


def main() -> None:
    """Parse the command line and run the subcommand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    finding = commands.add_parser("find")
    finding.add_argument("cache", type=Path)
    finding.add_argument("out", type=Path)
    finding.add_argument("--with", dest="name", default="kptool")
    finding.add_argument("--split", default="all")
    finding.add_argument("--every", type=int, default=1)
    measuring = commands.add_parser("measure")
    measuring.add_argument("cache", type=Path)
    measuring.add_argument("files", type=Path, nargs="+")
    mirroring = commands.add_parser("mirror")
    mirroring.add_argument("cache", type=Path)
    options = parser.parse_args()
    if options.command == "find":
        find(options.cache, options.out, options.name, split=options.split, every=options.every)
    elif options.command == "mirror":
        mirror(options.cache)
    else:
        measure(options.cache, options.files)


if __name__ == "__main__":
    main()
