"""Predictions as lines of JSON: written as they are made, continued after an end at any moment, shared by processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kptool.base.errors import DataError
from kptool.predict import stream
from kptool.predict.journal import Journal
from kptool.predict.output import PicturePrediction
from kptool.predict.predictor import Predictor
from kptool.system.workers import Workers

HEAD = {"kptool": "1", "model": "this", "boxes": [(1, 2)]}


def journal(path: Path, rank: int = 0, world: int = 1, **head: Any) -> Journal:
    return Journal(path, {**HEAD, **head}, ("a",), "instances", Workers(rank, world))


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def add(to: Journal, *names: str) -> None:
    for name in names:
        to.add(PicturePrediction(name, (4, 6), []))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(40):
        Image.new("L", (32, 32), number).save(folder / f"{number:02d}.png")
    (folder / "10.png").write_bytes(b"no picture")
    return folder


def test_the_lines_are_those_of_json(pictures: Path, run_folder: Path, kptool: Any, tmp_path: Path) -> None:
    """Those of every picture, in order, and the reason for the one that cannot be read."""
    asked = ("predict", pictures, "--model", run_folder)
    whole = kptool(*asked, "--json").json()
    ran = kptool(*asked, "--jsonl", tmp_path / "new" / "a.jsonl")
    assert ran.code == 2
    assert "the predictions for 40 pictures" in ran.out
    head, *lines = entries(tmp_path / "new" / "a.jsonl")
    assert head["coordinates"] == whole["coordinates"]
    assert [line for line in lines if "error" not in line] == whole["images"]
    assert [line for line in lines if "error" in line] == whole["failed"]


def test_a_run_that_was_killed_goes_on(
    pictures: Path, run_folder: Path, kptool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a line; what is there is neither predicted nor written again."""
    asked = ("predict", pictures, "--model", run_folder, "--jsonl")
    kptool(*asked, tmp_path / "whole.jsonl")
    whole = (tmp_path / "whole.jsonl").read_bytes()
    seen: list[str] = []
    batches = stream._batches

    def noted(some: Any) -> Any:
        for batch in batches(some):
            seen.extend(Path(picture.name).stem for picture in batch)
            yield batch

    monkeypatch.setattr(stream, "_batches", noted)
    end = whole.index(b"\n", whole.index(b"17.png"))
    for cut, first in ((end + 1, 18), (end - 5, 17), (30, 0), (0, 0)):
        (tmp_path / "cut.jsonl").write_bytes(whole[:cut])
        seen.clear()
        ran = kptool(*asked, tmp_path / "cut.jsonl")
        assert (tmp_path / "cut.jsonl").read_bytes() == whole
        assert seen == [f"{number:02d}" for number in range(first, 40)]
        assert (f"{first} of them from before" in ran.out) == (first > 0)
    ran = kptool(*asked, tmp_path / "cut.jsonl")
    assert "40 of them from before" in ran.out


@pytest.mark.parametrize("content", [b"1,2,3\n", b"[1]\n", b'{"a": 1}\n', b"my notes", b'{"model'])
def test_other_files_are_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a.jsonl is not a file of kptool's predictions; choose another --jsonl"):
        journal(path)
    assert path.read_bytes() == content


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    with journal(tmp_path / "a.jsonl") as first:
        add(first, "1.png")
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(b"nonsense\n")
    with pytest.raises(DataError, match="line 3 is not one of kptool's predictions"):
        journal(tmp_path / "a.jsonl")


def test_predictions_of_another_model_are_not_continued(tmp_path: Path) -> None:
    journal(tmp_path / "a.jsonl").close()
    journal(tmp_path / "a.jsonl", kptool="2").close()
    with pytest.raises(DataError, match=r"predictions with another model \(this, now that\)"):
        journal(tmp_path / "a.jsonl", model="that")


def test_processes_share_a_journal(tmp_path: Path) -> None:
    """Each writes its own file; the first collects them, with what a run of three processes left when it was killed."""
    path = tmp_path / "a.jsonl"
    left = journal(path, 2, 3)
    add(left, "5")
    left.close()
    with (tmp_path / "a.jsonl.part2").open("ab") as file:
        file.write(b'{"file": "6", "wi')
    wanted = [str(number) for number in range(8)]
    both = [journal(path, rank, 2) for rank in range(2)]
    parts = [each.left(wanted[rank::2]) for rank, each in enumerate(both)]
    assert parts == [["0", "2", "4", "6"], ["1", "3", "7"]]
    for each, names in zip(both, parts, strict=True):
        add(each, *names)
        each.close()
    both[0].collect()
    assert "8 pictures (1 of them from before)" in both[0].summary()
    assert sorted(entry["file"] for entry in entries(path)[1:]) == wanted
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]


def test_names_that_are_not_utf8_are_known_again(tmp_path: Path) -> None:
    with journal(tmp_path / "a.jsonl") as first:
        add(first, "a\udce9.png")
    with journal(tmp_path / "a.jsonl") as second:
        assert second.left(["a\udce9.png", "b.png"]) == ["b.png"]


@pytest.mark.parametrize(
    "option", [("--json",), ("--csv",), ("--coco", "c.json"), ("--heatmaps", "h.h5"), ("--fps", "5")]
)
def test_other_outputs_are_refused(refused: Any, pictures: Path, run_folder: Path, option: Sequence[str]) -> None:
    said = refused("predict", pictures, "--model", run_folder, "--jsonl", "a.jsonl", *option)
    assert f"--jsonl and {option[0]} cannot be combined" in said


def test_videos_are_refused(refused: Any, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"")
    assert "--jsonl is for pictures" in refused("predict", tmp_path / "clip.mp4", "--jsonl", tmp_path / "a.jsonl")


def test_a_place_that_cannot_be_written_is_named(
    refused: Any, pictures: Path, run_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    said = refused("predict", pictures, "--model", run_folder, "--jsonl", tmp_path / "file" / "a.jsonl")
    assert "cannot be written" in said
    assert "--jsonl" in said


def test_weights_decide_whether_it_is_the_same_model(run_folder: Path, tmp_path: Path) -> None:
    from kptool.predict import journal as journals

    predictor = Predictor(run_folder)
    with journals.opened(tmp_path / "a.jsonl", predictor, None, Workers()):
        pass
    predictor.weights = tmp_path / "other"
    predictor.weights.write_bytes(b"other")
    with pytest.raises(DataError, match="another weights"):
        journals.opened(tmp_path / "a.jsonl", predictor, None, Workers())
