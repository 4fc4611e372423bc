"""Reads meta.json of a Supervisely project: the shapes of its classes, and the names of the nodes of its graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kptool.base.errors import DataError
from kptool.data.formats import json_kind
from kptool.data.formats.values import mapping, objects
from kptool.system.text import read_json

META = "meta.json"


@dataclass(frozen=True)
class Meta:
    """shapes: of each class. labels: for each class the names of its graph's nodes by key, in order. lines: pairs of names."""

    shapes: Mapping[str, str]
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lines: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)

    def name(self, title: str, key: str) -> str:
        """The name of a node, else its key."""
        return self.labels.get(title, {}).get(key, key)

    def nodes(self, title: str) -> tuple[str, ...]:
        """The names of a graph's nodes in order; none if the class is not a graph."""
        return tuple(self.labels.get(title, {}).values())


def find(path: Path) -> Path | None:
    """The meta.json of the project that `path` is, or lies in up to three folders deep; None if there is none."""
    if path.name == META:
        return path
    folders = [path, *path.absolute().parents[:3]] if path.is_dir() else path.absolute().parents[:3]
    kinds = ((folder / META, json_kind.kind(folder / META)) for folder in folders)
    return next((place for place, kind in kinds if kind == json_kind.SUPERVISELY_META), None)


def read(path: Path) -> Meta:
    """The classes of meta.json. Raises DataError if it is not valid."""
    document = read_json(path)
    if not isinstance(document, dict):
        raise DataError(f"{path} is not a project's meta.json, an object with classes; export the project again")
    shapes, labels, lines = {}, {}, {}
    for row in objects(str(path), "classes", document.get("classes")):
        title = str(row.get("title"))
        shapes[title] = str(row.get("shape"))
        graph = mapping(row.get("geometry_config"))
        labels[title] = {
            key: str(mapping(node).get("label") or key) for key, node in mapping(graph.get("nodes")).items()
        }
        links = objects(str(path), "edges", graph.get("edges"))
        ends = [tuple(labels[title].get(str(link.get(end)), "") for end in ("src", "dst")) for link in links]
        lines[title] = [(a, b) for a, b in ends if a and b]
    return Meta(shapes, labels, lines)
