"""`kptool convert`: writes labels of any readable format as COCO, YOLO or csv, with copies of the pictures."""

from __future__ import annotations

import csv
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from kptool.base.errors import ConfigError, DataError
from kptool.base.geometry import from_edges, swap_order, to_edges
from kptool.data import embedded, images
from kptool.data.annotations import LabelFile, Labelled, Source
from kptool.data.boxes import boxes
from kptool.data.flips import FlipPairs
from kptool.data.labels import flips_of, locate_pictures, read_picture
from kptool.data.pixel_check import checked
from kptool.data.sources import Opening, find_reader, read_labels
from kptool.data.splits import PARTS
from kptool.system.files import sync
from kptool.system.progress import Progress, silent

log = logging.getLogger(__name__)

FORMATS = ("coco", "yolo", "csv")
_BOXED = ("coco", "yolo")
"""Formats that need a box for every instance."""
_IMAGES, _LABELS = "images", "labels"


@dataclass(frozen=True)
class Converted:
    """The result of a conversion.

    things, keypoints, pictures: numbers of instances, labelled keypoints and pictures. flip_note: how the flip pairs were
    found. file: the main file written. notes: one sentence each on unused content of the source.
    """

    things: int
    keypoints: int
    pictures: int
    flip_note: str
    file: Path
    notes: tuple[str, ...] = ()


def convert(path: Path, out: Path, form: str, opening: Opening, *, progress: Progress = silent) -> Converted:
    """Write the labels of `path` to the new folder `out` in the format `form`, with copies of the pictures in out/images.

    Coordinates are converted to the convention of the format. Raises DataError for bad input or if `out` exists,
    ConfigError for an unknown format; nothing is written then.
    """
    if form not in FORMATS:
        raise ConfigError(f"--to must be one of {', '.join(FORMATS)}; got {form!r}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} already exists; choose a new folder with --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            return _write(path, staging, out, form, opening, progress)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror or error}; choose another with --out") from error


def _write(path: Path, staging: Path, out: Path, form: str, opening: Opening, progress: Progress) -> Converted:
    (staging / _IMAGES).mkdir()
    path, reader = find_reader(path)
    if reader.open is not None:
        source = checked(reader.open(path))
        things = list(_from_source(source, staging, progress))
        file = LabelFile(source.skeleton.names, things, notes=source.notes)
        flips = FlipPairs(source.skeleton.flip_pairs, source.skeleton.mirror, source.flip_note)
    else:
        file, folder = read_labels(path, reader, opening)
        file, places = locate_pictures(path, file, folder)
        file = replace(file, things=list(_copied(file, places, staging, progress)))
        flips = flips_of(file)
    if form in _BOXED:
        file = _boxed(file)
    elif any(thing.split for thing in file.things):
        lost = "a csv cannot state training, validation and test parts, so the data's own split is not written"
        file = replace(file, notes=(*file.notes, lost))
    written = {"coco": _coco, "yolo": _yolo, "csv": _csv}[form](staging, file, flips)
    staging.chmod(0o755)
    for place in (written, staging / _IMAGES, staging):
        sync(place)
    if out.exists():
        out.rmdir()
    staging.rename(out)
    labelled = sum(int((thing.visibility > 0).sum()) for thing in file.things)
    pictures = len({thing.picture for thing in file.things})
    place = out / written.relative_to(staging)
    return Converted(len(file.things), labelled, pictures, flips.why, place, file.notes)


def _from_source(source: Source, staging: Path, progress: Progress) -> Iterator[Labelled]:
    """The instances of a source that contains its images, which are written as PNG files."""
    for samples in source.blocks():
        for row, image, points, visibility in zip(
            samples.rows, samples.images, samples.keypoints, samples.visibility, strict=True
        ):
            name = f"{_IMAGES}/{row:06d}.png"
            (staging / name).write_bytes(images.encode_png(image if image.ndim == 2 else np.moveaxis(image, 0, -1)))
            yield Labelled(name, points.astype(np.float64), visibility, None, (image.shape[-2], image.shape[-1]))
        progress("pictures", int(samples.rows[-1]) + 1, source.total)


def _boxed(file: LabelFile) -> LabelFile:
    """The labels with a box for every instance: the stated one, one derived from its keypoints, or an empty one."""
    made = boxes(file.things, [Path(thing.picture) for thing in file.things])
    nothing = (*from_edges(np.zeros(2)).tolist(), 0.0, 0.0)
    things = [
        thing if stated else replace(thing, box=tuple(edges) if labelled else nothing)
        for thing, stated, labelled, edges in zip(
            file.things, made.stated, made.labelled, made.edges.tolist(), strict=True
        )
    ]
    notes = (
        [f"{made.made} of {len(things)} things have no box; theirs are made from their keypoints"] if made.made else []
    )
    return replace(file, things=things, notes=(*file.notes, *made.notes, *notes))


def _copied(file: LabelFile, places: Sequence[Path], staging: Path, progress: Progress) -> Iterator[Labelled]:
    """Copy the pictures under unique names; yields the instances with the new names and the picture sizes."""
    done: dict[Path, tuple[str, tuple[int, int]]] = {}
    stems: set[str] = set()
    for number, (thing, place) in enumerate(zip(file.things, places, strict=True)):
        if place not in done:
            done[place] = _copy(thing, place, staging, _unused(place.stem, len(done), stems))
        name, size = done[place]
        yield replace(thing, picture=name, size=size)
        progress("pictures", number + 1, len(places))


def _unused(stem: str, number: int, taken: set[str]) -> str:
    """A stem that no other picture has, because the YOLO labels of a.png and a.jpg would both be a.txt.

    Bytes that are not UTF-8 become underscores, as not every reader accepts such names.
    """
    stem = re.sub("[\ud800-\udfff]", "_", stem)
    while stem.casefold() in taken:
        stem = f"{number:06d}-{stem}"
    taken.add(stem.casefold())
    return stem


def _copy(thing: Labelled, place: Path, staging: Path, stem: str) -> tuple[str, tuple[int, int]]:
    """Copy a picture unchanged, or as PNG if its labels need another orientation or hold it; returns name and size (H, W)."""
    pixels = read_picture(thing, place).pixels
    turned = pixels.shape != images.read(place).shape or place.suffix.lower() == embedded.SUFFIX
    name = f"{_IMAGES}/{stem}{'.png' if turned else place.suffix.lower()}"
    if turned:
        (staging / name).write_bytes(images.encode_png(pixels))
    else:
        shutil.copyfile(place, staging / name)
    return name, (pixels.shape[0], pixels.shape[1])


def _coco(folder: Path, file: LabelFile, flips: FlipPairs) -> Path:
    """Write annotations.json, with two extensions: `flip_pairs` of the category (indices from 0), `split` of images."""
    category: dict[str, Any] = {"id": 1, "name": "thing", "keypoints": list(file.names)}
    category["skeleton"] = [[a + 1, b + 1] for a, b in file.edges]
    if flips.mirror:
        category["flip_pairs"] = [list(pair) for pair in flips.pairs]
    numbers: dict[str, int] = {}
    pictures: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for thing in file.things:
        if thing.picture not in numbers:
            numbers[thing.picture] = len(numbers) + 1
            assert thing.size is not None
            name, size = Path(thing.picture).name, {"width": thing.size[1], "height": thing.size[0]}
            part = {"split": thing.split} if thing.split else {}
            pictures.append({"id": numbers[thing.picture], "file_name": name, **size, **part})
        seen = thing.visibility > 0
        points = np.where(seen[:, None], thing.keypoints, 0)
        flat = np.column_stack([points, thing.visibility]).ravel().tolist()
        assert thing.box is not None
        x, y, width, height = thing.box
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": numbers[thing.picture],
                "category_id": 1,
                "keypoints": [_short(v) for v in flat],
                "num_keypoints": int(seen.sum()),
                "bbox": [_short(v) for v in (*to_edges(np.array([x, y])), width, height)],
                "area": _short(width * height),
                "iscrowd": 0,
            }
        )
    document = {"images": pictures, "annotations": annotations, "categories": [category]}
    (folder / "annotations.json").write_text(json.dumps(document) + "\n", encoding="utf-8")
    return folder / "annotations.json"


def _yolo(folder: Path, file: LabelFile, flips: FlipPairs) -> Path:
    """Write data.yaml, and labels/NAME.txt for each picture."""
    (folder / _LABELS).mkdir()
    lines: dict[str, list[str]] = {}
    outside = 0
    for thing in file.things:
        assert thing.size is not None
        scale = np.array(thing.size[::-1], np.float64)
        seen = thing.visibility > 0
        points = np.where(seen[:, None], to_edges(thing.keypoints) / scale, 0)
        outside += int(((points < 0) | (points > 1)).any(1).sum())
        assert thing.box is not None
        x, y, width, height = thing.box
        left, top = to_edges(np.array([x, y])).tolist()
        box = np.array([left + width / 2, top + height / 2, width, height]) / np.tile(scale, 2)
        cells = ["0", *(f"{v:.10g}" for v in box)]
        for (px, py), visible in zip(points.tolist(), thing.visibility.tolist(), strict=True):
            cells += [f"{px:.10g}", f"{py:.10g}", str(visible)]
        lines.setdefault(thing.picture, []).append(" ".join(cells))
    for picture, rows in lines.items():
        (folder / _LABELS / Path(picture).with_suffix(".txt").name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    if outside:
        log.warning("%d keypoints lie outside their pictures, which Ultralytics does not take", outside)
    settings: dict[str, Any] = {
        "path": ".",
        **_parts(folder, file),
        "names": {0: "thing"},
        "kpt_shape": [len(file.names), 3],
        "kpt_names": {0: list(file.names)},
    }
    if flips.mirror:
        settings["flip_idx"] = swap_order(len(file.names), flips.pairs)
    (folder / "data.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return folder / "data.yaml"


def _parts(folder: Path, file: LabelFile) -> dict[str, str]:
    """The yaml's entries for the parts: written lists of pictures if the source states a part for each, else the folder."""
    parts = {thing.picture: thing.split for thing in file.things}
    if not {"train", "val"} <= set(parts.values()) or "" in parts.values():
        return {"train": _IMAGES, "val": _IMAGES}
    lists = {part: [p for p, its in parts.items() if its == part] for part in PARTS.values()}
    lists = {part: pictures for part, pictures in lists.items() if pictures}
    for part, pictures in lists.items():
        (folder / f"{part}.txt").write_text("".join(f"./{picture}\n" for picture in pictures), encoding="utf-8")
    return {part: f"{part}.txt" for part in lists}


def _csv(folder: Path, file: LabelFile, flips: FlipPairs) -> Path:
    """Write keypoints.csv: image, box columns if there are boxes, and x, y, visibility of each keypoint."""
    boxed = any(thing.box for thing in file.things)
    heads = [f"{name}_{part}" for name in file.names for part in ("x", "y", "visibility")]
    header = ["image", *(["box_x", "box_y", "box_width", "box_height"] if boxed else []), *heads]
    twice = next((name for k, name in enumerate(header) if name in header[:k]), None)
    if twice:
        raise DataError(
            f"a csv of these labels would have two columns {twice}; rename the keypoint, or choose another --to"
        )
    with (folder / "keypoints.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(header)
        for thing in file.things:
            cells: list[object] = [thing.picture, *((thing.box or [""] * 4) if boxed else [])]
            for (x, y), visible in zip(thing.keypoints.tolist(), thing.visibility.tolist(), strict=True):
                cells += [_short(x), _short(y), visible] if visible else ["", "", 0]
            table.writerow(cells)
    return folder / "keypoints.csv"


def _short(value: float) -> float | int:
    """A number rounded to 6 decimals; integers without a decimal point."""
    rounded = round(float(value), 6)
    return int(rounded) if rounded.is_integer() else rounded
