"""Malicious caches: well-formed HDF5 files with invalid content."""

from __future__ import annotations

import functools
import io
import json
import random
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

_NAMES = ("images", "keypoints", "visibility", "split", "row", "group", "affine", "heatmaps")
_VALUES: tuple[Any, ...] = (
    None, -1, 0, 1, 10**6, 10**12, 2**63, 1.5, float("nan"), float("inf"), "", "x", "a" * 70000, [], [-1, 2], [[0, 0]],
    [10**9, 10**9], {}, True,
)  # fmt: skip


def rebuilt(data: bytes, rng: random.Random) -> bytes:
    """The cache in `data` with one item in it replaced."""
    memory = io.BytesIO(data)
    with h5py.File(memory, "r+") as file:
        rng.choice(_WAYS)(file, rng)
    return memory.getvalue()


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The cache in `data` with a few bytes of its layout replaced, which libhdf5 parses."""
    content, spots = bytearray(data), layout(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        content[rng.choice(spots)] = rng.randrange(256)
    return bytes(content)


@functools.cache
def layout(data: bytes) -> list[int]:
    """Positions of nonzero bytes that are not part of a chunk of values."""
    says = bytearray(data)
    with h5py.File(io.BytesIO(data)) as file:
        for dataset in file.values():
            for i in range(dataset.id.get_num_chunks()):
                chunk = dataset.id.get_chunk_info(i)
                says[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    return [i for i, byte in enumerate(says) if byte]


def _description(file: h5py.File, rng: random.Random) -> None:
    info = json.loads(file.attrs["kptool"])
    field = rng.choice([*info, "more"])
    info[field] = rng.choice(_VALUES)
    if rng.random() < 0.2:
        del info[field]
    file.attrs["kptool"] = json.dumps(info)


def _attribute(file: h5py.File, rng: random.Random) -> None:
    name = rng.choice(["kptool", "schema"])
    file.attrs[name] = rng.choice([b"\xff", "{}", "[]", 2, -1, np.arange(3), np.float64("nan"), "1", "[" * 9000])


def _values(file: h5py.File, rng: random.Random) -> None:
    dataset = file[rng.choice(_NAMES)]
    value = rng.choice([0, 255, -1, np.nan, np.inf, -np.inf, 1e30, 2**40])
    with np.errstate(invalid="ignore", over="ignore"):
        filler = np.full(dataset.shape[1:], value).astype(dataset.dtype)
    dataset[rng.randrange(len(dataset)) if rng.random() < 0.5 else slice(None)] = filler


def _shape(file: h5py.File, rng: random.Random) -> None:
    name = rng.choice(_NAMES)
    old = file[name]
    count = rng.choice([0, 1, len(old) - 1, 10**6, 10**9, 10**12])
    shape = rng.choice([(count, *old.shape[1:]), old.shape[1:], (count,), (), (*old.shape, 2)])
    dtype = rng.choice([old.dtype, old.dtype, "i1", "f8", "S5", h5py.string_dtype(), [("a", "f4")], ">f4"])
    del file[name]
    chunks = tuple(min(64, max(1, side)) for side in shape) or None
    file.create_dataset(name, shape, dtype, chunks=chunks, maxshape=(None,) * len(shape) if shape else None)


def _all_shapes(file: h5py.File, rng: random.Random) -> None:
    """Every dataset claims many samples and stores none."""
    count = rng.choice([0, 10**6, 10**9, 10**11])
    for name in _NAMES:
        old = file[name]
        shape, dtype = (count, *old.shape[1:]), old.dtype
        del file[name]
        file.create_dataset(name, shape, dtype, chunks=(1, *shape[1:]), maxshape=(None, *shape[1:]), compression="gzip")


def _bomb(file: h5py.File, rng: random.Random) -> None:
    """One chunk that decompresses to far more than its size on disk."""
    name = rng.choice(_NAMES)
    old = file[name]
    shape, dtype = old.shape, old.dtype
    rows = rng.choice([10**5, 3 * 10**6])
    del file[name]
    file.create_dataset(name, shape, dtype, maxshape=(None, *shape[1:]), chunks=(rows, *shape[1:]), compression="gzip")


def _elsewhere(file: h5py.File, rng: random.Random) -> None:
    name = rng.choice(_NAMES)
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    kind = rng.randrange(4)
    if kind == 0:
        file[name] = h5py.ExternalLink("/etc/passwd", "/x")
    elif kind == 1:
        file[name] = h5py.SoftLink("/images" if name != "images" else "/split")
    elif kind == 2:
        file.create_dataset(name, shape, dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
    else:
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource("/etc/hostname", "x", shape)
        file.create_virtual_dataset(name, layout)


def _filters(file: h5py.File, rng: random.Random) -> None:
    """A filter that is not installed, or one of HDF5's that kptool does not write."""
    name = rng.choice(_NAMES)
    old = file[name][:]
    del file[name]
    kind = rng.choice([{"compression": "lzf"}, {"shuffle": True, "compression": "gzip"}, {"scaleoffset": 0}, {}])
    if old.dtype.kind == "f":
        kind.pop("scaleoffset", None)
    file.create_dataset(name, data=old, chunks=old.shape if rng.random() < 0.5 else True, **kind)


def _missing(file: h5py.File, rng: random.Random) -> None:
    name = rng.choice(_NAMES)
    del file[name]
    if rng.random() < 0.5:
        file.create_group(name)


_WAYS: tuple[Callable[[h5py.File, random.Random], None], ...] = (
    _description, _description, _attribute, _values, _values, _shape, _all_shapes, _bomb, _elsewhere, _filters, _missing,
)  # fmt: skip
