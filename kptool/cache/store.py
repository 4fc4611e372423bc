"""The HDF5 cache: everything that training and evaluation read, in one file that any HDF5 reader can open.

    /images      uint8   (N, H, W) or (N, 3, H, W)
    /keypoints   float32 (N, K, 2)   pixels of /images, an integer is a pixel's centre; 0 where unlabelled
    /visibility  uint8   (N, K)      0 unlabelled, 1 occluded, 2 visible
    /split       uint8   (N,)        0 train, 1 val
    /row         int64   (N,)        row in the source, from 0
    /group       int64   (N,)        a group is never divided between train and val; -1 for samples without one
    /affine      float64 (N, 2, 3)   source pixels -> pixels of /images
    /picture_size int32  (N, 2)      H and W of the source picture; absent if that is /images' size, and in old caches
    /heatmaps    (N, K, h, w)        uint8 (255 is 1), float16 or float32; absent with --heatmaps none

Where there is something to find in the pictures, also S whole pictures with all B boxes of instances, for a finder:

    /scene_images uint8  (S, h, w) or (S, 3, h, w)
    /scene_split uint8   (S,)        0 train, 1 val
    /box         float32 (B, 4)      left and top edge, width, height, in pixels of /scene_images
    /box_scene   int64   (B,)        the scene, from 0, in ascending order
    /box_teaches uint8   (B,)        0: a crowd, or an instance without labels: there may be anything

Attributes of the root hold the schema version and a JSON description (`Info`). Every chunk has a checksum (Adler-32 of
the zlib stream for heatmaps, HDF5's Fletcher-32 for the rest), so damage is detected when it is read, and reported with
its chunk. Heatmaps are stored in one chunk per sample, compressed by ISA-L, which is several times faster than zlib and
readable by HDF5's own gzip filter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from kptool.base.errors import CacheError, ConfigError
from kptool.cache.chunk_size import BLOCK, ROWS, rows_of
from kptool.cache.chunks import Chunks, RawFile
from kptool.cache.layout import HEATMAP_DTYPES, SCHEMA, Info, check_values, open_file
from kptool.cache.stored_images import StoredImages
from kptool.data.annotations import Samples, SceneBlock
from kptool.data.notes import never_labelled
from kptool.data.splits import SPLITS
from kptool.system import hdf5, quarantine

__all__ = ["HEATMAP_DTYPES", "SCHEMA", "Cache", "CacheWriter", "Info"]

_LARGE = ("images", "scene_images", "heatmaps")
"""Datasets that are read past HDF5."""
_CHUNK_ROOM = 8 << 20
"""Memory for chunks of each dataset while a cache is written, at least."""
_SCENES: tuple[tuple[str, tuple[int, ...], str], ...] = (
    ("scene_images", (), "u1"),
    ("scene_split", (), "u1"),
    ("box", (4,), "f4"),
    ("box_scene", (), "i8"),
    ("box_teaches", (), "u1"),
)
"""The datasets of scenes, the shape of a row, and the dtype; images have the shape of the first one."""


class CacheWriter:
    """Writes a new cache block by block; memory does not grow with the number of samples.

    `count` is the number of samples so far. `finish` adds the split and the description, without which `Cache` refuses
    the file. Methods raise OSError if the disk is full or fails, and Stopped for signals that arrived meanwhile.
    """

    def __init__(self, path: Path, info: Info) -> None:
        # HDF5 keeps a chunk in memory until it is full if there is room for it, and as long as its dataset is open;
        # otherwise it is written, read back and verified for each block that is added.
        room = max(_CHUNK_ROOM, rows_of("images", info.image_shape) * math.prod(info.image_shape) + 1)
        self.info, self._path, self._file, self.count = info, path, hdf5.NewFile(path, rdcc_nbytes=room), 0
        self._datasets: dict[str, h5py.Dataset] = {}
        k = len(info.names)
        with self._file.writing():
            self._create("images", info.image_shape, "u1")
            self._create("keypoints", (k, 2), "f4")
            self._create("visibility", (k,), "u1")
            self._create("row", (), "i8")
            self._create("affine", (2, 3), "f8")
            if info.heatmaps != "none":
                self._create("heatmaps", info.heatmap_shape, info.heatmaps, compression="gzip", compression_opts=1)

    def _create(self, name: str, shape: tuple[int, ...], dtype: str, **filters: Any) -> None:
        filters = filters or {"fletcher32": True}
        self._datasets[name] = self._file.create_dataset(
            name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(rows_of(name, shape), *shape), **filters
        )

    def append(self, samples: Samples, heatmaps: NDArray[Any] | None) -> None:
        """Add a block of n samples. heatmaps: (n, K, h, w) of the cache's dtype, or None for a cache without."""
        n = len(samples)
        identity = np.broadcast_to(np.eye(2, 3), (n, 2, 3))
        with self._file.writing():
            self._extend("images", samples.images)
            self._extend("keypoints", samples.keypoints)
            self._extend("visibility", samples.visibility)
            self._extend("row", samples.rows)
            self._extend("affine", identity if samples.affines is None else samples.affines)
            if samples.sizes is not None:
                if not self.count:
                    self._create("picture_size", (2,), "i4")
                self._extend("picture_size", samples.sizes)
            if heatmaps is not None:
                self._extend_heatmaps(heatmaps)
            self.count += n

    def _extend(self, name: str, values: NDArray[Any]) -> None:
        dataset = self._datasets[name]
        dataset.resize(self.count + len(values), axis=0)
        dataset[self.count :] = values

    def _extend_heatmaps(self, heatmaps: NDArray[Any]) -> None:
        """Compress with ISA-L instead of HDF5's zlib, which would take longer than the rest of the extraction."""
        dataset = self._datasets["heatmaps"]
        dataset.resize(self.count + len(heatmaps), axis=0)
        for i, maps in enumerate(np.ascontiguousarray(heatmaps), start=self.count):
            dataset.id.write_direct_chunk((i, 0, 0, 0), isal_zlib.compress(maps, 1))

    def rows(self) -> NDArray[np.int64]:
        """The source rows written so far, (count,)."""
        with self._file.writing():
            rows: NDArray[np.int64] = self._file["row"][:]
        return rows

    def labels(self, split: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The number of labels of each keypoint in training and validation, (2, K), for `split` (count,)."""
        sums = np.zeros((len(SPLITS), len(self.info.names)), np.int64)
        for start in range(0, self.count, ROWS["visibility"]):
            with self._file.writing():
                labelled = self._file["visibility"][start : start + ROWS["visibility"]] > 0
            for part in SPLITS.values():
                sums[part] += labelled[split[start : start + len(labelled)] == part].sum(0)
        return sums

    def images(self) -> Iterator[NDArray[np.uint8]]:
        """The images written so far, in blocks uint8 (n, H, W) or (n, 3, H, W)."""
        for start in range(0, self.count, BLOCK):
            with self._file.writing():
                block = self._file["images"][start : start + BLOCK]
            yield block

    def append_scenes(self, block: SceneBlock, splits: Sequence[int]) -> None:
        """Add whole pictures, each in the part of the split that `splits` (n,) says: 0 train, 1 val."""
        with self._file.writing():
            if "scene_images" not in self._file:
                for name, shape, dtype in _SCENES:
                    self._create(name, block.images[0].shape if name == "scene_images" else shape, dtype)
            first = len(self._file["scene_images"])
            numbers = [np.full(len(each), first + i, np.int64) for i, each in enumerate(block.boxes)]
            for name, values in (
                ("scene_images", np.stack(block.images)),
                ("scene_split", np.array(splits, np.uint8)),
                ("box", np.concatenate(block.boxes)),
                ("box_scene", np.concatenate(numbers)),
                ("box_teaches", np.concatenate(block.teaches).astype(np.uint8)),
            ):
                dataset = self._datasets[name]
                dataset.resize(len(dataset) + len(values), axis=0)
                dataset[len(dataset) - len(values) :] = values

    def finish(self, split: NDArray[np.uint8], groups: NDArray[np.int64]) -> None:
        """Store the split and the groups, (count,) each, and the description, then close. At least one sample is needed."""
        with self._file.writing():
            self._file.create_dataset("split", data=split, chunks=(len(split),), fletcher32=True)
            self._file.create_dataset("group", data=groups, chunks=(len(groups),), fletcher32=True)
            self._file.attrs["kptool"] = json.dumps(self.info.to_dict())
            self._file.attrs["schema"] = SCHEMA
        self._file.close()
        quarantine.mark_checked(self._path)

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class Cache:
    """A cache opened for reading. Raises CacheError if it is missing, damaged, unfinished or of another schema."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise CacheError(f"there is no cache at {path}; make one with `kptool extract`")
        quarantine.check_opens(path)
        self._file, self.info = open_file(path)
        self._raw, self._chunks = RawFile(path, self._file), dict[str, Chunks]()

    def __len__(self) -> int:
        return int(self._file["split"].shape[0])

    def index(self, split: str) -> NDArray[np.int64]:
        """The ascending indices of the samples in "train", "val" or "all". Raises ConfigError for another name."""
        if split == "all":
            return np.arange(len(self))
        if split not in SPLITS:
            raise ConfigError(f"split must be train, val or all; got {split!r}")
        return np.flatnonzero(self.read("split") == SPLITS[split])

    def read(self, name: str, index: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """A whole dataset, or the samples at ascending `index`.

        Raises CacheError, naming the chunk, for damaged data, and for values out of range.
        """
        if name in _LARGE:
            return self.images(index, name).all()
        dataset = self._file[name]
        try:
            values = np.asarray(dataset[:] if index is None else _take(dataset, index))
            check_values(self.path, name, values)
            return values
        except (OSError, RuntimeError):
            raise CacheError(f"{self.path}: {_damage(dataset)}; make it again with `kptool extract --force`") from None

    def images(self, index: NDArray[np.int64] | None = None, name: str = "images") -> StoredImages:
        """The images at ascending `index`, or all, of /images or another dataset of `_LARGE`, to be read while the cache is open.

        Raises CacheError if they are not stored as kptool stores them.
        """
        dataset = self._file[name]
        if name not in self._chunks:
            self._chunks[name] = Chunks(self.path, self._raw, dataset)
        return StoredImages(self._chunks[name], np.arange(len(dataset)) if index is None else index)

    def picture_sizes(self) -> NDArray[np.int32] | None:
        """H and W of the source picture of each sample, (N, 2); None if the cache does not hold them."""
        return self.read("picture_size") if "picture_size" in self._file else None

    @property
    def scene_bytes(self) -> int:
        """Memory that a whole picture takes, in bytes; only where there are `scenes`."""
        return math.prod(self._file["scene_images"].shape[1:])

    @property
    def scenes(self) -> int:
        """The number of whole pictures, from which a finder learns; 0 where there is nothing to find."""
        return len(self._file["scene_split"]) if "scene_split" in self._file else 0

    def never_labelled(self) -> str | None:
        """A sentence naming the keypoints that are labelled in no image; None if there are none."""
        return never_labelled(self.info.names, (self.read("visibility") > 0).sum(0), len(self))

    def blocks(self, name: str, size: int = BLOCK) -> Iterator[NDArray[Any]]:
        """A dataset in blocks of `size` samples, in order."""
        for start in range(0, len(self), size):
            yield self.read(name, np.arange(start, min(start + size, len(self))))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _take(dataset: h5py.Dataset, index: NDArray[np.int64]) -> NDArray[Any]:
    """The samples at ascending `index`, read chunk by chunk, because HDF5 is slow at selecting single samples."""
    taken = np.empty((len(index), *dataset.shape[1:]), dataset.dtype)
    step = dataset.chunks[0]
    begin = 0
    for part in np.split(index, np.flatnonzero(np.diff(index // step)) + 1) if len(index) else ():
        end, first = begin + len(part), int(part[0])
        taken[begin:end] = dataset[first : int(part[-1]) + 1][part - first]
        begin = end
    return taken


def _damage(dataset: h5py.Dataset) -> str:
    """A description of the first chunk of a dataset that cannot be read."""
    step = dataset.chunks[0]
    for start in range(0, len(dataset), step):
        try:
            dataset[start : start + step]
        except (OSError, RuntimeError):
            last = min(start + step, len(dataset)) - 1
            return f"{dataset.name} is damaged in chunk {start // step} (samples {start} to {last})"
    return f"{dataset.name} cannot be read"
