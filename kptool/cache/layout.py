"""What an HDF5 cache must be before anything of it is read: the description it carries, and the file's layout.

A cache may be anybody's. HDF5 can say that data lie in other files, are packed by plugins, or are many and yet stored
nowhere; none of that is read. What is accepted is what `kptool.cache.store.CacheWriter` writes, and nothing else.
"""

from __future__ import annotations

import contextlib
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5z
from numpy.typing import NDArray

from kptool.base.config import MAX_SIDE
from kptool.base.errors import CacheError, ConfigError, DataError
from kptool.base.geometry import Size, heatmap_size
from kptool.base.skeleton import MAX_KEYPOINTS, Skeleton
from kptool.data.splits import SPLITS
from kptool.system.text import strict_json

SCHEMA = 1
HEATMAP_DTYPES = ("uint8", "float16", "float32", "none")
BLOCK = 64
ROWS = {
    "images": BLOCK,
    "keypoints": 1024,
    "visibility": 1024,
    "row": 4096,
    "affine": 1024,
    "heatmaps": 1,
    "picture_size": 4096,
}
"""Samples in a chunk; /split and /group are one chunk each."""
_MOST_DATASETS, _MOST_CHARACTERS = 64, 1 << 22
_FILTERS = {h5z.FILTER_FLETCHER32, h5z.FILTER_DEFLATE}
_FARTHEST = 1e6


def check_heatmaps(kind: str, sigma: float, stride: int) -> None:
    """Raise ConfigError for heatmaps of a kind, a standard deviation or a stride that caches do not have."""
    if kind not in HEATMAP_DTYPES:
        raise ConfigError(f"heatmaps must be one of {', '.join(HEATMAP_DTYPES)}; got {kind!r}")
    if not 0.3 <= sigma <= 50:
        raise ConfigError(f"sigma must be 0.3 to 50 heatmap pixels; got {sigma}")
    if not 1 <= stride <= 64:
        raise ConfigError(f"stride must be 1 to 64; got {stride}")


@dataclass(frozen=True)
class Info:
    """What a cache says of itself. `heatmaps` is their dtype or "none"; `source_sha256` is of the source's files.

    `mirror` and `margin` are those of `kptool.data.annotations`: whether mirrored images make sense, and the margin around
    the boxes that images were cut out with (None: they are whole pictures). `grouped` says that /group holds what somebody
    stated (people, videos), not only which samples are of one picture or look alike.
    """

    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    size: Size
    channels: int
    sigma: float
    stride: int
    heatmaps: str
    seed: int
    val: float
    source: str
    source_sha256: str
    version: str
    mirror: bool = True
    margin: float | None = None
    grouped: bool = False

    def __post_init__(self) -> None:
        Skeleton(self.names, self.flip_pairs)
        if len(self.names) > MAX_KEYPOINTS or self.channels not in (1, 3):
            raise ConfigError(
                f"at most {MAX_KEYPOINTS} keypoints, and 1 or 3 channels; got {len(self.names)} and {self.channels}"
            )
        if not all(1 <= side <= MAX_SIDE for side in self.size):
            raise ConfigError(f"images must be 1 to {MAX_SIDE} pixels wide and high; got {self.size}")
        check_heatmaps(self.heatmaps, self.sigma, self.stride)

    @property
    def skeleton(self) -> Skeleton:
        """Names, flip pairs, and whether to mirror."""
        return Skeleton(self.names, self.flip_pairs, self.mirror)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image as it is stored."""
        return self.size if self.channels == 1 else (self.channels, *self.size)

    @property
    def heatmap_shape(self) -> tuple[int, int, int]:
        """(K, h, w)."""
        return (len(self.names), *heatmap_size(self.size, self.stride))

    @property
    def heatmap_bytes(self) -> int:
        """What the heatmaps of one sample take in memory; at least 1."""
        each = 0 if self.heatmaps == "none" else np.dtype(self.heatmaps).itemsize
        return max(1, math.prod(self.heatmap_shape) * each)


def open_file(path: Path) -> tuple[h5py.File, Info]:
    """The open file, checked, and what it says of itself. Raises CacheError where it is not as kptool writes caches."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise CacheError(f"{path} is not a readable HDF5 file; make it again with `kptool extract --force`") from error
    try:
        info = describe(path, file)
        check(path, file, info)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        file.close()
        raise CacheError(f"{path} is damaged ({error}); make it again with `kptool extract --force`") from error
    except BaseException:
        file.close()
        raise
    return file, info


def walk(path: Path) -> None:
    """Open the file and look up every chunk: all of it that libhdf5 itself understands. For a process of its own.

    Some damage makes libhdf5 go round in circles, so the process ends after 8 s of work, and one more for each 64 MiB. What
    is refused, is left to be said where the file is opened.
    """
    if sys.platform != "win32":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        seconds = 8 + (path.stat().st_size >> 26)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds if hard < 0 else min(seconds, hard), hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(CacheError):
        file, info = open_file(path)
        with file:
            for dataset in check(path, file, info):
                dataset.id.chunk_iter(lambda chunk: None)


def describe(path: Path, file: h5py.File) -> Info:
    """What the file says of itself. Raises CacheError where that is missing, damaged, or of another schema."""
    schema = file.attrs.get("schema")
    if schema is None or "kptool" not in file.attrs:
        raise CacheError(f"{path} is not a cache of kptool's, or was never finished; make it with `kptool extract`")
    if not isinstance(schema, np.integer) or int(schema) != SCHEMA:
        raise CacheError(
            f"{path} has cache schema {str(schema)[:40]} and this kptool reads {SCHEMA};"
            " make it again with `kptool extract --force`"
        )
    text = file.attrs["kptool"]
    if not isinstance(text, str) or len(text) > _MOST_CHARACTERS:
        raise CacheError(f"{path}: its description is damaged (it is no text, or too long); make it again")
    try:
        return _info(strict_json(text))
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError, ConfigError, DataError) as error:
        raise CacheError(f"{path}: its description is damaged ({str(error)[:200]}); make it again") from error


def _info(values: dict[str, Any]) -> Info:
    """The description with every value of its type."""
    kinds: dict[str, Any] = {"sigma": int | float, "val": int | float, "stride": int, "channels": int, "seed": int}
    kinds |= {"heatmaps": str, "source": str, "source_sha256": str, "version": str}
    kinds |= {"mirror": bool, "margin": int | float | None, "grouped": bool}
    for name, kind in kinds.items():
        if name in values and (not isinstance(values[name], kind) or (kind is int and values[name] is True)):
            raise ValueError(f"{name} is {values[name]!r:.60}")
    height, width = values["size"]
    fixed = {
        "names": tuple(map(str, values["names"])),
        "flip_pairs": tuple((int(a), int(b)) for a, b in values["flip_pairs"]),
        "size": (int(height), int(width)),
    }
    return Info(**{**values, **fixed})


def check(path: Path, file: h5py.File, info: Info) -> list[h5py.Dataset]:
    """The datasets. Raises CacheError where one is missing, or is anything but what the description promises."""
    if len(file) > _MOST_DATASETS:
        raise CacheError(f"{path} holds {len(file)} datasets, and a cache at most 9; make it again")
    k = len(info.names)
    expected: dict[str, tuple[tuple[int, ...], str]] = {
        "split": ((), "uint8"),
        "group": ((), "int64"),
        "images": (info.image_shape, "uint8"),
        "keypoints": ((k, 2), "float32"),
        "visibility": ((k,), "uint8"),
        "row": ((), "int64"),
        "affine": ((2, 3), "float64"),
    }
    if info.heatmaps != "none":
        expected["heatmaps"] = (info.heatmap_shape, info.heatmaps)
    if "picture_size" in file:
        expected["picture_size"] = ((2,), "int32")
    count, datasets = None, []
    for name, (shape, dtype) in expected.items():
        dataset = _own(path, file, name)
        count = dataset.shape[0] if count is None and dataset.shape else count
        if dataset.shape != (count, *shape) or dataset.dtype != dtype:
            raise CacheError(
                f"{path}: /{name} is {dataset.dtype} {dataset.shape}, expected {dtype} {(count, *shape)}; make it again"
            )
        _check_storage(path, dataset, name)
        datasets.append(dataset)
    return datasets


def _own(path: Path, file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset that lies in this file."""
    link = file.get(name, getlink=True)
    dataset = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise CacheError(f"{path} has no dataset /{name} of its own; make it again with `kptool extract --force`")
    return dataset


def _check_storage(path: Path, dataset: h5py.Dataset, name: str) -> None:
    """Raise CacheError where a dataset is not stored as kptool stores it, or not stored at all.

    All but heatmaps are stored as they are, so they take no more than the file; each sample's heatmaps are one chunk,
    whose size the description bounds.
    """
    properties, count = dataset.id.get_create_plist(), dataset.shape[0]
    filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    rows = ROWS.get(name, max(1, count))
    chunked = properties.get_layout() == h5d.CHUNKED and dataset.chunks == (rows, *dataset.shape[1:])
    if not chunked or not filters <= (_FILTERS if name == "heatmaps" else {h5z.FILTER_FLETCHER32}):
        raise CacheError(
            f"{path}: /{name} is not stored as kptool stores it; make it again with `kptool extract --force`"
        )
    stored = dataset.id.get_storage_size()
    least = 8 * count if name == "heatmaps" else math.prod(dataset.shape) * dataset.dtype.itemsize
    if stored < least or stored > path.stat().st_size:
        raise CacheError(f"{path}: /{name} claims {count} samples and does not hold them; make it again")


def check_values(path: Path, name: str, values: NDArray[Any]) -> None:
    """Raise CacheError for values that no cache has: what follows would compute nonsense of them, or fail."""
    good = {
        "keypoints": lambda: np.isfinite(values).all() and np.abs(values).max(initial=0) <= _FARTHEST,
        "visibility": lambda: values.max(initial=0) <= 2,
        "split": lambda: values.max(initial=0) <= max(SPLITS.values()),
        "picture_size": lambda: values.min(initial=1) >= 1,
        "row": lambda: values.min(initial=0) >= 0,
        "group": lambda: values.min(initial=0) >= -1,
        "affine": lambda: np.isfinite(values).all() and (np.abs(np.linalg.det(values[:, :, :2])) > 1e-12).all(),
    }
    if name in good and not good[name]():
        raise CacheError(f"{path}: /{name} has values that make no sense; make it again with `kptool extract --force`")
