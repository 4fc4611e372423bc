"""Predictions as lines of JSON: written as they are made, continued after an end at any moment, shared by processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kptool.base.errors import ConfigError, DataError
from kptool.predict import stream
from kptool.predict.journal import Journal
from kptool.predict.output import PicturePrediction
from kptool.predict.predictor import Predictor
from kptool.system.workers import Workers

HEAD = {"kptool": "1", "model": "this", "weights": "ff", "boxes": [(1, 2)]}


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
    (pictures / "10.png").rename(tmp_path / "broken.png")
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
    names = [entry["file"][-6:-4] for entry in entries(tmp_path / "whole.jsonl")[1:]]
    end = whole.index(b"\n", whole.index(b"17.png"))
    for cut, first in ((end + 1, names.index("18")), (end - 5, names.index("17")), (30, 0), (0, 0)):
        (tmp_path / "cut.jsonl").write_bytes(whole[:cut])
        seen.clear()
        ran = kptool(*asked, tmp_path / "cut.jsonl")
        assert (tmp_path / "cut.jsonl").read_bytes() == whole
        assert seen == names[first:]
        assert (f"{first} of them from before" in ran.out) == (first > 0)
    ran = kptool(*asked, tmp_path / "cut.jsonl")
    assert "39 of them from before" in ran.out
    (tmp_path / "broken.png").rename(pictures / "10.png")


def test_a_picture_that_could_not_be_read_is_tried_again(run_folder: Path, kptool: Any, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("L", (32, 32), 9).save(tmp_path / name)
    good = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(b"half of it")
    asked = ("predict", tmp_path / "a.png", tmp_path / "b.png", "--model", run_folder, "--jsonl", tmp_path / "j.jsonl")
    assert kptool(*asked).code == 2
    assert kptool(*asked).code == 2
    (tmp_path / "b.png").write_bytes(good)
    ran = kptool(*asked)
    assert ran.code == 0
    assert "2 pictures (1 of them from before)" in ran.out
    assert ["error" in entry for entry in entries(tmp_path / "j.jsonl")[1:]] == [False, True, True, False]
    assert "2 pictures (2 of them from before)" in kptool(*asked).out


def test_names_in_another_folder_are_other_pictures(
    run_folder: Path, kptool: Any, refused: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        Image.new("L", (32, 32), 9).save(tmp_path / name / "a.png")
    monkeypatch.chdir(tmp_path / "one")
    asked = ("predict", "a.png", "--model", run_folder, "--jsonl", tmp_path / "j.jsonl")
    assert kptool(*asked).code == 0
    monkeypatch.chdir(tmp_path / "two")
    assert "another folder" in refused(*asked)


def test_a_journal_has_one_writer(tmp_path: Path) -> None:
    """Also if it writes with several processes."""
    for world in (1, 2):
        path = tmp_path / f"{world}.jsonl"
        with journal(path, 0, world), pytest.raises(ConfigError, match=r"another kptool is writing to .*--jsonl"):
            journal(path)
        with journal(path):
            pass


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


def test_predictions_of_other_weights_are_not_continued(tmp_path: Path) -> None:
    journal(tmp_path / "a.jsonl").close()
    journal(tmp_path / "a.jsonl", kptool="2", model="the same, elsewhere").close()
    with pytest.raises(DataError, match=r"predictions with another weights \(ff, now ee\)"):
        journal(tmp_path / "a.jsonl", weights="ee")


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
        each.finish()
    assert both[0].collect(wanted) == "the predictions for 8 pictures (1 of them from before)"
    assert sorted(entry["file"] for entry in entries(path)[1:]) == wanted
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]
    with pytest.raises(DataError, match="lacks 1 of 9 pictures, such as 8"):
        both[0].collect([*wanted, "8"])
    for each in both:
        each.close()


@pytest.mark.parametrize("line", [b'{"file": [1]}', b'{"a": 1}', b"[2]"])
def test_lines_that_are_no_predictions_are_named(tmp_path: Path, line: bytes) -> None:
    journal(tmp_path / "a.jsonl").close()
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(DataError, match="line 2 is not one of kptool's predictions"):
        journal(tmp_path / "a.jsonl")


def test_names_that_are_not_utf8_are_known_again(tmp_path: Path) -> None:
    with journal(tmp_path / "a.jsonl") as first:
        add(first, "a\udce9.png")
    with journal(tmp_path / "a.jsonl") as second:
        assert second.left(["a\udce9.png", "b.png"]) == ["b.png"]


@pytest.mark.parametrize(
    "option", [("--json",), ("--csv",), ("--out", "o"), ("--coco", "c.json"), ("--heatmaps", "h.h5"), ("--fps", "5")]
)
def test_other_outputs_are_refused(refused: Any, pictures: Path, run_folder: Path, option: Sequence[str]) -> None:
    said = refused("predict", pictures, "--model", run_folder, "--jsonl", "a.jsonl", *option)
    assert f"--jsonl and {option[0]} cannot be combined" in said


def test_what_is_no_file_of_a_picture_is_refused(refused: Any, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"")
    for name in (tmp_path / "clip.mp4", "-"):
        assert "--jsonl is for files of pictures" in refused("predict", name, "--jsonl", tmp_path / "a.jsonl")


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
    with journals.opened(tmp_path / "a.jsonl", predictor, None, (), Workers()):
        pass
    predictor.weights = tmp_path / "other"
    predictor.weights.write_bytes(b"other")
    with pytest.raises(DataError, match="another weights"):
        journals.opened(tmp_path / "a.jsonl", predictor, None, (), Workers())
