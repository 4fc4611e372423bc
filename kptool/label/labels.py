"""Labels as they are placed: on the disk within a second of every change, in COCO, whatever ends the program.

Every change is a line of a log that is written and flushed to the disk before it is answered. From time to time the labels are
written as a whole to a COCO file, which replaces the one before, and the log begins anew. What a killed process left in the
log is added when the labels are opened.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from kptool.base.errors import DataError
from kptool.base.geometry import Size
from kptool.base.version import __version__
from kptool.label.entries import ABSENT, Entry, Instance, check, entry_of, four
from kptool.system.files import lock, write_text
from kptool.system.text import read_json, strict_json

LABELS, LOG = "labels.json", ".labels.log"
_SEQUENCE = "kptool_sequence"
_PROPOSALS = "kptool_proposals"


class WriteError(DataError):
    """Labels that cannot be written, as the disk is full or gone."""


class OutdatedError(DataError):
    """A change of labels that have been changed by someone else meanwhile."""


@dataclass
class Labels:
    """The labels of the pictures in a folder, opened for changes by one process at a time.

    Methods may be called by any number of threads. Raises DataError for a labels file that is not kptool's or has other
    points, and for damaged ones; ConfigError if another process has them open.
    """

    folder: Path
    points: tuple[str, ...]
    edges: tuple[tuple[int, int], ...] = ()
    category: str = "object"
    entries: dict[str, Entry] = field(default_factory=dict)
    sizes: dict[str, Size] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._mutex, self._sequence, self._unsaved = threading.RLock(), 0, False
        with ExitStack() as stack:
            self._log = stack.enter_context((self.folder / LOG).open("a+b", buffering=0))
            lock(self._log.fileno(), self.folder, "folder")
            self._read_whole()
            self._replay()
            if self._unsaved or not self.path.exists():  # the points are known from the first moment on
                self.save()
            stack.pop_all()

    def get(self, name: str) -> Entry:
        """The labels of a picture."""
        with self._mutex:
            return self.entries.get(name, Entry())

    def put(self, name: str, size: Size, entry: Entry) -> Entry:
        """Replace the labels of a picture of `size` (H, W); `entry.revision` is the one that was changed.

        Returns the entry with its new revision, when it is on the disk. Raises OutdatedError if the labels have another
        revision by now, and DataError for invalid values or if they cannot be written.
        """
        check(entry, len(self.points))
        with self._mutex:
            now = self.entries.get(name, Entry())
            if entry.revision != now.revision:
                raise OutdatedError(f"{name} was changed in another window; load it again")
            entry = replace(entry, revision=now.revision + 1)
            self._sequence += 1
            line = {"sequence": self._sequence, "name": name, "size": list(size), "entry": asdict(entry)}
            self._append(line)
            self.entries[name], self.sizes[name] = entry, size
            self._unsaved = True
        return entry

    def save(self) -> None:
        """Write the COCO file, and begin the log anew."""
        with self._mutex:
            try:
                write_text(self.path, json.dumps(self.document()) + "\n")
                self._log.seek(0)
                self._log.truncate()
                os.fsync(self._log.fileno())
            except OSError as error:
                raise WriteError(f"{self.path} cannot be written: {error.strerror or error}; make room") from error
            self._unsaved = False

    @property
    def path(self) -> Path:
        """The COCO file."""
        return self.folder / LABELS

    @property
    def unsaved(self) -> bool:
        """Whether the COCO file lacks changes."""
        return self._unsaved

    def close(self) -> None:
        """Write what is to be written, and let others open the labels."""
        if self._unsaved:
            self.save()
        self._log.close()

    def document(self) -> dict[str, Any]:
        """The labels as a COCO document, with what kptool adds: the sequence number, and proposals, which are no annotations, so
        that nobody takes them for labels."""
        with self._mutex:
            return self._document()

    def _document(self) -> dict[str, Any]:
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        proposals: list[dict[str, Any]] = []
        for number, (name, entry) in enumerate(sorted(self.entries.items()), 1):
            height, width = self.sizes[name]
            about = {"kptool_revision": entry.revision, "kptool_done": entry.done}
            images.append({"id": number, "file_name": name, "width": width, "height": height, **about})
            for instance in entry.instances:
                those = proposals if instance.proposed else annotations
                those.append(self._annotation(len(those) + 1, number, instance))
        return {
            "info": {"description": f"labelled with kptool {__version__}", _SEQUENCE: self._sequence},
            "images": images,
            "annotations": annotations,
            _PROPOSALS: proposals,
            "categories": [
                {
                    "id": 1,
                    "name": self.category,
                    "keypoints": list(self.points),
                    "skeleton": [[a + 1, b + 1] for a, b in self.edges],
                }
            ],
        }

    def _annotation(self, number: int, image: int, instance: Instance) -> dict[str, Any]:
        placed = [point for point in instance.points if point[2] != ABSENT]
        box = instance.box or _box_around(placed)
        return {
            "id": number,
            "image_id": image,
            "category_id": 1,
            "keypoints": [value for x, y, v in instance.points for value in ((x, y, v) if v else (0, 0, 0))],
            "num_keypoints": len(placed),
            "bbox": [round(value, 3) for value in box],
            "area": round(box[2] * box[3], 3),
            "iscrowd": 0,
            "kptool_boxed": instance.box is not None,
            **({"kptool_radii": instance.radii} if instance.proposed else {}),
        }

    def _append(self, line: Mapping[str, Any]) -> None:
        """Write a line of the log, to the disk. Raises WriteError where it cannot be written, and leaves none in part."""
        end, left = self._log.seek(0, os.SEEK_END), (json.dumps(line) + "\n").encode()
        try:
            while left:
                left = left[self._log.write(left) or 0 :]
            os.fsync(self._log.fileno())
        except OSError as error:
            self._log.truncate(end)
            raise WriteError(f"{self.folder / LOG} cannot be written: {error.strerror or error}; make room") from error

    def _read_whole(self) -> None:
        """Read the COCO file, if there is one."""
        path = self.folder / LABELS
        if not path.exists():
            return
        document = read_json(path)
        try:
            (category,) = document["categories"]
            names = tuple(map(str, category["keypoints"]))
            self._sequence = int(document["info"][_SEQUENCE])
            files = {image["id"]: image for image in document["images"]}
            found: dict[Any, list[Instance]] = {number: [] for number in files}
            for proposed, those in ((False, document["annotations"]), (True, document[_PROPOSALS])):
                for each in those:
                    found[each["image_id"]].append(_instance(each, proposed))
            for number, image in files.items():
                name = str(image["file_name"])
                self.sizes[name] = int(image["height"]), int(image["width"])
                revision, done = int(image["kptool_revision"]), bool(image["kptool_done"])
                self.entries[name] = Entry(tuple(found[number]), revision, done)
                check(self.entries[name], len(names))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{path} was not written by `kptool label` ({error!r:.80}); move it elsewhere, and give it with --labels"
            ) from error
        self._unsaved = names != self.points
        if self._unsaved and self.entries:  # else nothing was placed yet, and the points may be others
            raise DataError(
                f"{path} has the points {', '.join(names)}, not {', '.join(self.points)}; leave --points out, or label"
                " another folder"
            )

    def _replay(self) -> None:
        """Apply the lines of the log that the COCO file lacks; the last one may have been cut short."""
        self._log.seek(0)
        end = 0
        for line in self._log.readall().splitlines(keepends=True):
            entry = _logged(line) if line.endswith(b"\n") else None
            if entry is None:
                break
            end += len(line)
            sequence, name, size, changed = entry
            if sequence > self._sequence:
                check(changed, len(self.points))
                self._sequence, self._unsaved = sequence, True
                self.entries[name], self.sizes[name] = changed, size
        self._log.truncate(end)


def _foreign(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} was not written by `kptool label` ({error!r:.80}); move it elsewhere, and give it with --labels"
    )


def known_points(folder: Path) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]] | None:
    """The points and lines of a folder that was labelled before; None for any other. Raises DataError for a damaged file."""
    path = folder / LABELS
    if not path.exists():
        return None
    document = read_json(path)
    try:
        (category,) = document["categories"]
        edges = tuple((int(a) - 1, int(b) - 1) for a, b in category.get("skeleton", ()))
        return tuple(map(str, category["keypoints"])), edges
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} was not written by `kptool label` ({error!r:.80}); move it elsewhere, and give it with --labels"
        ) from error


def _instance(annotation: Mapping[str, Any], proposed: bool) -> Instance:
    """An instance of a COCO annotation that `Labels` wrote."""
    flat = annotation["keypoints"]
    points = tuple((float(x), float(y), int(v)) for x, y, v in zip(flat[::3], flat[1::3], flat[2::3], strict=True))
    radii = annotation.get("kptool_radii")
    return Instance(
        points,
        four(annotation["bbox"]) if annotation["kptool_boxed"] else None,
        proposed,
        None if radii is None else tuple(None if r is None else float(r) for r in radii),
    )


def _logged(line: bytes) -> tuple[int, str, Size, Entry] | None:
    """What a line of the log says; None if it is damaged."""
    try:
        value = strict_json(line.decode())
        height, width = map(int, value["size"])
        return int(value["sequence"]), str(value["name"]), (height, width), entry_of(value["entry"])
    except (ValueError, KeyError, TypeError, DataError):
        return None


def _box_around(points: Sequence[tuple[float, float, int]]) -> tuple[float, float, float, float]:
    """The box from the picture's edges that contains the pixels of points; empty without points."""
    if not points:
        return 0.0, 0.0, 0.0, 0.0
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    return min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1
