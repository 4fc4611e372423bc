"""The layout of an HDF5 cache, its description, and the checks that a file must pass before any data are read from it.

A cache may come from an untrusted source. HDF5 files can refer to other files, need filter plugins, or declare huge
datasets that are not stored; only what `kptool.cache.store.CacheWriter` writes is accepted.
"""

from __future__ import annotations

import contextlib
import dataclasses
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
from kptool.cache.chunk_size import ROWS, rows_of
from kptool.data.splits import SPLITS
from kptool.system.text import strict_json

SCHEMA = 1
HEATMAP_DTYPES = ("uint8", "float16", "float32", "none")
_MAX_DATASETS, _MAX_DESCRIPTION = 64, 1 << 22
_FILTERS = {h5z.FILTER_FLETCHER32, h5z.FILTER_DEFLATE}
_MAX_COORDINATE = 1e6
MAX_CATEGORY = 100
"""Characters that a category's name may have."""


def check_heatmaps(kind: str, sigma: float, stride: int) -> None:
    """Raise ConfigError for an unknown `kind` of heatmaps, or a sigma or stride out of range."""
    if kind not in HEATMAP_DTYPES:
        raise ConfigError(f"heatmaps must be one of {', '.join(HEATMAP_DTYPES)}; got {kind!r}")
    if not 0.3 <= sigma <= 50:
        raise ConfigError(f"sigma must be 0.3 to 50 heatmap pixels; got {sigma}")
    if not 1 <= stride <= 64:
        raise ConfigError(f"stride must be 1 to 64; got {stride}")


@dataclass(frozen=True)
class Info:
    """The description stored in a cache. Raises ConfigError or DataError for values out of range.

    size: (H, W) of the images in pixels. sigma: of the heatmaps, in heatmap pixels. heatmaps: their dtype or "none".
    val: fraction of samples for validation. source_sha256: hash of the source's files. mirror: whether the flip pairs are
    known. margin: the margin around the boxes that the images were cropped to; None for whole pictures. grouped: /group
    holds known groups (people, videos), not only samples of the same picture and near-duplicates. category: what an
    instance is, such as "bee", None if the source does not name it. edges: the index pairs of the skeleton's lines.
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
    category: str | None = None
    edges: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        Skeleton(self.names, self.flip_pairs, edges=self.edges)
        if len(self.names) > MAX_KEYPOINTS or self.channels not in (1, 3):
            raise ConfigError(
                f"at most {MAX_KEYPOINTS} keypoints, and 1 or 3 channels; got {len(self.names)} and {self.channels}"
            )
        if not all(1 <= side <= MAX_SIDE for side in self.size):
            raise ConfigError(f"images must be 1 to {MAX_SIDE} pixels wide and high; got {self.size}")
        check_heatmaps(self.heatmaps, self.sigma, self.stride)

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints' names, flip pairs and edges."""
        return Skeleton(self.names, self.flip_pairs, self.mirror, self.edges)

    def to_dict(self) -> dict[str, Any]:
        """The values that a cache stores; those that an older kptool does not know are left out while they say nothing."""
        values = dataclasses.asdict(self)
        return {key: value for key, value in values.items() if value or key not in ("category", "edges")}

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one stored image: (H, W), or (3, H, W) in colour."""
        return self.size if self.channels == 1 else (self.channels, *self.size)

    @property
    def heatmap_shape(self) -> tuple[int, int, int]:
        """Shape of the heatmaps of one sample: (K, h, w)."""
        return (len(self.names), *heatmap_size(self.size, self.stride))

    @property
    def heatmap_bytes(self) -> int:
        """Memory that the heatmaps of one sample take, in bytes; at least 1."""
        each = 0 if self.heatmaps == "none" else np.dtype(self.heatmaps).itemsize
        return max(1, math.prod(self.heatmap_shape) * each)


def open_file(path: Path) -> tuple[h5py.File, Info]:
    """Open and check a cache; returns the file and its description. Raises CacheError if kptool cannot have written it."""
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
    """Open the file and visit every chunk, so that all metadata that libhdf5 parses are parsed. To be run in a subprocess.

    Some damage sends libhdf5 into an endless loop, so CPU time is limited to 8 s, plus one for each 64 MiB. A CacheError
    is ignored, because the process that opens the file next reports it.
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
    """The description stored in a file. Raises CacheError if it is missing, damaged, or has another schema."""
    schema = file.attrs.get("schema")
    if schema is None or "kptool" not in file.attrs:
        raise CacheError(f"{path} is not a kptool cache, or was never finished; make it with `kptool extract`")
    if not isinstance(schema, np.integer) or int(schema) != SCHEMA:
        raise CacheError(
            f"{path} has cache schema {str(schema)[:40]}, but this kptool reads {SCHEMA};"
            " make it again with `kptool extract --force`"
        )
    text = file.attrs["kptool"]
    if not isinstance(text, str) or len(text) > _MAX_DESCRIPTION:
        raise CacheError(f"{path}: its description is damaged (it is not text, or too long); make it again")
    try:
        return _info(strict_json(text))
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError, ConfigError, DataError) as error:
        raise CacheError(f"{path}: its description is damaged ({str(error)[:200]}); make it again") from error


def _info(values: dict[str, Any]) -> Info:
    """`Info` of JSON values. Raises ValueError, TypeError or KeyError for a value that is missing or of another type."""
    kinds: dict[str, Any] = {"sigma": int | float, "val": int | float, "stride": int, "channels": int, "seed": int}
    kinds |= {"heatmaps": str, "source": str, "source_sha256": str, "version": str}
    kinds |= {"mirror": bool, "margin": int | float | None, "grouped": bool, "category": str | None}
    for name, kind in kinds.items():
        if name in values and (not isinstance(values[name], kind) or (kind is int and values[name] is True)):
            raise ValueError(f"{name} is {values[name]!r:.60}")
    if len(values.get("category") or "") > MAX_CATEGORY:
        raise ValueError(f"category has {len(values['category'])} characters")
    height, width = values["size"]
    fixed = {
        "names": tuple(map(str, values["names"])),
        "flip_pairs": tuple((int(a), int(b)) for a, b in values["flip_pairs"]),
        "edges": tuple((int(a), int(b)) for a, b in values.get("edges", ())),
        "size": (int(height), int(width)),
    }
    return Info(**{**values, **fixed})


def check(path: Path, file: h5py.File, info: Info) -> list[h5py.Dataset]:
    """The file's datasets. Raises CacheError if one is missing or does not match the description."""
    if len(file) > _MAX_DATASETS:
        raise CacheError(f"{path} holds {len(file)} datasets, but a cache has at most 14; make it again")
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
    datasets = _check_table(path, file, expected)
    if "scene_images" in file:
        size = _local_dataset(path, file, "scene_images").shape[-2:]
        if len(size) != 2 or not all(1 <= side <= MAX_SIDE for side in size):
            raise CacheError(f"{path}: /scene_images has images of {size} pixels; make it again")
        shape = (*info.image_shape[:-2], *size)
        datasets += _check_table(path, file, {"scene_images": (shape, "uint8"), "scene_split": ((), "uint8")})
        boxes = {"box": ((4,), "float32"), "box_scene": ((), "int64"), "box_teaches": ((), "uint8")}
        datasets += _check_table(path, file, boxes)
    return datasets


def _check_table(path: Path, file: h5py.File, expected: dict[str, tuple[tuple[int, ...], str]]) -> list[h5py.Dataset]:
    """The datasets of these names. Raises CacheError unless all have as many rows, each of the stated shape and dtype."""
    count, datasets = None, []
    for name, (shape, dtype) in expected.items():
        dataset = _local_dataset(path, file, name)
        count = dataset.shape[0] if count is None and dataset.shape else count
        if dataset.shape != (count, *shape) or dataset.dtype != dtype:
            raise CacheError(
                f"{path}: /{name} is {dataset.dtype} {dataset.shape}, expected {dtype} {(count, *shape)}; make it again"
            )
        _check_storage(path, dataset, name)
        datasets.append(dataset)
    return datasets


def _local_dataset(path: Path, file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset whose data are stored in this file. Raises CacheError for links, virtual and external datasets."""
    link = file.get(name, getlink=True)
    dataset = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise CacheError(f"{path} has no dataset /{name} of its own; make it again with `kptool extract --force`")
    return dataset


def _check_storage(path: Path, dataset: h5py.Dataset, name: str) -> None:
    """Raise CacheError unless a dataset is chunked and filtered as kptool writes it, and fully allocated.

    This bounds the memory for reading it. All datasets but /heatmaps are uncompressed, so they are no larger than the
    file; each sample's heatmaps are one chunk, whose size follows from the description.
    """
    properties, count = dataset.id.get_create_plist(), dataset.shape[0]
    filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    shape = dataset.shape[1:]
    rows = {ROWS[name], rows_of(name, shape)} if name in ROWS else {max(1, count)}  # once, 64 of any images
    chunked = properties.get_layout() == h5d.CHUNKED and dataset.chunks in {(each, *shape) for each in rows}
    if not chunked or not filters <= (_FILTERS if name == "heatmaps" else {h5z.FILTER_FLETCHER32}):
        raise CacheError(
            f"{path}: /{name} is not stored as kptool stores it; make it again with `kptool extract --force`"
        )
    stored = dataset.id.get_storage_size()
    least = 8 * count if name == "heatmaps" else math.prod(dataset.shape) * dataset.dtype.itemsize
    if stored < least or stored > path.stat().st_size:
        raise CacheError(f"{path}: /{name} claims {count} samples but does not hold them; make it again")


def check_values(path: Path, name: str, values: NDArray[Any]) -> None:
    """Raise CacheError if the values of the dataset `name` are out of range."""
    valid = {
        "keypoints": lambda: np.isfinite(values).all() and np.abs(values).max(initial=0) <= _MAX_COORDINATE,
        "visibility": lambda: values.max(initial=0) <= 2,
        "split": lambda: values.max(initial=0) <= max(SPLITS.values()),
        "scene_split": lambda: values.max(initial=0) <= max(SPLITS.values()),
        "box": lambda: np.isfinite(values).all() and np.abs(values).max(initial=0) <= _MAX_COORDINATE,
        "box_scene": lambda: values.min(initial=0) >= 0,
        "picture_size": lambda: values.min(initial=1) >= 1,
        "row": lambda: values.min(initial=0) >= 0,
        "group": lambda: values.min(initial=0) >= -1,
        "affine": lambda: np.isfinite(values).all() and (np.abs(np.linalg.det(values[:, :, :2])) > 1e-12).all(),
    }
    if name in valid and not valid[name]():
        raise CacheError(f"{path}: /{name} has values out of range; make it again with `kptool extract --force`")
