"""`kptool convert`: writes labels of any readable format in another, with copies of the pictures."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kptool.base.errors import ConfigError, DataError
from kptool.base.geometry import from_edges
from kptool.data import embedded, images, png
from kptool.data.annotations import LabelFile, Labelled, Source
from kptool.data.boxes import boxes
from kptool.data.flips import FlipPairs
from kptool.data.labels import flips_of, locate_pictures, read_picture
from kptool.data.pixel_check import checked
from kptool.data.sources import Opening, find_reader, read_labels
from kptool.data.splits import SPLITS, TEST
from kptool.data.writers.formats import WRITERS
from kptool.data.writers.losses import losses
from kptool.data.writers.writer import BARE, Writer
from kptool.system.files import sync
from kptool.system.progress import Progress, silent

FORMATS = tuple(WRITERS)


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
    """Write the labels of `path` to the new folder `out` in the format `form`, with copies of the pictures.

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
            return _write(path, staging, out, WRITERS[form], opening, progress)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror or error}; choose another with --out") from error


def _write(path: Path, staging: Path, out: Path, writer: Writer, opening: Opening, progress: Progress) -> Converted:
    path, reader = find_reader(path)
    if reader.open is not None:
        source = checked(reader.open(path))
        things = list(_from_source(source, staging, writer.folders, progress))
        file = LabelFile(source.skeleton.names, things, notes=source.notes)
        flips = FlipPairs(source.skeleton.flip_pairs, source.skeleton.mirror, source.flip_note)
    else:
        file, folder = read_labels(path, reader, opening)
        file, places = locate_pictures(path, file, folder)
        flips = flips_of(file)
        file = _copied(file, [*places, *(folder / thing.picture for thing in file.empty)], staging, writer, progress)
    lost = losses(writer, file, flips)
    file = _boxed(file if BARE in writer.keeps else replace(file, empty=()), writer.boxed)
    file = replace(file, notes=(*file.notes, *lost))
    written = writer.write(staging, file, flips)
    staging.chmod(0o755)
    for place in (written, *{(staging / thing.picture).parent for thing in (*file.things, *file.empty)}, staging):
        sync(place)
    if out.exists():
        out.rmdir()
    staging.rename(out)
    labelled = sum(int((thing.visibility > 0).sum()) for thing in file.things)
    pictures = len({thing.picture for thing in (*file.things, *file.empty)})
    place = out / written.relative_to(staging)
    return Converted(len(file.things), labelled, pictures, flips.why, place, file.notes)


def _from_source(
    source: Source, staging: Path, folders: Callable[[Sequence[Labelled]], list[str]], progress: Progress
) -> Iterator[Labelled]:
    """The instances of a source that contains its images, which are written as PNG files."""
    parts = {code: name for name, code in (*SPLITS.items(), ("test", TEST))}
    for samples in source.blocks():
        for row, image, points, visibility in zip(
            samples.rows, samples.images, samples.keypoints, samples.visibility, strict=True
        ):
            size = (image.shape[-2], image.shape[-1])
            part = "" if source.split is None else parts.get(int(source.split[row]), "")
            thing = Labelled(f"{row:06d}.png", points.astype(np.float64), visibility, None, size, split=part)
            place = staging / folders([thing])[0] / thing.picture
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(png.encode_png(image if image.ndim == 2 else np.moveaxis(image, 0, -1)))
            yield replace(thing, picture=place.relative_to(staging).as_posix())
        progress("pictures", int(samples.rows[-1]) + 1, source.total)


def _boxed(file: LabelFile, which: str) -> LabelFile:
    """The labels with the boxes that a format needs: the stated ones, those derived from keypoints, or empty ones.

    which: of `Writer.boxed`.
    """
    if which == "never":
        return file
    made = boxes(file.things, [Path(thing.picture) for thing in file.things])
    nothing = (*from_edges(np.zeros(2)).tolist(), 0.0, 0.0)
    count = Counter(thing.picture for thing in file.things)
    needed = [which == "always" or count[thing.picture] > 1 for thing in file.things]
    things = [
        replace(thing, box=(tuple(edges) if labelled else nothing) if need else None) if not stated else thing
        for thing, stated, labelled, need, edges in zip(
            file.things, made.stated, made.labelled, needed, made.edges.tolist(), strict=True
        )
    ]
    new = int((made.labelled & ~made.stated & np.array(needed)).sum())
    notes = [f"{new} of {len(things)} things have no box; theirs are made from their keypoints"] if new else []
    return replace(file, things=things, notes=(*file.notes, *made.notes, *notes))


def _copied(file: LabelFile, places: Sequence[Path], staging: Path, writer: Writer, progress: Progress) -> LabelFile:
    """Copy the pictures under names that are unique in a folder; returns the labels with these names and the sizes.

    places: of the pictures of the instances, and of those without any, which are copied only if the format states them.
    """
    empty = file.empty if BARE in writer.keeps else ()
    things = (*file.things, *empty)
    done: dict[Path, tuple[str, tuple[int, int]]] = {}
    stems: dict[str, set[str]] = {}
    copied = []
    for number, (thing, place, folder) in enumerate(zip(things, places, writer.folders(things), strict=False)):
        if place not in done:
            (staging / folder).mkdir(parents=True, exist_ok=True)
            stem = _unused(place.stem, len(done), stems.setdefault(folder, set()))
            done[place] = _copy(thing, place, staging, f"{folder}/{stem}")
        name, size = done[place]
        copied.append(replace(thing, picture=name, size=size))
        progress("pictures", number + 1, len(things))
    count = len(file.things)
    return replace(file, things=copied[:count], empty=copied[count:] if empty else file.empty)


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
    name = f"{stem}{'.png' if turned else place.suffix.lower()}"
    if turned:
        (staging / name).write_bytes(png.encode_png(pixels))
    else:
        shutil.copyfile(place, staging / name)
    return name, (pixels.shape[0], pixels.shape[1])
