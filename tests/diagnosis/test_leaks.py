"""Train/validation leaks: certain by pixels and by groups; similarity alone is only reported as such."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from test_similar import again, textures


def written(folder: Path, images: NDArray[np.uint8], labels: list[str] | None = None) -> None:
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    rows = [f"{number:03}.png,20,{20 + number % 9},30,40" for number in range(len(images))]
    (folder / "t.csv").write_text("\n".join(["image,tip_x,tip_y,top_x,top_y", *(labels or rows)]))


def leaks(ran: Any) -> dict[int, dict[str, Any]]:
    return {f["row"]: f for f in ran.json()["findings"] if f["check"] == "leak"}


@pytest.fixture
def alike(kptool: Any, in_tmp: Path) -> Path:
    """Sixteen pictures and near-duplicates of them, so that some validation images have one in the training images."""
    base = textures(16)
    written(in_tmp, np.concatenate([base, again(base)]))
    assert kptool("extract", "t.csv", "--size", 64, "--out", "o", "--val", 0.3).code == 0
    return in_tmp / "o" / "dataset.h5"


def test_likeness_is_no_proof_and_no_reason_for_exit_one(kptool: Any, alike: Path) -> None:
    ran = kptool("doctor", alike, "--json", "--html", "page.html")
    found = leaks(ran)
    assert found
    assert ran.code == 0
    assert not any(finding["certain"] for finding in found.values())
    assert all(f["detail"].startswith("similar to training row ") for f in found.values())
    assert ran.json()["alike_from"] == 0.74
    page = Path("page.html").read_text()
    assert "0 for certain" in page
    assert "0.74" in page


def test_groups_that_differ_are_not_contradicted_and_equal_ones_are_certain(kptool: Any, alike: Path) -> None:
    Path("apart.csv").write_text("row,group\n" + "\n".join(f"{row},{row}" for row in range(32)))
    apart = kptool("doctor", alike, "--groups", "apart.csv", "--json")
    assert (apart.code, leaks(apart)) == (0, {})
    Path("one.csv").write_text("row,group\n" + "\n".join(f"{row},{row % 16}" for row in range(32)))
    one = kptool("doctor", alike, "--groups", "one.csv", "--json")
    assert one.code == 1
    assert all(f["certain"] and "both are of group" in f["detail"] for f in leaks(one).values())


@pytest.mark.parametrize(("noise", "words"), [(0, "the same pixels"), (1, "almost the same pixels")])
def test_the_same_pixels_are_proof_whatever_the_groups_say(kptool: Any, in_tmp: Path, noise: int, words: str) -> None:
    base = textures(16)
    copies = base.astype(int) + np.random.default_rng(0).integers(-noise, noise + 1, base.shape)
    written(in_tmp, np.concatenate([base, copies.clip(0, 255).astype(np.uint8)]))
    Path("groups.csv").write_text("row,group\n" + "\n".join(f"{row},{row}" for row in range(32)))
    assert kptool("extract", "t.csv", "--size", 64, "--out", "o", "--val", 0.3, "--groups", "groups.csv").code == 0
    ran = kptool("doctor", "o/dataset.h5", "--json", "--html", "page.html")
    assert ran.code == 1
    found = leaks(ran)
    assert found
    for row, finding in found.items():
        assert finding["certain"]
        assert words in finding["detail"]
        assert f"although it is of group {row ^ 16}, this one of {row}" in finding["detail"]


def test_pictures_with_several_things_are_no_groups(kptool: Any, in_tmp: Path) -> None:
    """Two objects in one picture stay together; a picture is not a group that proves another one unrelated."""
    base = textures(12)
    rows = [f"{number:03}.png,20,{20 + number % 9},{20 + side},40" for number in range(24) for side in (1, 5)]
    written(in_tmp, np.concatenate([base, again(base)]), rows)
    ran = kptool("extract", "t.csv", "--crop", "picture", "--size", 64, "--out", "o", "--val", 0.3)
    assert ran.code == 0, ran.err
    said = kptool("doctor", "o/dataset.h5", "--json")
    assert said.json()["near_duplicates"] is None
    assert any("similar to training row" in finding["detail"] for finding in leaks(said).values())


def test_a_keypoint_that_nobody_labelled_is_of_no_row(kptool: Any, in_tmp: Path) -> None:
    rows = [f"{number:03}.png,20,{20 + number % 9},," for number in range(10)]
    written(in_tmp, textures(10), rows)
    assert kptool("extract", "t.csv", "--size", 64, "--out", "o").code == 0
    ran = kptool("doctor", "o/dataset.h5", "--json", "--html", "page.html", "--patch", "fix.csv")
    assert ran.code == 0
    mine = [f for f in ran.json()["findings"] if f["check"] == "unlabelled"]
    assert [(f["row"], f["sample"], f["detail"]) for f in mine] == [
        (None, None, "top is labelled in none of 10 images")
    ]
    assert "top is labelled in none of 10 images" in Path("page.html").read_text()
    assert "  top is labelled in none of 10 images" in kptool("doctor", "o/dataset.h5").out
    assert len(Path("fix.csv").read_text().splitlines()) == 1
