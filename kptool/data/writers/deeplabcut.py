"""A DeepLabCut project: config.yaml, and below labeled-data a folder with CollectedData_kptool.csv for each group of pictures.

Pictures with several instances make it a multi-animal project. An integer is a pixel's centre.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from kptool.base.geometry import Size
from kptool.data.annotations import LabelFile, Labelled
from kptool.data.flips import FlipPairs
from kptool.data.writers.writer import EDGES, EMPTY, GROUPS, ORDER, Picture, Writer, by_picture, short

_SCORER, _LABELS = "kptool", "labeled-data"
_ALONE = "pictures"
"""The folder of pictures that are in no group."""


def folders(things: Sequence[Labelled]) -> list[str]:
    """The folder of each instance's picture: one for each group, called after it."""
    found: dict[str | None, str] = {}
    for group in dict.fromkeys(thing.group for thing in things):
        name = _ALONE if group is None else re.sub(r"[^\w.-]", "_", PurePosixPath(group.replace("\\", "/")).name)
        name = name if name.strip(".") else "group"
        taken = {other.casefold() for other in found.values()}
        found[group] = next(text for text in _numbered(f"{_LABELS}/{name}") if text.casefold() not in taken)
    return [found[thing.group] for thing in things]


def _numbered(text: str) -> Iterator[str]:
    yield text
    number = 2
    while True:
        yield f"{text}-{number}"
        number += 1


def write(folder: Path, file: LabelFile, flips: FlipPairs) -> Path:
    """Write config.yaml and the csv of each folder."""
    pictures = by_picture(file)
    most = max(len(picture.things) for picture in pictures)
    individuals = [f"individual{k + 1}" for k in range(most)] if most > 1 else []
    videos: dict[str, list[Picture]] = {}
    for picture in pictures:
        videos.setdefault(str(PurePosixPath(picture.name).parent), []).append(picture)
    for video, own in videos.items():
        with (folder / video / f"CollectedData_{_SCORER}.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows(_rows(file.names, individuals, own))
    settings = _settings(file, {PurePosixPath(video).name: own[0].size for video, own in videos.items()}, individuals)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return folder / "config.yaml"


def _rows(names: Sequence[str], individuals: Sequence[str], own: Sequence[Picture]) -> Iterator[list[Any]]:
    """The header, and a row for each picture. Row names take three columns."""
    columns = [(one, name, axis) for one in individuals or [""] for name in names for axis in "xy"]
    yield ["scorer", "", "", *[_SCORER] * len(columns)]
    if individuals:
        yield ["individuals", "", "", *(one for one, _, _ in columns)]
    yield ["bodyparts", "", "", *(name for _, name, _ in columns)]
    yield ["coords", "", "", *(axis for _, _, axis in columns)]
    for picture in own:
        cells: list[Any] = []
        for thing in picture.things:
            for place, seen in zip(thing.keypoints, thing.visibility, strict=True):
                cells += [short(v) for v in place] if seen else ["", ""]
        yield [*PurePosixPath(picture.name).parts, *cells, *[""] * (len(columns) - len(cells))]


def _settings(file: LabelFile, videos: dict[str, Size], individuals: Sequence[str]) -> dict[str, Any]:
    """The project's settings: those that DeepLabCut needs to go on from the labels of `videos`, frames of one size each."""
    settings: dict[str, Any] = {
        "Task": "kptool",
        "scorer": _SCORER,
        "date": "Jan1",
        "multianimalproject": bool(individuals),
        "identity": False if individuals else None,
        "project_path": ".",
        "engine": "pytorch",
        "video_sets": {f"videos/{name}.mp4": {"crop": f"0, {size[1]}, 0, {size[0]}"} for name, size in videos.items()},
        "bodyparts": "MULTI!" if individuals else list(file.names),
        "start": 0,
        "stop": 1,
        "numframes2pick": 20,
        "skeleton": [[file.names[a], file.names[b]] for a, b in file.edges],
        "skeleton_color": "black",
        "pcutoff": 0.6,
        "dotsize": 12,
        "alphavalue": 0.7,
        "colormap": "rainbow",
        "TrainingFraction": [0.95],
        "iteration": 0,
        "default_net_type": "resnet_50",
        "default_augmenter": "default",
        "snapshotindex": -1,
        "batch_size": 8,
        "cropping": False,
    }
    if individuals:
        settings |= {"individuals": list(individuals), "uniquebodyparts": [], "multianimalbodyparts": list(file.names)}
    return settings


DEEPLABCUT = Writer(
    "DeepLabCut's csv", write, frozenset({EDGES, GROUPS, ORDER}), keeps_alone=frozenset({EMPTY}), folders=folders
)
