"""`kptool extract`: a source in any format -> a folder with PNG images, keypoints.csv and dataset.h5.

Everything is first written to a hidden folder inside the target and moved into place at the end, so a run that is
interrupted leaves existing files untouched. Blocks are streamed: memory does not grow with the number of rows.
"""

from __future__ import annotations

import csv
import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool import heatmaps
from kptool.base.errors import ConfigError, DataError
from kptool.base.version import __version__
from kptool.cache.corrections import apply_patch, correction_note
from kptool.cache.image_writer import ImageWriter
from kptool.cache.layout import MAX_CATEGORY, check_heatmaps
from kptool.cache.remarks import RemarkCollector, label_notes
from kptool.cache.scenes import append_scenes
from kptool.cache.splitter import Splitter, without_test
from kptool.cache.store import CacheWriter, Info
from kptool.data.annotations import Samples, Source
from kptool.data.splits import VAL, span_pictures
from kptool.system.files import first_inside, sha256, staged, swap, sync
from kptool.system.printable import printable
from kptool.system.progress import Progress, silent

IMAGES, KEYPOINTS, CACHE = "images", "keypoints.csv", "dataset.h5"
_STAGING = ".kptool-extract"
_MAX_HEATMAP_BYTES = 1 << 26
"""Memory for the heatmaps of one block."""


@dataclass(frozen=True)
class Options:
    """The settings of an extraction. Raises ConfigError for invalid ones.

    keypoints: "complete" keeps rows with every keypoint labelled, "all" those with any, "auto" what the source suggests.
    split: "own" keeps the split that the data set defines, "random" draws one, "similar" draws one that keeps
    near-duplicates together; "auto" is own if there is one, else random. val: the fraction of samples for validation in a
    split that is drawn; None means 0.1. groups, patch: csv files.
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
            raise ConfigError(
                "--groups says what belongs together, so --split similar has no meaning; give one of them"
            )
        if self.split == "own" and self.val is not None:
            raise ConfigError("--split own keeps the data's validation part, so --val has no meaning; give one of them")
        if self.val is not None and not 0 <= self.val < 1:
            raise ConfigError(
                f"--val must be the fraction of images for validation, at least 0 and below 1; got {self.val}"
            )
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"--seed must be 0 to 2**32 - 1; got {self.seed}")


@dataclass(frozen=True)
class Extracted:
    """The result of an extraction.

    rows: number of rows read. kept: number of samples kept. dropped: number of rows left out, by reason. keypoints: K.
    splits: number of samples in "train" and "val". flip_note: how the flip pairs were found. notes: sentences on what
    was not used or should be known.
    """

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

    Raises DataError, naming file and row, for bad input, and ConfigError if `out` already holds an extraction and
    `force` is not set. Existing files are then left untouched.
    """
    started = time.perf_counter()
    _check_free(source, out, options)
    splitter = Splitter.for_source(source, options.split, options.val, options.seed, options.groups)
    remarks = RemarkCollector(source.pictures)
    watched = replace(source, blocks=lambda: remarks.watch(source.blocks()))
    info = _info(source, options, splitter.val)
    with staged(out, _STAGING) as staging:
        (staging / IMAGES).mkdir()
        counts, split, labels = _write(watched, staging, info, options, splitter, progress)
        _publish(staging, out)
    val = int((split == VAL).sum())
    train = len(split) - val
    return Extracted(
        source=source.label,
        rows=counts["rows"],
        kept=counts["kept"],
        dropped={reason: count for reason, count in counts.items() if reason not in ("rows", "kept")},
        keypoints=len(info.names),
        splits={"train": train, "val": val},
        flip_note=source.flip_note,
        cache=out / CACHE,
        seconds=time.perf_counter() - started,
        notes=(
            *source.notes,
            *splitter.notes(counts, train, val),
            *remarks.notes(),
            *label_notes(info.names, labels, split),
            *correction_note(options.patch, info.names),
            *splitter.final_notes(remarks.rows, val),
        ),
    )


def _info(source: Source, options: Options, val: float) -> Info:
    """The description that is stored in the cache."""
    return Info(
        names=source.skeleton.names,
        flip_pairs=source.skeleton.flip_pairs,
        size=source.size,
        channels=source.channels,
        sigma=options.sigma,
        stride=options.stride,
        heatmaps=options.heatmaps,
        seed=options.seed,
        val=val,
        source=printable(source.label),
        source_sha256=_sha256(source),
        version=__version__,
        mirror=source.skeleton.mirror,
        margin=source.margin,
        grouped=options.groups is not None or span_pictures(source.groups, source.pictures),
        category=None if source.category is None else printable(source.category)[:MAX_CATEGORY],
        edges=source.skeleton.edges,
    )


def _check_free(source: Source, out: Path, options: Options) -> None:
    """Raise ConfigError if `out` holds an extraction without `force`, or one that this extraction reads files of."""
    existing = [out / name for name in (CACHE, KEYPOINTS, IMAGES) if (out / name).exists()]
    stated = [file for file in (options.groups, options.patch) if file is not None]
    for path in existing:
        own = first_inside(path, [*source.files, *stated, *(source.originals or ())])
        if own is not None:
            raise ConfigError(
                f"{path} cannot be replaced, because {own} of the source would be lost; choose another folder with --out"
            )
    if existing and not options.force:
        raise ConfigError(
            f"{existing[0]} already exists; pass --force to replace it, or choose another folder with --out"
        )


def _write(
    source: Source, staging: Path, info: Info, options: Options, splitter: Splitter, progress: Progress
) -> tuple[Counter[str], NDArray[np.uint8], NDArray[np.int64]]:
    """Stream the source into the staging folder.

    Returns the counts (rows, kept, and dropped rows by reason), the split (N,), and labels (2, K) as in `label_notes`.
    """
    counts: Counter[str] = Counter(rows=0, kept=0)
    which = options.keypoints if options.keypoints != "auto" else "complete" if source.complete else "all"
    render = _HeatmapRenderer(info)
    with (
        CacheWriter(staging / CACHE, info) as cache,
        (staging / KEYPOINTS).open("w", newline="", encoding="utf-8") as file,
        ImageWriter(staging) as images,
    ):
        table = csv.writer(file)
        columns = [f"{name}_{part}" for name in info.names for part in ("x", "y", "visibility")]
        table.writerow(["image", "row", *(["source"] if source.pictures else []), *columns])
        if options.patch is not None:
            patched = partial(apply_patch, source.blocks, options.patch, info.names, info.flip_pairs, counts)
            source = replace(source, blocks=patched)
        blocks = keep(without_test(source, counts), which, counts)
        for samples in rechunk(blocks, max(1, _MAX_HEATMAP_BYTES // info.heatmap_bytes)):
            names = [f"{IMAGES}/{cache.count + i:05d}.png" for i in range(len(samples))]
            images.write(names, samples.images)
            table.writerows(_csv_row(name, samples, i, source.pictures) for i, name in enumerate(names))
            cache.append(samples, render(samples))
            progress("rows", counts["rows"], source.total)
        if not cache.count:
            raise DataError(f"{source.label}: none of {counts['rows']} rows has {which} keypoints; try --keypoints all")
        split, groups = splitter.split(cache)
        labels = cache.labels(split)
        append_scenes(source, cache, split, progress)
        cache.finish(split, groups)
    for path in (staging / KEYPOINTS, staging / CACHE, staging / IMAGES, staging):
        sync(path)
    return counts, split, labels


def keep(blocks: Iterator[Samples], which: str, counts: Counter[str]) -> Iterator[Samples]:
    """The samples of each block with every keypoint labelled (`which` "complete") or any; dropped ones are counted."""
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
    """A hash that identifies the source: of its files' contents, or of its label if it has no files."""
    return sha256(source.files) if source.files else hashlib.sha256(source.label.encode()).hexdigest()


def rechunk(blocks: Iterator[Samples], size: int) -> Iterator[Samples]:
    """The same samples in blocks of at most `size`, so that the heatmaps of a block fit in memory."""
    for samples in blocks:
        for start in range(0, len(samples), size):
            number = np.arange(len(samples))
            yield samples.select((number >= start) & (number < start + size))


class _HeatmapRenderer:
    """Renders the heatmaps of one block of samples after another into one reused array."""

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


def _csv_row(name: str, samples: Samples, i: int, pictures: Sequence[str] | None) -> list[object]:
    """One row of keypoints.csv; the coordinates of an unlabelled keypoint are empty."""
    row = int(samples.rows[i])
    cells: list[object] = [name, row, *([printable(pictures[row])] if pictures else [])]
    for (x, y), visible in zip(samples.keypoints[i].tolist(), samples.visibility[i].tolist(), strict=True):
        cells += [f"{x:.9g}", f"{y:.9g}", visible] if visible else ["", "", 0]
    return cells


def _publish(staging: Path, out: Path) -> None:
    """Move the staged files into place, the cache last: its presence marks a complete extraction."""
    if (out / IMAGES).exists():
        swap(out / IMAGES, staging / IMAGES)
    else:
        (staging / IMAGES).rename(out / IMAGES)
    for name in (KEYPOINTS, CACHE):
        (staging / name).replace(out / name)
    sync(out)
