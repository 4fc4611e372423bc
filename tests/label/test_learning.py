"""Learning beside the labelling: when it begins, what it makes of the commands' answers, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kptool.base.errors import DataError
from kptool.label.commands import Commands, FailedError, StoppedError
from kptool.label.entries import Entry, Instance
from kptool.label.labels import Labels
from kptool.label.learning import Learning
from kptool.label.project import Project
from kptool.label.rounds import Round, gain

COUNT = 14
POINTS = ("tip", "base")


def instance(x: float) -> Instance:
    return Instance(((x, 5.0, 2), (x + 4, 9.0, 1)))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(COUNT):
        Image.new("L", (40, 30), 7 * i).save(folder / f"{i}.png")
    labels = Labels(folder, POINTS)
    yield Project.of(labels)
    labels.close()


def finish(project: Project, *numbers: int) -> None:
    for number in numbers:
        project.labels.put(f"{number}.png", (30, 40), Entry((instance(float(number)),), done=True))


class Answers:
    """Answers the commands as kptool does, without computing anything."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lines = folder, list[tuple[str, ...]]()
        self.rmse = 8.0
        self.trained, self.held = list[int](), list[list[str]]()

    def __call__(self, what: str, *line: str, codes: Any = (0,)) -> bytes:
        self.lines.append(line)
        return bytes(getattr(self, line[0])(*line[1:]))

    def extract(self, labels: str, *rest: str) -> bytes:
        document = json.loads(Path(labels).read_text())
        self.trained.append(len(document["images"]))
        self.held.append([image["file_name"] for image in document["images"] if image["split"] == "val"])
        assert all(image["kptool_done"] for image in document["images"])
        return b""

    def recommend(self, *rest: str) -> bytes:
        return b""

    def train(self, *rest: str) -> bytes:
        run = Path(rest[rest.index("--out") + 1])
        run.mkdir(parents=True)
        rows = [f"{epoch},{self.rmse + 2 - epoch},20" for epoch in (1, 2)]
        (run / "metrics.csv").write_text("\n".join(["epoch,rmse,mean_shape_rmse", *rows]) + "\n")
        return b""

    def predict(self, *rest: str) -> bytes:
        paths = [each for each in rest if each.endswith(".png")]
        images = []
        for path in paths:
            number = int(Path(path).stem)
            points = [{"name": n, "x": number, "y": 3, "score": number / 20, "radius90": 1.5} for n in POINTS]
            if number != 12:  # which cannot be read
                images.append({"file": path, "faces": [{"keypoints": points}] if number != 13 else []})
        return json.dumps({"images": images}).encode()

    def doctor(self, *rest: str) -> bytes:
        common = {"keypoint": "tip", "detail": "far from where the others have it"}
        found = [{"check": "label", "row": 2, **common}, {"check": "leak", "row": 1, **common}]
        found.append({"check": "unlabelled", "row": None, **common})
        return json.dumps({"findings": found}).encode()


@pytest.fixture
def commands(project: Project, monkeypatch: pytest.MonkeyPatch) -> Answers:
    made = Answers(project.labels.folder / "kptool")
    monkeypatch.setattr(Commands, "__call__", lambda self, *line, **options: made(*line, **options))
    return made


def until(check: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not check():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_begins_with_ten_finished_pictures(project: Project, commands: Answers) -> None:
    finish(project, *range(9))
    with Learning(project) as learning:
        learning.look(asked=True)
        finish(project, 9)
        learning.look()
        until(lambda: len(learning.rounds) == 1)
        assert commands.trained == [10]
        assert learning.next_at == 20
        learning.look()  # with eleven, not yet
        finish(project, 10)
        learning.look(asked=True)  # unless asked for
        until(lambda: len(learning.rounds) == 2)
    assert commands.trained == [10, 11]
    trainings = [line for line in commands.lines if line[0] == "train"]
    assert "--init" not in trainings[0]
    assert trainings[1][trainings[1].index("--init") + 1] == str(learning.run)


def test_pictures_that_are_kept_apart_are_never_trained_on(project: Project, commands: Answers) -> None:
    finish(project, *range(1, 11))
    with Learning(project) as learning:
        until(lambda: len(learning.rounds) == 1)
        finish(project, 0)
        learning.look(asked=True)
        until(lambda: len(learning.rounds) == 2)
    with Learning(Project(project.labels, project.names)) as again:
        finish(project, 11, 12, 13)
        again.look(asked=True)
        until(lambda: len(again.rounds) == 3)
    assert commands.held == [["1.png"], ["1.png"], ["1.png"]]
    assert commands.trained == [10, 11, 14]


def test_a_picture_that_is_gone_is_left_out(project: Project, commands: Answers) -> None:
    finish(project, *range(11))
    (project.labels.folder / "3.png").unlink()
    with Learning(project) as learning:
        until(lambda: len(learning.rounds) == 1)
    assert commands.trained == [10]


def test_any_error_is_said_and_labelling_goes_on(
    project: Project, commands: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(project, *range(10))
    monkeypatch.setattr(commands, "doctor", lambda *rest: b"{}")
    with Learning(project) as learning:
        until(lambda: bool(learning.failed) and not learning.commands.doing)
        assert "KeyError" in learning.failed
        monkeypatch.undo()
        monkeypatch.setattr(Commands, "__call__", lambda self, *line, **options: commands(*line, **options))
        learning.look(asked=True)
        until(lambda: len(learning.rounds) == 1)


def test_a_folder_of_the_user_s_is_left_alone(project: Project) -> None:
    mine = project.labels.folder / "kptool"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="not a folder of kptool label's"):
        Learning(project)
    Learning(project, enabled=False)


def test_proposals_are_no_labels_until_a_person_takes_them(project: Project, commands: Answers) -> None:
    finish(project, *range(10))
    with Learning(project) as learning:
        until(lambda: len(learning.rounds) == 1)
        state = learning.describe()
    assert state["suggested"] == ["13.png", "10.png", "11.png"]  # nothing found, then the least sure
    assert state["findings"] == [["2.png", "tip: far from where the others have it"]]
    assert state["rounds"][0] | {"seconds": 0} == {"images": 10, "rmse": 8.0, "mean_shape": 20.0, "seconds": 0}
    assert [row["rmse"] for row in state["epochs"]] == [9.0, 8.0]
    numbers = {name: i for i, name in enumerate(project.names)}
    shown = project.entry(numbers["11.png"])
    assert shown["instances"][0] == {
        "points": ((11.0, 3.0, 2), (11.0, 3.0, 2)),
        "box": None,
        "proposed": True,
        "radii": (1.5, 1.5),
    }
    assert shown["revision"] == 0
    assert "11.png" not in project.labels.entries
    assert [each["proposed"] for each in project.describe()["pictures"]][10:] == [True, True, False, False]
    finish(project, 11)
    assert project.entry(numbers["11.png"])["instances"][0]["points"][0] == (11.0, 5.0, 2)


def test_another_session_takes_up_what_was_learnt(project: Project, commands: Answers) -> None:
    finish(project, *range(10))
    with Learning(project) as learning:
        until(lambda: len(learning.rounds) == 1)
    again = Learning(Project(project.labels, project.names))
    assert again.rounds == learning.rounds
    assert again.project.proposals == project.proposals
    assert (again.suggested, again.findings) == (learning.suggested, learning.findings)
    (again.folder / "learning.json").write_text('{"rounds": 1}')
    assert "cannot be read" in Learning(Project(project.labels, project.names)).failed


def test_kptool_s_own_pictures_are_not_labelled(project: Project, commands: Answers) -> None:
    finish(project, *range(10))
    with Learning(project) as learning:
        until(lambda: len(learning.rounds) == 1)
    images = learning.folder / "data" / "images"
    images.mkdir(parents=True)
    Image.new("L", (8, 8)).save(images / "0.png")
    assert Project.of(project.labels).names == project.names


def test_a_failure_is_said_and_does_not_repeat(
    project: Project, commands: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(project, *range(10))
    monkeypatch.setattr(commands, "train", lambda *rest: (_ for _ in ()).throw(FailedError("training failed: no room")))
    with Learning(project) as learning:
        until(lambda: bool(learning.failed) and not learning.commands.doing)
        learning.look()
        time.sleep(0.1)
    assert learning.failed == "training failed: no room"
    assert commands.trained == [10]


def test_a_command_is_ended_with_the_labelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Commands(tmp_path)
    script = tmp_path / "wait"
    monkeypatch.setattr(commands, "line", lambda line: ["/bin/sh", "-c", f"echo $$ > {script}; exec sleep 60"])
    ended: list[str] = []

    def work() -> None:
        try:
            commands("waiting", "train")
        except StoppedError:
            ended.append("stopped")

    thread = threading.Thread(target=work)
    thread.start()
    until(script.exists)
    commands.stop()
    thread.join(timeout=20)
    assert ended == ["stopped"]
    with pytest.raises(StoppedError):
        commands("again", "train")


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_a_command_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    """As a training would, which takes minutes."""
    script = (
        "import sys, pathlib; from kptool.label.commands import Commands;"
        "commands = Commands(pathlib.Path(sys.argv[1]));"
        "commands.line = lambda line: [sys.executable, '-c', sys.argv[2]];"
        "commands('waiting', 'train')"
    )
    waits = (
        "import os, pathlib, runpy, sys, time; import kptool.cli.main as main;"
        "main.main = lambda: (pathlib.Path('pid').write_text(str(os.getpid())), time.sleep(60));"
        "runpy.run_module('kptool.label.child', run_name='__main__')"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), waits])
    place = tmp_path / "pid"
    until(lambda: place.exists() and bool(place.read_text()))
    child = int(place.read_text())
    parent.kill()
    parent.wait()
    until(lambda: not _runs(child))


def _runs(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{number}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")  # ended, and nobody asked


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match=r"^reading failed: .*nothing\.json"):
        Commands(tmp_path)("reading", "extract", "nothing.json", "--out", str(tmp_path / "data"))


def test_the_gain_follows_the_power_law() -> None:
    rounds = [Round(10, 8.0, 20.0, 1.0), Round(20, 4.0, 20.0, 1.0)]
    assert gain(rounds) == {"images": 20, "rmse": -2.0}
    assert gain(rounds[:1]) is None
    assert gain(rounds[::-1]) is None
    assert gain([rounds[0], Round(20, 9.0, 20.0, 1.0)]) is None
