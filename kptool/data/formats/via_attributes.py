"""Finds out which of the attributes of VIA's regions is the keypoint's name, which the instance, and which the visibility."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kptool.base.errors import DataError
from kptool.data.formats.via_files import Region
from kptool.data.formats.visibility import flag_kind
from kptool.data.notes import counted, listed

Attributes = Mapping[str, str]
_NAMES = ("name", "keypoint", "landmark", "bodypart", "part", "point", "label", "class", "type", "id")
_INSTANCES = (
    "instance", "instance_id", "object", "object_id", "individual", "animal", "person", "person_id", "face", "face_id",
    "track", "track_id", "group", "group_id",
)  # fmt: skip


@dataclass(frozen=True)
class Roles:
    """The attribute that holds the name (empty if regions are only numbered), and the instance (empty if none does)."""

    name: str
    instance: str
    unused: tuple[str, ...]

    def flags(self, attributes: Attributes) -> dict[str, str]:
        """Texts by the kind of visibility flag."""
        kinds = ((flag_kind(key), value) for key, value in attributes.items() if key not in (self.name, self.instance))
        return {kind: value for kind, value in kinds if kind is not None}

    def notes(self, regions: Sequence[Region]) -> Iterator[str]:
        """How keypoints are named, and the attributes that are not used."""
        if not self.name and regions:
            yield "the points have no names, so they are called p01, p02, ... in their order in each picture"
        if self.unused:
            count = sum(key in region.attributes for region in regions for key in self.unused)
            yield from counted(count, "{n} value{s} of the attribute {which} {are} not used", which=listed(self.unused))


def roles(path: Path, groups: Sequence[Sequence[Attributes]]) -> Roles:
    """The roles of the attributes of the points of each picture.

    The name is the attribute that most points have and that repeats least within pictures and instances; of several, the
    usual key, else the first. Raises DataError if there is none, and pictures differ in their number of points.
    """
    keys = list(dict.fromkeys(key for group in groups for each in group for key in each))
    instance = next((key for word in _INSTANCES for key in keys if key.casefold() == word), "")
    rest = [key for key in keys if key != instance and flag_kind(key) is None]
    total = sum(map(len, groups))
    full = [key for key in rest if 2 * sum(bool(each.get(key)) for group in groups for each in group) >= total]
    name = min(full, key=lambda key: (_repeats(groups, key, instance), _usual(key)), default="")
    if not name:
        counts = {len(group) for group in groups if group}
        if len(counts) > 1 or rest:
            raise DataError(
                f"{path}: its points have no attribute with their name, and pictures have {min(counts)} to {max(counts)} points;"
                " give every point a region attribute called name"
            )
    return Roles(name, instance, tuple(key for key in rest if key != name))


def _usual(key: str) -> int:
    """Rank of a key among the usual ones for names."""
    word = key.casefold()
    return _NAMES.index(word) if word in _NAMES else len(_NAMES)


def _repeats(groups: Sequence[Sequence[Attributes]], key: str, instance: str) -> int:
    """How many points share their value with another of their picture and instance."""
    total = 0
    for group in groups:
        seen = Counter((each.get(instance, ""), each.get(key)) for each in group)
        total += sum(count - 1 for count in seen.values())
    return total
