"""Malicious weights: well-formed safetensors with an invalid header or card."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

_VALUES: tuple[Any, ...] = (
    None, -1, 0, 1, 7, 4096, 10**6, 10**12, 2**63, 1.5, float("nan"), float("inf"), "", "x", "../../x", "a" * 70000, [],
    [-1, 2], [[0, 0]], [4096, 4096], [8, 8], [10**9, 10**9], {}, True, "vgg", "resnet", "fcn", "dsnt", "dark",
    [f"k{i}" for i in range(2048)], [1e308] * 15,
)  # fmt: skip


def rebuilt(data: bytes, rng: random.Random) -> bytes:
    """The file in `data` with one or two items in its header replaced."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    for _ in range(rng.choice([1, 1, 2])):
        rng.choice([_card, _card, _card, _tensor])(header, rng)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def _card(header: dict[str, Any], rng: random.Random) -> None:
    try:
        card = json.loads(header["__metadata__"]["kptool"])
        table = rng.choice([card, card["config"], card["config"], card["config"], card["metrics"], card["data"]])
        table[rng.choice([*table, "radius90", "mean_shape", "margin"])] = rng.choice(_VALUES)
    except (KeyError, TypeError, ValueError, AttributeError):  # damaged before
        card = rng.choice(_VALUES)
    text = json.dumps(card) if rng.random() < 0.95 else rng.choice(["", "{", "[" * 9000, "null", "\x00"])
    header["__metadata__"] = rng.choice([{"kptool": text}] * 9 + [{}])


def _tensor(header: dict[str, Any], rng: random.Random) -> None:
    name = rng.choice([name for name in header if name != "__metadata__"])
    kind = rng.randrange(4)
    if kind == 0:
        del header[name]
    elif kind == 1:
        header[rng.choice(["more", "", "../x", "a" * 9000])] = header.pop(name)
    else:
        field = rng.choice(["shape", "dtype", "data_offsets"])
        header[name][field] = rng.choice([[0], [2**63], [-1], [], "F64", "BF16", "I8", [0, 2**62], [4, 0], None])
