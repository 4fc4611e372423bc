"""Tests of example.py; run them with pytest."""

from __future__ import annotations

from pathlib import Path

import pytest

from kptool import DataError, plugins

plugins.use(Path(__file__).with_name("example.py"))


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.example"
    path.write_text("keypoints nose tail\na.png 10.5 20 - -\n")
    reader = plugins.load("datasets", "example")
    assert reader.matches(path)
    found = reader.read(path, None)
    assert found.names == ("nose", "tail")
    assert found.things[0].picture == "a.png"
    assert found.things[0].keypoints.tolist() == [[10.5, 20.0], [0.0, 0.0]]
    assert found.things[0].visibility.tolist() == [2, 0]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.example"
    path.write_text("keypoints nose tail\na.png 10.5\n")
    with pytest.raises(DataError, match=r"labels\.example, line 2"):
        plugins.load("datasets", "example").read(path, None)
