"""A figure of the whole pictures in a cache, with the boxes and centres from which a finder learns."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from kptool.base.palette import FINDING, MUTED, TRACKS
from kptool.cache.scenes import SceneSet, read_scenes
from kptool.cache.store import Cache
from kptool.data.splits import TRAIN
from kptool.report import about
from kptool.report.canvas import Figure, rim
from kptool.report.tiles import grid

_COUNT, _CHOICE = 9, 1000
"""Pictures to draw, and those of which they are chosen."""


def scenes(cache: Cache, count: int = _COUNT) -> Figure:
    """Training pictures spread evenly, each instance's box with its number, its centre as a cross; a dashed grey box where
    there may be anything. The cache must have scenes."""
    found = read_scenes(cache, TRAIN, _CHOICE)
    mine = cache.read("scene_split")[cache.read("box_scene")] == TRAIN
    index = np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int))
    size = found.size
    ignored = int((cache.read("box_teaches")[mine] == 0).sum())
    note = f"Boxes and centres from which a finder learns. {about.data(cache)}"
    if ignored:
        note = f"Dashed: {ignored} area{'s' * (ignored != 1)} from which it learns nothing. {note}"
    title = f"{cache.scenes} whole pictures of {size[1]}x{size[0]} px, {mine.sum()} boxes in those for training"
    figure, axes = grid(len(index), cell=2.6, aspect=size[0] / size[1], title=title, note=note)
    for axis, number in zip(axes, index.tolist(), strict=False):
        _draw(axis, found, number)
    return figure


def _draw(axis: Axes, found: SceneSet, number: int) -> None:
    image = found.images[number]
    axis.imshow(image if image.ndim == 2 else np.moveaxis(image, 0, -1), cmap="gray", vmin=0, vmax=255)
    mine = np.flatnonzero(found.scene == number)
    for i, (box, teaches) in enumerate(zip(found.boxes[mine], found.teaches[mine], strict=True)):
        x, y, width, height = box.tolist()
        colour = TRACKS[i % len(TRACKS)] if teaches else MUTED
        dashes = "-" if teaches else (0, (3, 2))
        frame = Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=1.2, linestyle=dashes)
        frame.set_path_effects(rim(2.6))
        axis.add_patch(frame)
        if teaches:
            axis.scatter([x + width / 2], [y + height / 2], marker="+", s=30, c=FINDING, linewidths=1.1)
            axis.text(x, y - 2, str(i), color=colour, fontsize=7, path_effects=rim(2))
    axis.set_xlim(-0.5, found.size[1] - 0.5)
    axis.set_ylim(found.size[0] - 0.5, -0.5)
