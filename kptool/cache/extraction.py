"""`kptool extract`: a source of whatever format -> a folder of PNGs, keypoints.csv and dataset.h5.

Everything is written into a hidden folder inside the target first and moved into place at the end, so a run that is
stopped leaves what was there before. Blocks are streamed: memory does not grow with the number of rows.
"""

from __future__ import annotations

import csv
import hashlib
import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool import heatmaps
from kptool.base.errors import ConfigError, DataError
from kptool.base.version import __version__
from kptool.cache import allotment
from kptool.cache.layout import check_heatmaps
from kptool.cache.noticed import Noticed, corrected, patched, unused_groups
from kptool.cache.store import CacheWriter, Info
from kptool.data import similar
from kptool.data.annotations import Samples, Source
from kptool.data.images import encode_png
from kptool.data.splits import VAL, choose_split, groups_of, merge_groups, no_val_note, read_groups, span_pictures
from kptool.system.files import lost_with, sha256, staged, swap, sync
from kptool.system.printable import printable
from kptool.system.progress import Progress, silent

IMAGES, KEYPOINTS, CACHE = "images", "keypoints.csv", "dataset.h5"
_STAGING = ".kptool-extract"
_MOST_BYTES = 1 << 26
_PATIENCE = 4
"""Blocks of images that may wait to be written."""


@dataclass(frozen=True)
class Options:
    """The settings of an extraction.

    `keypoints`: "complete" keeps rows with every keypoint, "all" those with any, "auto" what the source is meant for.
    `split`: "own" keeps the data's, "similar" keeps near-duplicates on one side, "random" does not look; "auto" is own where
    the data have a split, else random. `val` is the share for validation of a split that is drawn, 0.1 where it is None.
    `groups` and `patch` are csv files.
    """

    keypoints: str = "auto"
    sigma: float = 2.0
    stride: int = 1
    heatmaps: str = "uint8"
    val: float | None = None
    seed: int = 0
    groups: Path | None = None
    force: bool = False
    split: str = "auto"
    patch: Path | None = None

    def __post_init__(self) -> None:
        check_heatmaps(self.heatmaps, self.sigma, self.stride)
        if self.keypoints not in ("auto", "complete", "all"):
            raise ConfigError(f"--keypoints must be auto, complete or all; got {self.keypoints!r}")
        if self.split not in ("auto", "own", "random", "similar"):
            raise ConfigError(f"--split must be own, random or similar; got {self.split!r}")
        if self.split == "similar" and self.groups is not None:
            raise ConfigError("--groups says what belongs together, so --split similar has nothing to find; give one")
        if self.split == "own" and self.val is not None:
            raise ConfigError("--split own keeps the data's validation part, so --val has no meaning; give one of them")
        if self.val is not None and not 0 <= self.val < 1:
            raise ConfigError(f"--val is the share of images kept for validation, from 0 to below 1; got {self.val}")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"--seed must be 0 to 2**32 - 1; got {self.seed}")


@dataclass(frozen=True)
class Extracted:
    """What an extraction did: rows read, samples kept, rows dropped by reason, how left and right were told apart, where
    the cache is, and `notes` on what was not used or should be known, a sentence each."""

    source: str
    rows: int
    kept: int
    dropped: dict[str, int]
    keypoints: int
    splits: dict[str, int]
    flip_note: str
    cache: Path
    seconds: float
    notes: tuple[str, ...] = ()


def extract(source: Source, out: Path, options: Options, *, progress: Progress = silent) -> Extracted:
    """Write `source` to the folder `out`: images/*.png, keypoints.csv, dataset.h5.

    Raises DataError, naming file and row, for bad input, and ConfigError where `out` already holds an extraction and
    `force` is not set; what was there before is then untouched.
    """
    started = time.perf_counter()
    _check_free(source, out, options)
    own = allotment.kept(source, options.split, options.val)
    groups = source.groups if options.groups is None else read_groups(options.groups)
    noticed = Noticed(source.pictures)
    heard = replace(source, blocks=lambda: noticed.listen(source.blocks()))
    info = Info(
        names=source.skeleton.names,
        flip_pairs=source.skeleton.flip_pairs,
        size=source.size,
        channels=source.channels,
        sigma=options.sigma,
        stride=options.stride,
        heatmaps=options.heatmaps,
        seed=options.seed,
        val=allotment.share(options.val, own),
        source=printable(source.label),
        source_sha256=_sha256(source),
        version=__version__,
        mirror=source.skeleton.mirror,
        margin=source.margin,
        grouped=options.groups is not None or span_pictures(source.groups, source.pictures),
    )
    with staged(out, _STAGING) as staging:
        (staging / IMAGES).mkdir()
        counts, split, labels = _write(heard, staging, info, options, groups, own=own, progress=progress)
        _publish(staging, out)
    dropped = {reason: count for reason, count in counts.items() if reason not in ("rows", "kept")}
    val = int((split == VAL).sum())
    splits = {"train": len(split) - val, "val": val}
    notes = (*source.notes, *allotment.said(own, counts, splits), *noticed.sentences())
    notes = (*notes, *allotment.unlabelled(info.names, labels, split), *corrected(options.patch, info.names))
    notes = (*notes, *unused_groups(groups, noticed.rows, options.groups), *no_val_note(options.split, info.val, val))
    rows, kept, seconds = counts["rows"], counts["kept"], time.perf_counter() - started
    names, cache = len(info.names), out / CACHE
    return Extracted(source.label, rows, kept, dropped, names, splits, source.flip_note, cache, seconds, notes)


def _check_free(source: Source, out: Path, options: Options) -> None:
    """Raise ConfigError where something is in the way: with `force`, only what the extraction itself is made from."""
    taken = [out / name for name in (CACHE, KEYPOINTS, IMAGES) if (out / name).exists()]
    stated = [path for path in (options.groups, options.patch) if path is not None]
    for place in taken:
        own = lost_with(place, [*source.files, *stated, *(source.originals or ())])
        if own is not None:
            raise ConfigError(
                f"{place} cannot be replaced, because {own} of the source would be lost; choose another folder with --out"
            )
    if taken and not options.force:
        raise ConfigError(f"{taken[0]} already exists; pass --force to replace it, or choose another folder with --out")


def _write(
    source: Source,
    staging: Path,
    info: Info,
    options: Options,
    groups: NDArray[np.int64] | None,
    *,
    own: NDArray[np.int8] | None,
    progress: Progress,
) -> tuple[Counter[str], NDArray[np.uint8], NDArray[np.int64]]:
    """Stream the source into the staging folder; returns the counts, the split, and the labels as in `allotment.unlabelled`."""
    counts: Counter[str] = Counter(rows=0, kept=0)
    which = options.keypoints if options.keypoints != "auto" else "complete" if source.complete else "all"
    draw = _Heatmaps(info)
    with (
        CacheWriter(staging / CACHE, info) as cache,
        (staging / KEYPOINTS).open("w", newline="", encoding="utf-8") as file,
        ImageWriter(staging) as images,
    ):
        table = csv.writer(file)
        columns = [f"{name}_{part}" for name in info.names for part in ("x", "y", "visibility")]
        table.writerow(["image", "row", *(["source"] if source.pictures else []), *columns])
        most = max(1, _MOST_BYTES // info.heatmap_bytes)
        if options.patch is not None:
            fixed = partial(patched, source.blocks, options.patch, info.names, info.flip_pairs, counts)
            source = replace(source, blocks=fixed)
        blocks = allotment.untested(source, counts)
        for samples in pieces(keep(blocks, which, counts), most):
            names = [f"{IMAGES}/{cache.count + i:05d}.png" for i in range(len(samples))]
            images.write(names, samples.images)
            table.writerows(_csv_row(name, samples, i, source.pictures) for i, name in enumerate(names))
            cache.append(samples, draw(samples))
            progress("rows", counts["rows"], source.total)
        if not cache.count:
            raise DataError(f"{source.label}: none of {counts['rows']} rows has {which} keypoints; try --keypoints all")
        assigned = groups_of(groups, cache.rows(), options.groups)
        if options.split == "similar":
            assigned = merge_groups(assigned, similar.clusters(cache.images()))
        if own is None:
            split = choose_split(assigned, allotment.share(options.val, own), options.seed)
        else:
            split = allotment.taken(own, cache.rows(), assigned, options.groups)
        labels = cache.labels(split)
        cache.finish(split, assigned)
    for path in (staging / KEYPOINTS, staging / CACHE, staging / IMAGES, staging):
        sync(path)
    return counts, split, labels


def keep(blocks: Iterator[Samples], which: str, counts: Counter[str]) -> Iterator[Samples]:
    """The samples to keep of each block, counting what is dropped and why."""
    for samples in blocks:
        labelled = samples.visibility > 0
        chosen = np.asarray(labelled.all(1) if which == "complete" else labelled.any(1))
        counts["rows"] += len(samples)
        counts["kept"] += int(chosen.sum())
        if not chosen.all():
            reason = "not all keypoints labelled" if which == "complete" else "no keypoint labelled"
            counts[reason] += int((~chosen).sum())
        if chosen.any():
            yield samples.select(chosen)


def _sha256(source: Source) -> str:
    """What tells sources apart: of the contents of its files, or of its label where it has none."""
    return sha256(source.files) if source.files else hashlib.sha256(source.label.encode()).hexdigest()


def pieces(blocks: Iterator[Samples], most: int) -> Iterator[Samples]:
    """The same samples in blocks of at most `most`: those of many keypoints or large images would not fit the memory."""
    for samples in blocks:
        for start in range(0, len(samples), most):
            number = np.arange(len(samples))
            yield samples.select((number >= start) & (number < start + most))


class _Heatmaps:
    """Draws the heatmaps of one block of samples after the other, into one array."""

    def __init__(self, info: Info) -> None:
        self._info = info
        self._renderer: heatmaps.Renderer | None = None

    def __call__(self, samples: Samples) -> NDArray[Any] | None:
        info = self._info
        if info.heatmaps == "none":
            return None
        if self._renderer is None or len(self._renderer.heatmaps) < len(samples):
            self._renderer = heatmaps.Renderer(
                len(samples), len(info.names), info.size, info.sigma, stride=info.stride, dtype=info.heatmaps
            )
        return self._renderer(samples.keypoints, samples.visibility)


class ImageWriter:
    """Writes PNGs beside the rest of the work: most of their time is the disk's."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._pool = folder, ThreadPoolExecutor(max_workers=2)
        self._pending: deque[Future[None]] = deque()

    def write(self, names: list[str], images: NDArray[np.uint8]) -> None:
        """Write images (n, H, W) or (n, 3, H, W) as `names`, soon; at most a few blocks wait in memory."""
        self._pending.append(self._pool.submit(_write_images, self._folder, names, images))
        while len(self._pending) > _PATIENCE:
            self._pending.popleft().result()

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._pool.shutdown(cancel_futures=error is not None)
        if error is None:
            for future in self._pending:
                future.result()


def _write_images(folder: Path, names: list[str], images: NDArray[np.uint8]) -> None:
    for name, image in zip(names, images, strict=True):
        with (folder / name).open("wb") as file:
            file.write(encode_png(image if image.ndim == 2 else np.moveaxis(image, 0, -1)))
            file.flush()
            os.fsync(file.fileno())


def _csv_row(name: str, samples: Samples, i: int, pictures: Sequence[str] | None) -> list[object]:
    """One line of keypoints.csv; an unlabelled keypoint has empty coordinates."""
    row = int(samples.rows[i])
    cells: list[object] = [name, row, *([printable(pictures[row])] if pictures else [])]
    for (x, y), visible in zip(samples.keypoints[i].tolist(), samples.visibility[i].tolist(), strict=True):
        cells += [f"{x:.9g}", f"{y:.9g}", visible] if visible else ["", "", 0]
    return cells


def _publish(staging: Path, out: Path) -> None:
    """Move what was written into place; the cache last, because it is what makes an extraction whole."""
    if (out / IMAGES).exists():
        swap(out / IMAGES, staging / IMAGES)
    else:
        (staging / IMAGES).rename(out / IMAGES)
    for name in (KEYPOINTS, CACHE):
        (staging / name).replace(out / name)
    sync(out)
