"""What a user sees of whole pictures: `show`, `info` and `recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.patches import Rectangle
from scene_data import some_scenes, write_scenes

from kptool.advise import facts
from kptool.cache.store import Cache
from kptool.report import scene_figures


@pytest.fixture
def cache(kptool: Any, tmp_path: Path) -> Path:
    crowd = {"id": 90, "image_id": 0, "category_id": 1, "iscrowd": 1, "bbox": [100, 0, 90, 90], "keypoints": [0] * 9}
    labels = write_scenes(tmp_path / "in", some_scenes(6), annotations=[crowd])
    ran = kptool("extract", labels, "--out", tmp_path / "out", "--size", 16, "--heatmaps", "none", "--val", 0)
    assert ran.code == 0, ran.err
    return tmp_path / "out" / "dataset.h5"


def test_a_figure_shows_every_box_and_where_nothing_is_learnt(cache: Path) -> None:
    with Cache(cache) as opened:
        figure = scene_figures.scenes(opened)
    boxes = [patch for axis in figure.axes for patch in axis.patches if isinstance(patch, Rectangle)]
    assert len(boxes) == 10
    assert sum(box.get_linestyle() != "-" for box in boxes) == 1
    assert "1 areas" not in figure.small_print
    assert "Dashed: 1 area from which it learns nothing" in figure.small_print


def test_show_info_and_recommend_say_that_there_is_something_to_find(kptool: Any, cache: Path, faces: Path) -> None:
    wrote = kptool("show", cache, "--out", cache.with_name("a.png"), "--json").json()["pictures"]
    assert wrote[-1].endswith("a-scenes.png")
    assert "6, for a finder to learn where instances are" in kptool("info", cache).out
    with Cache(cache) as opened:
        assert facts.Facts.of(opened).scenes == 6
    assert "for a finder" not in kptool("info", faces).out
