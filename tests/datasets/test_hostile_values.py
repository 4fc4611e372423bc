"""Whatever stands in a JSON label file instead of a value, readers answer with labels or a sentence that names the file."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from label_files import INSIDE, MORE

from kptool.base.errors import DataError
from kptool.data.sources import Opening, find_reader, read_labels

JSON = ("coco", "label-studio", "labelme", "via", "mpii", "openpose", "supervisely", "coco-wholebody")
WRONG: tuple[Any, ...] = (
    None, "x", [], {}, float("nan"), 10**400, -1, True, [[[[[]]]]], float("inf"), "1e999", {"a": [1]}, 1.5,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of keys to every value in a document."""
    yield path
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(each, (*path, key))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a document with another value at `path`."""
    if not path:
        return value
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@pytest.mark.parametrize("name", JSON)
def test_any_value_may_be_anything(name: str, tmp_path: Path) -> None:
    path = MORE[name](tmp_path / "in")
    file = path / INSIDE[name] if path.is_dir() else path
    document = json.loads(file.read_text())
    every = list(places(document))
    said = []
    for number, place in enumerate(every[:: max(1, len(every) // 40)]):
        file.write_text(json.dumps(replaced(document, place, WRONG[number % len(WRONG)])))
        try:
            read_labels(*find_reader(path), Opening())
        except DataError as error:  # any other exception is a bug
            said.append(str(error).replace(str(tmp_path), "IN"))
    assert len(said) > 3
    assert [text for text in said if "IN" not in text or len(text) > 500] == []
