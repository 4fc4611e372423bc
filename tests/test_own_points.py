"""What people's own pictures and labels must never suffer: loss, silent or not, and sentences that do not say where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import kaggle_csv, tree
from label_files import write_coco, write_wide


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
