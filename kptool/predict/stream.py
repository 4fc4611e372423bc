"""Batched prediction on a stream of pictures; each is written to the outputs and released before the next batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kptool.base.errors import ConfigError
from kptool.base.geometry import Box, Size
from kptool.data.images import DecodedImage
from kptool.data.pictures import InputPicture, collect_remarks
from kptool.predict import backends, drawing, output
from kptool.predict.following import Follower
from kptool.predict.instances import Instance
from kptool.predict.journal import Journal
from kptool.predict.output import HeatmapFile, PicturePrediction
from kptool.predict.predictor import Predictor
from kptool.predict.video_output import VideoOutput
from kptool.system.files import atomic, write_text
from kptool.system.progress import FRAMES, Progress, silent

_BATCH = 16
_BATCH_PIXELS = 40_000_000


@dataclass
class Outputs:
    """Outputs written picture by picture: drawings into `folder` or a video, heatmaps into a file.

    label: write numbers and names into the drawings. tints: the keypoints' colours. circles: draw scores and 90 % radii.
    taken: file names in use. files: the reserved file name of each picture.
    """

    names: Sequence[str]
    folder: Path | None = None
    heatmaps: HeatmapFile | None = None
    label: bool = False
    tints: Sequence[str] | None = None
    circles: bool = False
    taken: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)
    film: VideoOutput | None = None

    def reserve(self, pictures: Sequence[str]) -> None:
        """Assign every picture the file name of its drawing, so that processes sharing the pictures never collide."""
        for picture in pictures:
            self.files[picture] = self._name(picture)

    def add(self, picture: InputPicture, faces: Sequence[Instance]) -> None:
        """Write the outputs of one picture."""
        assert picture.pixels is not None
        if self.heatmaps is not None:
            self.heatmaps.add(picture.name, faces)
        if self.film is not None:
            self.film.add(picture, faces)
        if self.folder is not None:
            with atomic(self.folder / (self.files.get(picture.name) or self._name(picture.name))) as temporary:
                look: dict[str, Any] = {"label": self.label, "tints": self.tints, "circles": self.circles}
                drawn = drawing.draw(picture.pixels, faces, self.names, **look)
                drawn.save(temporary, "PNG", compress_level=1)

    def _name(self, picture: str) -> str:
        """The drawing's file name: the picture's, with a number appended if it is taken already."""
        stem = "stdin" if picture == "-" else Path(picture).name.replace("#", "-")
        stem = stem if "#" in picture else Path(stem).stem
        name = next(n for n in (f"{stem}{end}.png" for end in itertools.chain([""], _numbers())) if n not in self.taken)
        self.taken.add(name)
        return name


def _numbers() -> Iterator[str]:
    return (f"-{number}" for number in itertools.count(1))


@contextmanager
def outputs(
    predictor: Predictor, folder: Path | None, heatmaps: Path | None, *, names: bool = False, circles: bool = False
) -> Iterator[Outputs]:
    """Open the outputs of a prediction; an existing heatmap file is replaced only if the block succeeds.

    Raises ConfigError if heatmaps are requested from a model that has none.
    """
    with ExitStack() as stack:
        file = None
        if heatmaps is not None:
            file = stack.enter_context(output.heatmap_file(heatmaps, predictor, heatmap_size(predictor)))
        yield Outputs(predictor.names, folder, file, names, predictor.tints, circles)


def heatmap_size(predictor: Predictor) -> Size:
    """The size (h, w) of a model's heatmaps, found by running it on a black image. Raises ConfigError if it has none."""
    maps = predictor.backend.run(backends.blank(predictor.card), heatmaps=True).heatmaps
    if maps is None:
        raise ConfigError(f"{predictor.origin} predicts coordinates and has no heatmaps to write")
    return maps.shape[2], maps.shape[3]


@dataclass
class Predicted:
    """The predictions, the pictures that could not be read, and remarks on pictures, see `kptool.data.intensity`."""

    found: list[PicturePrediction] = field(default_factory=list)
    failed: list[InputPicture] = field(default_factory=list)
    remarks: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)


def run(
    predictor: Predictor,
    pictures: Iterable[InputPicture],
    total: int | None = None,
    *,
    boxes: Sequence[Box] | None = None,
    outputs: Outputs | None = None,
    follow: Follower | None = None,
    journal: Journal | None = None,
    progress: Progress = silent,
) -> Predicted:
    """Predict on each picture. `total` is for progress; `boxes` apply to every picture instead of detection.

    `follow` tracks instances; every picture must then have a time. With a `journal`, predictions are written there, and not
    returned.
    """
    done, count = Predicted(), 0
    maps = outputs is not None and outputs.heatmaps is not None
    for batch in _batches(collect_remarks(pictures, done.remarks)):
        good = [picture for picture in batch if picture.pixels is not None]
        done.failed += [picture for picture in batch if picture.pixels is None]
        each = predictor.predict_many(
            [DecodedImage(picture.pixels) for picture in good if picture.pixels is not None],
            boxes=None if boxes is None else [boxes] * len(good),
            heatmaps=maps,
        )
        for picture, detected in zip(good, each, strict=True):
            assert picture.pixels is not None
            faces = detected if follow is None else follow(picture, detected)
            if outputs is not None:
                outputs.add(picture, faces)
            size = picture.pixels.shape[0], picture.pixels.shape[1]
            light = [_light(face) for face in faces]
            one = PicturePrediction(picture.name, size, light, picture.frame, picture.time)
            if journal is None:
                done.found.append(one)
            else:
                journal.add(one)
        if journal is not None:
            for picture in batch:
                if picture.pixels is None:
                    journal.fail(picture.name, picture.error)
            journal.flush()
        count += len(batch)
        if (last := batch[-1]).frame is not None:
            progress(f"{FRAMES} of {last.video}" if last.video else FRAMES, last.frame + 1, last.of)
        else:
            progress("pictures", count, total if total is None or count <= total else None)
    return done


def merge(wanted: Sequence[str], parts: Sequence[Predicted]) -> Predicted:
    """The results of several processes, in the order of the pictures in `wanted`."""
    position = {name: number for number, name in enumerate(wanted)}

    def place(name: str) -> int:
        return position.get(name, position.get(name.rpartition("#")[0], 0))

    return Predicted(
        sorted((each for part in parts for each in part.found), key=lambda each: place(each.name)),
        sorted((each for part in parts for each in part.failed), key=lambda each: place(each.name)),
        sorted((each for part in parts for each in part.remarks), key=lambda each: place(each[0])),
    )


def _light(face: Instance) -> Instance:
    """An instance without its heatmaps, which are already written, and its picture."""
    return replace(face, heatmaps=None, shown=None)


def _batches(pictures: Iterable[InputPicture]) -> Iterator[list[InputPicture]]:
    """Batches of up to `_BATCH` pictures, fewer if they are large."""
    batch: list[InputPicture] = []
    pixels = 0
    for picture in pictures:
        batch.append(picture)
        pixels += 0 if picture.pixels is None else picture.pixels.size
        if len(batch) == _BATCH or pixels > _BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def write(
    predictor: Predictor, found: Sequence[PicturePrediction], *, out: Path | None = None, coco: Path | None = None
) -> None:
    """Write the files of all predictions: OUT/keypoints.csv, and the COCO json."""
    if out is not None:
        write_text(out / "keypoints.csv", output.csv_text(found, predictor.names, predictor.thing.column))
    if coco is not None:
        output.write_coco(coco, found, predictor)
