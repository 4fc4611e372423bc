"""Opens SOURCE: finds the reader and the pictures, merges the parts of a set, and brings images to one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from kptool import plugins
from kptool.base.config import require
from kptool.base.errors import DataError, KptoolError
from kptool.base.geometry import Size, apply_affine, fit_box, image_box
from kptool.base.skeleton import Skeleton
from kptool.data import images, parts
from kptool.data.annotations import Dataset, LabelFile, Samples, Source
from kptool.data.flips import FlipPairs
from kptool.data.formats import unread
from kptool.data.labels import View, source
from kptool.data.pixel_check import checked
from kptool.system.text import csv_rows, read_text
from kptool.system.workers import Workers

_DEFAULT_PLACES = ("training.zip", "training.csv", "facial-keypoints-detection.zip")
_MOST_PROBED = 1000
"""Files of a folder that are checked for a known format."""


@dataclass(frozen=True)
class Opening:
    """How to open a source; None leaves a choice to the source.

    images: the folder of the labelled pictures. category: the one to read of several. size (H, W), channels, crop, margin:
    see `kptool.data.labels.View`. flips: a csv with a pair of left and right keypoint names per line, or the word "none".
    count, seed: of synthetic faces. val_from: the validation part's labels, if in a file of their own. Raises ConfigError
    for values out of range.
    """

    images: Path | None = None
    category: str | None = None
    size: Size | None = None
    channels: int | None = None
    crop: str = "auto"
    margin: float = 0.15
    flips: Path | None = None
    count: int = 1000
    seed: int = 0
    val_from: Path | None = None

    def __post_init__(self) -> None:
        View(self.size or View().size, self.channels, self.crop, self.margin)  # validates before anything is read


def find_source(path: Path | None, opening: Opening | None = None) -> Source:
    """Open `path` with the reader for its format; without a path, Kaggle's file in . or data/, else synthetic faces.

    Raises DataError if the path does not exist or has no known format, ConfigError for options that do not apply.
    """
    opening = opening or Opening()
    require(path is not None or opening.val_from is None, "--val-from wants SOURCE, the labels of the training part")
    if path is None:
        places = (Path(folder) / name for folder in (".", "data") for name in _DEFAULT_PLACES)
        path = next((place for place in places if place.is_file()), None)
    if path is None:
        synthetic: Dataset = plugins.load("datasets", "synthetic")
        assert synthetic.open is not None
        size = {"size": opening.size} if opening.size else {}
        return _stated(synthetic.open(None, count=opening.count, seed=opening.seed, **size), opening)
    path, reader = find_reader(path)
    if reader.open is not None:
        require(
            opening.val_from is None, f"{path} holds its pictures, and is split by --val, so --val-from has no meaning"
        )
        require(opening.images is None, f"{path} holds its pictures, so --images has no meaning")
        return _stated(_resized(checked(reader.open(path)), opening), opening)
    file, folder = read_labels(path, reader, opening)
    view = View(opening.size, opening.channels, opening.crop, opening.margin)
    return source(path, file, folder, view, _stated_flips(opening.flips, file.names))


def find_reader(path: Path) -> tuple[Path, Dataset]:
    """The label file at `path`, or in that folder, and its reader; the folder itself if it holds the parts of one set.

    Raises DataError if there is none, or if there are several.
    """
    if not path.exists():
        raise DataError(
            f"there is no file or folder {path}; give Kaggle's training.zip, or nothing for synthetic faces"
        )
    readers: list[Dataset] = [plugins.load("datasets", name) for name in plugins.names("datasets")]
    own = not path.is_dir() or any(reader.matches(path) for reader in readers)
    candidates = [path] if own else parts.label_files(path)
    fitting = [(place, reader) for place in candidates for reader in readers if reader.matches(place)]
    places = list(dict.fromkeys(place for place, _ in fitting))
    one_kind = len({id(reader) for _, reader in fitting}) == 1 and fitting[0][1].read is not None
    if len(places) > 1 and one_kind and parts.by_part(path, places):
        return path, fitting[0][1]
    if len(places) > 1:
        _refuse_several(path, places)
    if len(fitting) > 1 and path.is_dir() and places == [path]:
        kinds = " and ".join(reader.summary for _, reader in fitting)
        raise DataError(f"{path} holds labels in several formats, {kinds}; keep those of one in a folder of their own")
    _refuse_strangers(path, places or candidates, known=bool(fitting))
    return fitting[0]


def _refuse_several(path: Path, places: list[Path]) -> None:
    """Raise DataError for a folder of several label files that are not the parts of one set."""
    kind = unread.named_whole(places[0])
    if kind:
        raise DataError(f"{path} holds {len(places)} files of labels, and {places[0].name} {kind}")
    names = ", ".join(place.relative_to(path).as_posix() for place in places[:5])
    raise DataError(
        f"{path} holds several label files: {names}; name one, and the labels of its validation part, where they are in"
        " another, with --val-from"
    )


def _refuse_strangers(path: Path, places: list[Path], *, known: bool) -> None:
    """Raise DataError if no reader fits (unless `known`), naming the format of `places` if it can be recognised."""
    if not places and path.is_dir():
        places = [place for place in sorted(path.iterdir()) if place.is_file()][:_MOST_PROBED]
    looked = (place for place in places if not known or place.suffix.lower() in (".csv", ".tsv"))
    kinds = ((place, unread.named_file(place)) for place in looked)
    place, kind = next(((place, kind) for place, kind in kinds if kind), (path, None))
    if kind:
        raise DataError(f"{place} {kind}")
    if not known and path.is_dir() and next((path / "labels").rglob("*.txt"), None) is not None:
        raise DataError(
            f"{path} has labels as YOLO has them, and no yaml; write a data.yaml there, with train: images and kpt_shape:"
            " [number of keypoints, 3]"
        )
    inner = next(iter(sorted(path.glob("*/*.json"))), None) if not known and path.is_dir() else None
    kind = unread.named_whole(inner) if inner else None
    if kind:
        raise DataError(f"{inner} {kind}")
    if not known:
        raise DataError(
            f"{path} is of no format that kptool reads ({', '.join(_readable())}); convert it to COCO keypoints, or to a csv"
            " with image,NAME_x,NAME_y"
        )


def _readable() -> list[str]:
    """The names of all readers of files."""
    return [name for name in plugins.names("datasets") if name != "synthetic"]


def read_labels(path: Path, reader: Dataset, opening: Opening) -> tuple[LabelFile, Path]:
    """The contents of the label file at `path`, or of all parts merged, and the folder of the pictures.

    Raises DataError if a file cannot be read; an unreadable test part is reported in a note instead.
    """
    files = parts.files_of(path, reader)
    if opening.val_from is not None:
        require("" in files, f"{path} holds its own parts, so --val-from has no meaning; name the file to train on")
        files = {"train": path, "val": _validation(path, reader, opening.val_from)}
    if "" in files:
        part = _read(files[""], reader, opening)
        return part.file, part.folder
    read, skipped = {}, []
    for name, file in files.items():
        try:
            read[name] = _read(file, reader, opening)
        except DataError as error:
            if name != "test":  # test parts of contests often have no labels
                raise
            skipped.append(f"the test part is not used: {error}")
    whole = parts.merged(read, tuple(skipped))
    assert whole.folder is not None
    return whole, whole.folder


def _validation(path: Path, reader: Dataset, val_from: Path) -> Path:
    """The label file of --val-from. Raises ConfigError if it has another format or is `path` itself."""
    other, its = find_reader(val_from)
    require(its is reader, f"--val-from {other} is another format than {path}; give both as {reader.summary}")
    require(
        other.resolve() != path.resolve(), f"--val-from names {path} itself; give the labels of the validation part"
    )
    return other


def _read(path: Path, reader: Dataset, opening: Opening) -> parts.Part:
    """Read one label file and find the folder of its pictures."""
    assert reader.read is not None
    try:
        if opening.images is not None and reader.read_apart is not None:
            file = reader.read_apart(path, opening.category, opening.images)
        else:
            file = reader.read(path, opening.category)
    except (AttributeError, TypeError, KeyError, IndexError, ValueError, OverflowError) as error:
        raise DataError(f"{path} is not laid out as {reader.summary} ({error}); export it again") from error
    try:
        Skeleton(file.names, file.flip_pairs or (), edges=file.edges)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if not file.things:
        raise DataError(f"{path} holds no labelled pictures; label some, or export again with their keypoints")
    if file.folder is not None and (opening.images is None or reader.read_apart is not None):
        return parts.Part(path, file, file.folder)
    return parts.Part(path, file, parts.picture_folder(path, file, opening.images))


def shared(opened: Source, mine: Workers) -> Source | None:
    """Distribute the reading of blocks over all processes of `mine`.

    Returns on rank 0 the source whose blocks arrive from all processes in turn; on other ranks None, after their blocks
    were sent. Rank 0 reads a source without `part` alone.
    """
    if mine.world == 1:
        return opened
    part = opened.part
    if mine.rank > 0:
        if part is not None:
            _serve(part(mine.rank, mine.world), mine)
        return None
    return opened if part is None else replace(opened, blocks=partial(_collected, part, mine))


def _serve(blocks: Iterator[Samples], mine: Workers) -> None:
    """Send every block, then None, or the error. Stops if rank 0 has ended; it reports why."""
    try:
        for block in blocks:
            if not mine.send(block):
                return
        mine.send(None)
    except KptoolError as error:
        mine.send(error)


def _collected(part: Callable[[int, int], Iterator[Samples]], mine: Workers) -> Iterator[Samples]:
    """The blocks of all processes in turn, this one's included, until each has sent None. Raises an error that arrives."""
    own, going = part(0, mine.world), list(range(mine.world))
    while going:
        for rank in tuple(going):
            block = next(own, None) if rank == 0 else mine.receive(rank)
            if isinstance(block, KptoolError):
                raise block
            if block is None:
                going.remove(rank)
            else:
                yield block


def _stated_flips(path: Path | None, names: tuple[str, ...]) -> FlipPairs | None:
    """The flip pairs of --flips: a csv of name pairs, or "none"; None if not given. Raises DataError for invalid lines."""
    if path is None:
        return None
    if str(path) == "none":
        return FlipPairs((), False, "images are not mirrored, as --flips says")
    pairs = []
    for line, row in enumerate(csv_rows(path, read_text(path, 1 << 20).splitlines()), start=1):
        cells = [cell.strip() for cell in row if cell.strip()]
        if not cells:
            continue
        unknown = next((cell for cell in cells if cell not in names), None)
        if len(cells) != 2 or unknown:
            what = f"there is no keypoint {unknown!r}" if unknown else "expected two names with a comma between"
            raise DataError(f"{path}, line {line}: {what}; the names are {', '.join(names[:20])}")
        pairs.append((names.index(cells[0]), names.index(cells[1])))
    if not pairs:
        raise DataError(f"{path} holds no pair of names; write one in each line, or say --flips none")
    return FlipPairs(tuple(pairs), True, f"{len(pairs)} left/right pairs, stated in {path}")


def _stated(opened: Source, opening: Opening) -> Source:
    """The source with the flip pairs of --flips, if given."""
    flips = _stated_flips(opening.flips, opened.skeleton.names)
    if flips is None:
        return opened
    skeleton = replace(opened.skeleton, flip_pairs=flips.pairs, mirror=flips.mirror)
    return replace(opened, skeleton=skeleton, flip_note=flips.why)


def _resized(opened: Source, opening: Opening) -> Source:
    """A source that contains its images, brought to the requested size and number of channels."""
    size, channels = opening.size or opened.size, opening.channels or opened.channels
    if (size, channels) == (opened.size, opened.channels):
        return opened
    View(size, channels)  # validates

    def blocks() -> Iterator[Samples]:
        for samples in opened.blocks():
            pictures = samples.images if samples.images.ndim == 3 else np.moveaxis(samples.images, 1, -1)
            height, width = pictures.shape[1:3]
            affine = fit_box(image_box((height, width)), size)
            yield replace(
                samples,
                images=np.stack([images.crop(picture, affine, size, channels) for picture in pictures]),
                keypoints=np.where(samples.visibility[..., None] > 0, apply_affine(affine, samples.keypoints), 0),
                affines=np.broadcast_to(affine, (len(samples), 2, 3)),
                sizes=np.full((len(samples), 2), (height, width), np.int32),
            )

    return replace(opened, size=size, channels=channels, blocks=blocks)
