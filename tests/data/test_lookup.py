"""Matching names to picture files: never in an unrelated folder, and never by an unreported guess."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import FILES, NAMES, POINTS, SEEN, UNNAMED, WRITERS, pictures, put, write_label_studio, write_pts
from PIL import Image

from kptool.base.errors import DataError
from kptool.cache.store import Cache
from kptool.data import convert
from kptool.data.lookup import Located, locate
from kptool.data.sources import Opening, find_source


def made(folder: Path, *names: str) -> Path:
    for name in names:
        put(folder / name, "")
    return folder


def find(folder: Path, *names: str) -> Located:
    return locate(folder.parent / "labels.csv", names, folder)


def places(folder: Path, *names: str) -> list[str]:
    return [place.relative_to(folder).as_posix() for place in find(folder, *names).places]


def table(path: Path, *names: str) -> Path:
    rows = [f"{name},{10 + 5 * k},{20 + 2 * k}" for k, name in enumerate(names)]
    return put(path, "\n".join(["image,tip_x,tip_y", *rows]))


def test_names_that_lead_to_files_mean_these(tmp_path: Path) -> None:
    folder = made(tmp_path / "images", "a.png", "cam1/a.png", "cam2/a.png")
    found = find(
        folder, "a.png", "cam1/a.png", "./cam2//a.png", "cam2\\a.png", "cam1/../a.png", str(folder / "cam1" / "a.png")
    )
    expected = ["a.png", "cam1/a.png", "cam2/a.png", "cam2/a.png", "a.png", "cam1/a.png"]
    assert found == Located([folder / name for name in expected], ())


def test_the_longest_tail_decides(tmp_path: Path) -> None:
    folder = made(tmp_path / "images", "cam1/0.png", "cam2/0.png", "cam2/day1/0.png", "cam3/day1/0.png")
    assert places(folder, "C:\\data\\cam2\\0.png", "/x/cam3/day1/0.png", "y/cam1/0.png") == [
        "cam2/0.png",
        "cam3/day1/0.png",
        "cam1/0.png",
    ]
    assert find(folder, "/x/cam3/day1/0.png").notes[1:] == ()
    with pytest.raises(
        DataError, match=r"2 pictures called 0\.png .* '/x/day1/0\.png' may be cam2/day1/0\.png or cam3/day"
    ):
        find(folder, "/x/day1/0.png")
    assert places(tmp_path / "images", "/elsewhere/images/cam1/0.png") == ["cam1/0.png"]


@pytest.mark.parametrize("on_disk", [("cam1",), ("cam1", "cam3")])
def test_a_missing_folder_does_not_get_the_pictures_of_another(tmp_path: Path, on_disk: tuple[str, ...]) -> None:
    folder = made(tmp_path / "images", *(f"{cam}/{k}.png" for cam in on_disk for k in range(6)))
    names = [f"{cam}/{k}.png" for cam in (*on_disk, "cam2") for k in range(4)]
    with pytest.raises(DataError, match=rf"4 of {len(names)} pictures are not in .*'cam2/0\.png'; .*--images"):
        find(folder, *names)
    with pytest.raises(DataError, match=r"1 of 5 pictures are not in .*'D:/cam2/5|2 pictures called 5\.png"):
        find(folder, *(f"D:/cam1/{k}.png" for k in range(4)), "D:/cam2/5.png")


def test_two_names_for_one_file_are_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "images", "0.png", "1.png")
    with pytest.raises(DataError, match=r"'cam1/0\.png' and 'cam2/0\.png' both lead to 0\.png in"):
        find(folder, "cam1/0.png", "cam1/1.png", "cam2/0.png")
    with pytest.raises(DataError, match=r"both lead to 1\.png"):
        find(folder, "1.png", "1.PNG")
    assert find(folder, "1.png", "./1.png", "1.png").places == [folder / "1.png"] * 3


def test_what_is_found_by_its_last_name_alone_is_told(tmp_path: Path) -> None:
    folder = made(tmp_path / "images", "flat/0.png", "flat/1.png", "2.png")
    found = find(folder, "/home/me/cam1/0.png", "1.png", "2.png")
    assert found.notes == (
        "2 pictures are found by the last part of the name alone, the first is '/home/me/cam1/0.png' as flat/0.png",
    )


def test_letter_case_and_forms_of_unicode_may_differ_where_one_file_fits(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "é.png")
    folder = made(tmp_path / "images", "a.png", apart, "Sub/b.jpg", "c.png", "C.png")
    found = find(folder, "a.PNG", "é.png", "sub/B.JPG", "c.png", "C.png")
    assert found.places == [folder / name for name in ("a.png", apart, "Sub/b.jpg", "c.png", "C.png")]
    assert found.notes[0] == "2 pictures are found in another letter case, the first is 'a.PNG' as a.png"
    assert found.notes[1].startswith("1 picture is found in another form of Unicode, the first is 'é.png' as")
    assert len(found.notes) == 2
    with pytest.raises(DataError, match=r"2 pictures called C\.PNG below"):
        find(folder, "C.PNG")
    assert places(made(tmp_path / "more", "x/A.png", "y/a.png"), "a.png") == ["y/a.png"]  # exact name first


def test_label_studios_prefix_may_be_there_or_not(tmp_path: Path) -> None:
    folder = made(tmp_path / "images", "0123abcd-a.png", "b.png", "89abcdef-c.png", "c.png", "zzzzzzzz-d.png")
    found = find(folder, "a.png", "ffffffff-b.png", "c.png", "89ABCDEF-c.png")
    assert [p.name for p in found.places] == ["0123abcd-a.png", "b.png", "c.png", "89abcdef-c.png"]
    assert found.notes[0] == (
        "2 pictures are found with or without Label Studio's prefix, the first is 'a.png' as 0123abcd-a.png"
    )
    for name in ("d.png", "11111111-a.png"):  # no prefix, and the prefix of another upload
        with pytest.raises(DataError, match="1 of 1 pictures are not in"):
            find(folder, name)
    twice = made(tmp_path / "twice", "00000000-a.png", "11111111-a.png", "b.png")
    with pytest.raises(DataError, match=r"2 pictures called a\.png below"):
        find(twice, "a.png")
    with pytest.raises(DataError, match=r"both lead to b\.png"):
        find(twice, "00000000-b.png", "11111111-b.png")


def test_uploads_of_label_studio_are_found_by_either_name(tmp_path: Path) -> None:
    export = write_label_studio(tmp_path)
    assert find_source(export).total == 2
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).rename(tmp_path / f"0123abcd-{name}")
    assert [place.name for place in find_source(export).originals or ()] == ["0123abcd-a.png", "0123abcd-b.jpg"]


def test_links_inside_the_folder_are_followed_and_no_name_leads_out(tmp_path: Path) -> None:
    made(tmp_path / "store", "day1/0.png", "1.png")
    folder = made(tmp_path / "ds", "here.png")
    (folder / "images").symlink_to("../store")
    (folder / "images" / "loop").symlink_to(".")
    assert places(folder, "images/1.png", "/x/day1/0.png") == ["images/1.png", "images/day1/0.png"]
    made(tmp_path, "outside.png")
    for name in (
        "../outside.png",
        str(tmp_path / "outside.png"),
        "images/../../outside.png",
        "here.png/../../outside.png",
    ):
        with pytest.raises(DataError, match="pictures are not in"):
            find(folder, name)


def test_pictures_without_labels_are_counted(tmp_path: Path) -> None:
    folder = made(
        tmp_path / "images", "a.png", "b.png", "deep/c.JPG", ".hidden.png", "notes.txt", "out/dataset.h5", "out/d.png"
    )
    assert find(folder, "a.png").notes == (
        f"2 pictures in {folder} have no labels and are not used, the first is b.png",
    )
    assert find(folder, "a.png", "b.png").notes == (
        f"1 picture in {folder} has no labels and is not used, the first is c.JPG",
    )
    assert find(folder, "a.png", "b.png", "deep/c.JPG").notes == ()
    beside = locate(tmp_path / "labels.csv", ["images/deep/c.JPG"], tmp_path)
    assert beside.notes == ()  # other files beside a label file need not belong to it
    (folder / "link.png").symlink_to("a.png")
    assert find(folder, "a.png", "b.png", "deep/c.JPG").notes == ()


def test_pts_take_their_pictures_from_where_images_says(tmp_path: Path) -> None:
    labels = write_pts(tmp_path / "labels")
    assert find_source(labels).pictures == ["a.png", "b.jpg"]
    Image.new("L", (100, 90), 200).save(tmp_path / "labels" / "a.png")
    pictures(tmp_path / "elsewhere", ("a.jpg", "b.png"))
    source = find_source(labels, Opening(images=tmp_path / "elsewhere", size=(90, 100)))
    assert source.pictures == ["a.jpg", "b.png"]
    block = next(source.blocks())
    assert block.images[0].min() < 50
    assert np.abs(block.keypoints - POINTS).max() < 1e-4
    for name in ("a.png", "b.jpg"):
        (labels / name).unlink()
    with pytest.raises(DataError, match=r"2 of 2 pictures are not in .*'a\.\*'; say where they are with --images"):
        find_source(labels)


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "sleap"])  # whose file holds its pictures
def test_every_format_takes_its_pictures_from_where_images_says(name: str, tmp_path: Path) -> None:
    labels = WRITERS[name](tmp_path / "in")
    for place in [p for p in (tmp_path / "in").rglob("*") if p.suffix in (".png", ".jpg")]:
        place.unlink()
    with pytest.raises(DataError):
        find_source(labels)
    files = FILES.get(name, ("a.png", "b.jpg"))
    pictures(tmp_path / "far" / "deep", files)
    source = find_source(labels, Opening(images=tmp_path / "far", size=(90, 100), crop="picture"))
    assert source.originals == [tmp_path / "far" / "deep" / file for file in files]
    block = next(source.blocks())
    order = range(4) if name in UNNAMED else [source.skeleton.names.index(part) for part in NAMES]
    known = (SEEN > 0) & (block.visibility[:, order] > 0)
    assert known.sum() == 7
    assert np.abs(block.keypoints[:, order] - POINTS)[known].max() < 1e-4


def test_convert_finds_pictures_in_the_same_way(tmp_path: Path) -> None:
    pictures(tmp_path / "cam1", ("0.png", "1.png"))
    labels = table(tmp_path / "t.csv", "cam1/0.png", "cam2/0.png")
    with pytest.raises(DataError, match=r"1 of 2 pictures .*'cam2/0\.png'"):
        convert.convert(labels, tmp_path / "out", "csv", Opening())
    assert not (tmp_path / "out").exists()
    done = convert.convert(table(tmp_path / "t.csv", "cam1/0.PNG"), tmp_path / "out", "csv", Opening())
    assert done.notes[0] == "1 picture is found in another letter case, the first is 'cam1/0.PNG' as cam1/0.png"


def test_extract_says_what_was_found_how(kptool: Any, in_tmp: Path) -> None:
    pictures(in_tmp, tuple(f"{k}.png" for k in range(4)))
    table(in_tmp / "t.csv", "0.PNG", "1.png", "x/2.png")
    ran = kptool("extract", "t.csv", "--size", 64, "--out", "o", "--json")
    assert ran.json()["notes"] == [
        "1 picture is found in another letter case, the first is '0.PNG' as 0.png",
        "1 picture is found by the last part of the name alone, the first is 'x/2.png' as 2.png",
        "1 picture in . has no labels and is not used, the first is 3.png",
        "pictures are taken whole",
    ]
    assert all(f"kptool: {note}" in ran.err for note in ran.json()["notes"])
    with Cache(Path("o/dataset.h5")) as cache:
        assert len(cache) == 3


def test_one_file_under_two_names_is_one_group(tmp_path: Path) -> None:
    pictures(tmp_path, ("a.png", "b.png"))
    (tmp_path / "link.png").symlink_to("a.png")
    source = find_source(table(tmp_path / "t.csv", "a.png", "b.png", "link.png"))
    assert source.groups is not None
    assert source.groups.tolist() == [0, 1, 0]
