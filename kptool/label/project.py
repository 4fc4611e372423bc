"""A folder of pictures and their labels: what the page shows, and what it may ask for."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from kptool.base.errors import DataError
from kptool.base.geometry import Size
from kptool.data import images, pictures
from kptool.label.entries import Entry, entry_of
from kptool.label.labels import Labels
from kptool.system.walking import files_below

MARK = "labelled.json"
"""A file in a folder of kptool's own files, whose pictures are not the user's."""
_SHOWN = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif"}
"""Kinds of files that a browser shows as kptool reads them, turned by their EXIF orientation."""


class UnknownPictureError(DataError):
    """A picture that the folder does not have."""


def names_below(folder: Path) -> tuple[str, ...]:
    """The names of the pictures below a folder, in the order of the numbers in them. Raises DataError if there are none."""
    found = [place for place in files_below(folder, leave_out=MARK) if place.suffix.lower() in pictures.SUFFIXES]
    names = pictures.by_number([place.relative_to(folder).as_posix() for place in found])
    if not names:
        raise DataError(f"there are no pictures in the folder {folder}; give another")
    return tuple(names)


@dataclass
class Project:
    """The pictures below a folder, by their names relative to it, and their labels. proposals: what a model sees in pictures
    without labels; it becomes a label when a person accepts or changes it."""

    labels: Labels
    names: tuple[str, ...]
    proposals: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def of(cls, labels: Labels) -> Project:
        """The pictures of the labels' folder, in the order of the numbers in their names. Raises DataError if there are none."""
        return cls(labels, names_below(labels.folder))

    def describe(self) -> dict[str, Any]:
        """The points, and of every picture what is known of it, as JSON."""
        labels = self.labels
        return {
            "folder": labels.folder.name,
            "points": list(labels.points),
            "edges": [list(edge) for edge in labels.edges],
            "pictures": [self._state(name) for name in self.names],
        }

    def _state(self, name: str) -> dict[str, Any]:
        entry = self._proposed(name)
        proposed = any(instance.proposed for instance in entry.instances)
        return {"name": name, "done": entry.done, "proposed": proposed, "instances": len(entry.instances)}

    def entry(self, number: int) -> dict[str, Any]:
        """The labels of a picture, as JSON, with its size. Raises UnknownPictureError, and DataError if it cannot be read."""
        name = self._name(number)
        height, width = self.size(name)
        return {**asdict(self._proposed(name)), "name": name, "width": width, "height": height}

    def _proposed(self, name: str) -> Entry:
        """The labels of a picture, or what is proposed where it has none."""
        entry, proposal = self.labels.get(name), self.proposals.get(name)
        if proposal is None or entry.done or entry.instances:
            return entry
        return replace(entry, instances=proposal.instances)

    def change(self, number: int, value: Mapping[str, Any]) -> dict[str, Any]:
        """Replace the labels of a picture; returns its new revision. Raises as `Labels.put`, `entry_of` and `entry` do."""
        name = self._name(number)
        changed: Entry = self.labels.put(name, self.size(name), entry_of(value))
        return {"revision": changed.revision, **self._state(name)}

    def picture(self, number: int) -> tuple[str, bytes]:
        """The media type and content of a picture, as PNG if browsers do not show it as kptool reads it."""
        place = self.labels.folder / self._name(number)
        kind = _SHOWN.get(place.suffix.lower())
        try:
            if kind is not None:
                return kind, place.read_bytes()
        except OSError as error:
            raise DataError(f"{place} cannot be read: {error.strerror or error}") from error
        from PIL import Image

        content = io.BytesIO()
        Image.fromarray(images.decode(place).pixels).save(content, "PNG", compress_level=1)
        return "image/png", content.getvalue()

    def _name(self, number: int) -> str:
        if not 0 <= number < len(self.names):
            raise UnknownPictureError(f"there is no picture {number}; the folder has {len(self.names)}")
        return self.names[number]

    def size(self, name: str) -> Size:
        """(H, W) of a picture. Raises DataError if it cannot be read."""
        known = self.labels.sizes.get(name) or images.size(self.labels.folder / name)
        if known is None:
            raise DataError(f"{name} is not a picture that can be read; remove it from the folder")
        return known
