"""A cache whose training labels are moved towards what a model sees: python benchmarks/distil.py CACHE OUT [--teacher unet]

A small network learns from a large one (Hinton, Vinyals & Dean, 2015), and less from the labels' noise. The teacher's points
are averaged with those of the mirrored image; validation labels stay as they are.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import h5py
import numpy as np
import torch

from kptool.cache.store import Cache
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import Inference


def main() -> None:
    """Write the copy, and print how far the teacher is from the labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--teacher", default="unet")
    parser.add_argument("--share", type=float, default=0.75, help="of the way from the label to the teacher's point")
    given = parser.parse_args()
    model, _ = checkpoint.load_model(cards.resolve(given.teacher, Path("no runs"))[0], torch.device("cpu"))
    with Cache(given.cache) as cache:
        train = cache.index("train")
        images, labels = cache.read("images", train), cache.read("keypoints", train)
        visible = cache.read("visibility", train) > 0
    stacked = torch.from_numpy(images if images.ndim == 4 else images[:, None])
    seen = torch.cat([model.points(part, Inference(flip=True))[0] for part in stacked.split(64)]).numpy()
    moved = np.where(visible[..., None], seen - labels, 0)
    print(
        f"teacher to labels: RMSE {np.sqrt(np.square(moved[visible]).mean()):.3f} px, moved {given.share:.0%} of the way"
    )
    shutil.copy(given.cache, given.out)
    with h5py.File(given.out, "r+") as file:
        points = file["keypoints"][:]
        points[train] = labels + given.share * moved
        file["keypoints"][:] = points


if __name__ == "__main__":
    main()
