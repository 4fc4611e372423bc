"""Labels are on the disk when a change is answered, and survive the end of the program at any byte."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kptool.base.errors import ConfigError, DataError
from kptool.data.sources import Opening, find_reader, read_labels
from kptool.label.entries import Entry, Instance, entry_of
from kptool.label.labels import LABELS, LOG, Labels, OutdatedError, known_points

NAMES = ("tip", "base")
SIZE = (30, 40)


def opened(folder: Path, **given: Any) -> Labels:
    return Labels(folder, NAMES, **given)


def entry(x: float = 3.5, revision: int = 0, **given: Any) -> Entry:
    return Entry((Instance(((x, 4.25, 2), (0.0, 0.0, 0)), **given),), revision, done=True)


def kill(labels: Labels) -> None:
    """Let go of the files without writing anything."""
    os.close(os.dup(labels._log.fileno()))
    labels._log.close()


def test_what_was_put_is_there_again(tmp_path: Path) -> None:
    labels = opened(tmp_path)
    boxed = entry(box=(1.0, 2.0, 8.0, 9.0), proposed=True, radii=(1.5, None))
    saved = labels.put("a.png", SIZE, boxed)
    assert saved == replace(boxed, revision=1)
    assert labels.unsaved
    labels.close()
    again = opened(tmp_path)
    assert again.get("a.png") == saved
    assert again.get("other.png") == Entry()
    again.close()


@pytest.mark.parametrize("saved", [0, 1, 2, 3])
def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path, saved: int) -> None:
    """With the COCO file from before any of the changes, or from after some; also if the log was not begun anew."""
    labels = opened(tmp_path)
    wanted = {}
    for number in range(3):
        if number == saved:
            labels.save()
        wanted[f"{number}.png"] = labels.put(f"{number}.png", SIZE, entry(float(number)))
    kept = (tmp_path / LOG).read_bytes()
    if saved == 3:
        labels.save()
        (tmp_path / LOG).write_bytes(kept)
    kill(labels)
    again = opened(tmp_path)
    assert again.entries == wanted
    assert again.put("3.png", SIZE, entry()).revision == 1
    again.close()


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    labels = opened(tmp_path)
    first = labels.put("a.png", SIZE, entry(1.0))
    labels.put("a.png", SIZE, entry(2.0, revision=1))
    kill(labels)
    whole = (tmp_path / LOG).read_bytes()
    for cut in range(whole.index(b"\n") + 1, len(whole)):
        (tmp_path / LOG).write_bytes(whole[:cut])
        (tmp_path / LABELS).unlink(missing_ok=True)
        again = opened(tmp_path)
        assert again.get("a.png") == first
        again.close()


def test_windows_do_not_overwrite_each_other(tmp_path: Path) -> None:
    labels = opened(tmp_path)
    labels.put("a.png", SIZE, entry(1.0))
    with pytest.raises(OutdatedError, match=r"a.png was changed in another window"):
        labels.put("a.png", SIZE, entry(2.0))
    assert labels.get("a.png").instances[0].points[0][0] == 1.0
    labels.close()


def test_labels_have_one_process(tmp_path: Path) -> None:
    labels = opened(tmp_path)
    with pytest.raises(ConfigError, match="another kptool"):
        opened(tmp_path)
    labels.close()


def test_the_file_is_coco(tmp_path: Path) -> None:
    """With boxes around the points where none was drawn; pictures without instances are in it."""
    labels = opened(tmp_path, edges=((0, 1),), category="tool")
    labels.put("a.png", SIZE, Entry((Instance(((3.5, 4.25, 2), (9.0, 6.0, 1))),), 0, done=True))
    labels.put("b.png", SIZE, Entry((), 0, done=True))
    labels.close()
    file, _ = read_labels(*_reader(tmp_path / LABELS))
    assert file.names == NAMES
    (thing,) = file.things
    assert np.allclose(thing.keypoints, np.array([[3.5, 4.25], [9, 6]]))
    assert thing.visibility.tolist() == [2, 1]
    document = json.loads((tmp_path / LABELS).read_text())
    assert document["annotations"][0]["bbox"] == [3.5, 4.25, 6.5, 2.75]
    assert document["categories"][0]["skeleton"] == [[1, 2]]
    assert [image["file_name"] for image in document["images"]] == ["a.png", "b.png"]


def _reader(path: Path) -> Any:
    found, reader = find_reader(path)
    return found, reader, Opening()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"points": [[1, 2, 2]]}, "2 points"),
        ({"points": [[1, 2, 2], [float("nan"), 2, 2]]}, "finite"),
        ({"points": [[1, 2, 2], [1e9, 2, 2]]}, "finite"),
        ({"points": [[1, 2, 3], [1, 2, 2]]}, "visibility"),
        ({"points": [[1, 2, 2], [1, 2]]}, "no labels"),
        ({"points": "ab"}, "no labels"),
        ({"box": [1, 2, 0, 4]}, "width"),
        ({"box": [1, 2, 3]}, "no labels"),
        ({"radii": [1.0]}, "2 points"),
    ],
)
def test_invalid_labels_are_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    labels = opened(tmp_path)
    value = asdict(entry())
    value["instances"][0].update(change)
    with pytest.raises(DataError, match=why):
        labels.put("a.png", SIZE, entry_of(json.loads(json.dumps(value))))
    assert labels.entries == {}
    labels.close()


def test_other_points_and_other_files_are_refused(tmp_path: Path) -> None:
    labels = opened(tmp_path)
    labels.put("a.png", SIZE, entry())
    labels.close()
    with pytest.raises(DataError, match="has the points tip, base, not left, right"):
        Labels(tmp_path, ("left", "right"))
    (tmp_path / LABELS).write_text('{"images": []}')
    with pytest.raises(DataError, match="was not written by `kptool label`"):
        opened(tmp_path)


def test_other_points_are_taken_as_long_as_nothing_was_placed(tmp_path: Path) -> None:
    opened(tmp_path).close()
    labels = Labels(tmp_path, ("left", "right", "top"))
    labels.close()
    assert known_points(tmp_path) == (("left", "right", "top"), ())


def test_a_full_disk_leaves_no_half_of_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = opened(tmp_path)
    first = labels.put("a.png", SIZE, entry(1.0))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="No space left"):
            labels.put("a.png", SIZE, entry(2.0, revision=1))
    assert labels.get("a.png") == first
    assert labels.put("a.png", SIZE, entry(3.0, revision=1)).revision == 2
    kill(labels)
    again = opened(tmp_path)
    assert again.get("a.png").instances[0].points[0][0] == 3.0
    again.close()
