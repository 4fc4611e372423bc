"""Atomic file writes: nothing is left half written, no temporary files remain, writers exclude each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kptool.base.errors import ConfigError, DataError
from kptool.system import files


def names(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir())


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with files.atomic(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    files.write_text(path, "new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_what_a_killed_process_left_is_swept_away_and_a_live_ones_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a [1].txt"
    code = (
        "import os, sys; from pathlib import Path; from kptool.system import files\n"
        "with files.atomic(Path(sys.argv[1])) as temporary: os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert len(names(tmp_path)) == 1
    with files.atomic(path) as mine:
        assert names(tmp_path) == [mine.name]
        mine.write_text("one")
        files.write_text(path, "two")  # while the first is being written
        assert mine.exists()
    assert names(tmp_path) == [path.name]
    assert path.read_text() == "one"


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from kptool.system import files\n"
        "with files.locked(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "new")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(ConfigError, match="another kptool is writing to"), files.locked(tmp_path / "new"):
            pass
        other.kill()
        other.wait()
        with files.locked(tmp_path / "new"):  # the lock died with its holder
            pass


def test_folders_change_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / folder.name).touch()
    files.swap(one, other)
    assert (names(one), names(other)) == (["other"], ["one"])
    monkeypatch.setattr(sys, "platform", "elsewhere")
    files.swap(one, other)
    assert (names(one), names(other)) == (["one"], ["other"])
    assert names(tmp_path) == ["one", "other"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"), files.atomic(tmp_path / "file" / "a.txt"):
        pass
    with pytest.raises(DataError, match="cannot be written"), files.locked(tmp_path / "file"):
        pass
