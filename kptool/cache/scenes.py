"""The whole pictures of a cache, from which a finder learns: writing them while extracting, and reading them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import CacheError
from kptool.base.geometry import Size
from kptool.cache.chunk_size import ROWS
from kptool.cache.store import Cache, CacheWriter
from kptool.data.annotations import Source
from kptool.data.splits import SPLITS, TEST, TRAIN, VAL
from kptool.system.progress import Progress, silent


def append_scenes(source: Source, cache: CacheWriter, split: NDArray[np.uint8], progress: Progress = silent) -> None:
    """Add the scenes of `source`, if it has any, to a cache whose samples are split as `split` (count,) says.

    A picture is in the part of the samples that were cut out of it. Pictures of the test part are left out. An instance
    whose sample was dropped teaches nothing.
    """
    if source.scenes is None:
        return
    part_of = dict(zip(cache.rows().tolist(), split.tolist(), strict=True))
    done = 0
    for block in source.scenes():
        parts = []
        for rows, teaches, stated in zip(block.rows, block.teaches, block.splits, strict=True):
            known = [part_of[row] for row in rows.tolist() if row in part_of]
            own = [] if source.split is None else source.split[rows[rows >= 0]].tolist()
            teaches &= np.array([row in part_of for row in rows.tolist()], bool)
            parts.append(known[0] if known else own[0] if own else {**SPLITS, "test": TEST}.get(stated, TRAIN))
        keep = [i for i, part in enumerate(parts) if part != TEST]
        if keep:
            cache.append_scenes(block.take(keep), [VAL if parts[i] == VAL else TRAIN for i in keep])
        done += len(parts)
        progress("whole pictures", done, None)


@dataclass(frozen=True)
class SceneSet:
    """The scenes of one part of a cache. images: uint8 (S, H, W) or (S, 3, H, W). boxes: float32 (B, 4), left and top edge,
    width, height in pixels of the images. scene: int64 (B,), each box's image. teaches: bool (B,), False where there may be
    anything."""

    images: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    scene: NDArray[np.int64]
    teaches: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> Size:
        """(H, W) of the images."""
        return self.images.shape[-2], self.images.shape[-1]


def read_scenes(cache: Cache, part: int, most: int | None = None) -> SceneSet:
    """The scenes of a part, TRAIN or VAL, of a cache that has scenes; of more than `most`, a random choice, always the same.

    Raises CacheError for damaged ones.
    """
    split, scene = cache.read("scene_split"), cache.read("box_scene")
    if scene.max(initial=-1) >= len(split) or (np.diff(scene) < 0).any():
        raise CacheError(
            f"{cache.path}: /box_scene has values out of range; make it again with `kptool extract --force`"
        )
    mine = np.flatnonzero(split == part)
    if most is not None and len(mine) > most:
        mine = _chosen(mine, most, part)
    inside = np.isin(scene, mine)
    renumbered = np.searchsorted(mine, scene[inside])
    boxes, teaches = cache.read("box")[inside], cache.read("box_teaches")[inside] > 0
    return SceneSet(cache.read("scene_images", mine), boxes, renumbered, teaches)


def _chosen(scenes: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """`most` of the ascending `scenes`, of whole chunks where possible, since reading one of a chunk reads all."""
    chunk = scenes // ROWS["scene_images"]
    order = np.random.default_rng(seed).permutation(np.unique(chunk))
    place = np.empty(chunk.max() + 1, np.int64)
    place[order] = np.arange(len(order))
    return np.sort(scenes[np.argsort(place[chunk], kind="stable")[:most]])
