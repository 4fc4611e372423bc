"""DeepLabCut's h5 files, of one animal and of several: read without PyTables, refused where they are not as expected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from label_files import pictures, put

from kptool.base.errors import DataError
from kptool.data.formats import pandas_h5
from kptool.data.sources import find_reader, find_source
from kptool.datasets import deeplabcut

HEAD = "scorer,me,me,me,me\nbodyparts,tip,tip,base,base\ncoords,x,y,x,y\n"


def write_h5(path: Path, heads: tuple[bytes, ...] = (b"scorer", b"bodyparts", b"coords"), **changes: Any) -> Path:
    """What `pandas.DataFrame.to_hdf(path, key="df_with_missing")` writes for two frames and two body parts."""
    parts: dict[str, Any] = {
        "axis0_level0": np.array([b"me"]), "axis0_label0": np.zeros(4, np.int8),
        "axis0_level1": np.array([b"base", b"tip"]), "axis0_label1": np.array([1, 1, 0, 0], np.int8),
        "axis0_level2": np.array([b"x", b"y"]), "axis0_label2": np.array([0, 1, 0, 1], np.int8),
        "axis1_level0": np.array([b"labeled-data"]), "axis1_label0": np.zeros(2, np.int8),
        "axis1_level1": np.array([b"vid1"]), "axis1_label1": np.zeros(2, np.int8),
        "axis1_level2": np.array([b"a.png", b"b.jpg"]), "axis1_label2": np.array([0, 1], np.int8),
        "block0_values": np.array([[1.5, 2, 3, 4], [5, 6, np.nan, np.nan]]),
    }  # fmt: skip
    parts |= {name.replace("axis0", "block0_items"): value for name, value in parts.items() if name.startswith("axis0")}
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs.update({"pandas_type": b"frame", "nblocks": 1})
        for name, value in (parts | changes).items():
            if value is not None:
                group[name] = value
        for k, name in enumerate(heads):
            group[f"axis0_level{k}"].attrs["name"] = name
    return path


def test_an_h5_without_its_csv_is_read_and_with_it_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "labeled-data" / "vid1"
    pictures(folder)
    path = write_h5(folder / "CollectedData_me.h5")
    assert find_reader(path)[1] is deeplabcut.DATASET
    for given in (path, tmp_path, folder):
        source = find_source(given)
        block = next(source.blocks())
        assert source.skeleton.names == ("tip", "base")
        assert block.visibility.tolist() == [[2, 2], [2, 0]]
        assert block.keypoints[0].tolist() == [[1.5, 2], [3, 4]]
    put(path.with_suffix(".csv"), HEAD + "labeled-data/vid1/a.png,7,8,9,9\n")
    source = find_source(path)
    assert source.total == 1
    assert source.notes[0] == "CollectedData_me.csv is read instead of CollectedData_me.h5 beside it"


def test_an_h5_of_several_animals_has_an_instance_for_each(tmp_path: Path) -> None:
    levels = [b"me"], [b"m1", b"m2", b"single"], [b"corner", b"tip"], [b"x", b"y"]
    labels = [0] * 6, [0, 0, 1, 1, 2, 2], [1, 1, 1, 1, 0, 0], [0, 1] * 3
    changes: dict[str, Any] = {"block0_values": np.array([[1.5, 2, 3, 4, 5, 6], [np.nan, np.nan, 7, 8, 5, 6]])}
    for k, (level, label) in enumerate(zip(levels, labels, strict=True)):
        for axis in ("axis0", "block0_items"):
            changes |= {f"{axis}_level{k}": np.array(level), f"{axis}_label{k}": np.array(label, np.int8)}
    path = tmp_path / "CollectedData_me.h5"
    file = deeplabcut.read(write_h5(path, (b"scorer", b"individuals", b"bodyparts", b"coords"), **changes))
    assert file.names == ("tip",)
    places = [(thing.picture[-5:], thing.keypoints.tolist()) for thing in file.things]
    assert places == [("a.png", [[1.5, 2]]), ("a.png", [[3, 4]]), ("b.jpg", [[7, 8]])]
    assert "2 labels of body parts that belong to no animal (corner) are not used" in " ".join(file.notes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"block0_values": np.zeros((3, 4))}, "its values are float64"),
        ({"block0_values": np.zeros((2, 4), "S2")}, "its values are"),
        ({"axis1_level2": np.array([b"a.png"])}, "not a table of pandas'"),
        ({"axis0_label1": None}, "axis0_label1 is not in it"),
        ({"axis1_level0": h5py.ExternalLink("other.h5", "/x")}, "axis1_level0 is not in it"),
        ({"block0_values": h5py.SoftLink("/df_with_missing/axis0_label0")}, "block0_values is not in it"),
    ],
)
def test_h5_of_other_layouts_are_refused_with_the_fix(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = write_h5(tmp_path / "CollectedData_me.h5", **changes)
    with pytest.raises(ValueError, match=says):
        pandas_h5.rows(path)


def test_an_h5_of_pickled_columns_is_never_opened(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "CollectedData_me.h5")
    with h5py.File(path, "a") as file:
        file["df_with_missing"].attrs["pandas_type"] = b"frame_table"
    with pytest.raises(DataError, match=r"pickled \(pandas' table format\), which kptool never opens; use the csv"):
        find_source(path)


def test_a_damaged_h5_is_refused(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "CollectedData_me.h5")
    whole = path.read_bytes()
    assert json.dumps(pandas_h5.rows(path)[0]) == '["scorer", "", "", "me", "me", "me", "me"]'
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        deeplabcut.read(path)
