"""All files below a folder: symbolic links are followed, and each folder is visited once."""

from __future__ import annotations

from pathlib import Path

import pytest

from kptool.base.errors import DataError
from kptool.system import walking
from kptool.system.walking import files_below


def made(folder: Path, *names: str) -> Path:
    for name in names:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    return folder


def below(folder: Path, **options: str) -> list[str]:
    return sorted(place.relative_to(folder).as_posix() for place in files_below(folder, **options))


def test_links_to_folders_and_files_are_followed(tmp_path: Path) -> None:
    made(tmp_path / "store", "train/a.png", "b.png")
    folder = made(tmp_path / "ds", "c.png")
    (folder / "images").symlink_to("../store")
    (folder / "d.png").symlink_to("c.png")
    (folder / "gone.png").symlink_to("nowhere")
    assert below(folder) == ["c.png", "d.png", "images/b.png", "images/train/a.png"]
    assert below(folder / "images") == ["b.png", "train/a.png"]


def test_a_folder_is_walked_once_and_by_its_own_name(tmp_path: Path) -> None:
    folder = made(tmp_path / "ds", "real/a.png", "deep/er/b.png")
    (folder / "again").symlink_to("real")
    (folder / "deep" / "up").symlink_to("../..")
    (folder / "self").symlink_to(".")
    assert below(folder) == ["deep/er/b.png", "real/a.png"]


def test_hidden_files_and_other_peoples_output_are_passed_over(tmp_path: Path) -> None:
    folder = made(tmp_path, "a.png", "._a.png", ".git/b.png", "out/dataset.h5", "out/images/0.png", "dataset.h5")
    assert below(folder, leave_out="dataset.h5") == ["a.png", "dataset.h5"]


def test_a_walk_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "_MAX_FILES", 3)
    with pytest.raises(DataError, match="more than 3 files; name a smaller folder"):
        list(files_below(made(tmp_path, "a", "b", "c/d", "c/e")))
