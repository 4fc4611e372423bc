"""What people's own pictures and labels must never suffer: loss, silent or not, and sentences that do not say where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import kaggle_csv, tree
from label_files import pictures, put, write_coco, write_wide

from kptool import convert, sources


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_an_extraction_never_replaces_what_it_is_made_from(
    kptool: Any, refused: Any, in_tmp: Path, force: list[str]
) -> None:
    assert kptool("convert", write_coco(in_tmp), "--to", "csv", "--out", "orig").code == 0
    before = tree(in_tmp / "orig")
    said = refused("extract", "orig/keypoints.csv", "--out", "orig", "--size", 32, *force)
    assert "would be lost" in said
    assert "--out" in said
    assert "--force" not in said
    assert tree(in_tmp / "orig") == before


def test_originals_are_known_through_links_and_other_ways_to_write_a_path(refused: Any, in_tmp: Path) -> None:
    (in_tmp / "images").mkdir()
    table = write_wide(in_tmp / "images")
    before = tree(in_tmp)
    (in_tmp / "link").symlink_to(in_tmp)
    assert "would be lost" in refused("extract", table, "--out", "link/images/..", "--force")
    assert tree(in_tmp) == before
    (in_tmp / "images" / "fixes.csv").write_text("row,action\n")
    assert "fixes.csv of the source would be lost" in refused(
        "extract", "--out", ".", "--force", "--patch", "images/fixes.csv"
    )


def test_a_source_beside_the_extraction_is_no_obstacle(kptool: Any, in_tmp: Path) -> None:
    kaggle_csv(in_tmp / "training.csv")
    for force in ([], ["--force"]):
        assert kptool("extract", "training.csv", "--out", ".", *force).code == 0
    assert (in_tmp / "training.csv").is_file()


@pytest.mark.parametrize("form", ["yolo", "coco", "csv"])
def test_pictures_that_differ_in_suffix_or_folder_keep_their_own_labels(tmp_path: Path, form: str) -> None:
    names = ("a.png", "a.jpg", "below/a.png", "000002-a.png", "B.png", "b.png")
    for folder in ("", "below"):
        pictures(tmp_path / folder, tuple(Path(name).name for name in names))
    lines = [f"{name},{10 + 5 * k},{20 + 2 * k}" for k, name in enumerate(names)]
    table = put(tmp_path / "points.csv", "\n".join(["image,tip_x,tip_y", *lines]))
    done = convert.convert(table, tmp_path / "out", form, sources.Opening())
    assert done.pictures == 6
    path, reader = sources.find_reader(done.file)
    back = sources.read_labels(path, reader, sources.Opening())[0]
    assert len({thing.picture for thing in back.things}) == 6
    found = sorted(tuple(thing.keypoints[0].round(3).tolist()) for thing in back.things)
    assert found == [(10 + 5 * k, 20 + 2 * k) for k in range(6)]
