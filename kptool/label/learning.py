"""A model that is trained beside the labelling: on the finished pictures, again whenever there are twice as many.

Every step is a kptool command in a process of its own, at a low priority, on a copy of the labels: what is extracted, trained
and predicted lies in a folder of its own below the pictures'. Proposals are no labels before a person accepts them.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kptool.base.errors import DataError
from kptool.label.entries import entry_of
from kptool.label.project import MARK, Project
from kptool.label.rounds import Round, best_epoch, gain, proposed, sentence, sureness
from kptool.system.files import write_text
from kptool.system.text import read_json

FIRST = 10
"""Finished pictures before the first training; each further one waits for twice as many as the one before."""
_SHORTEST, _LONGEST, _PER_PICTURE = 60, 900, 4
"""Seconds of a training: at least, at most, and for every finished picture."""
_PATIENCE = 30
"""Seconds that a command may take to end."""
_AHEAD, _SUGGESTED = 200, 20
"""Open pictures that are predicted after a training, and how many of them are suggested."""
_OF_SPLITS = ("leak", "duplicate")
"""The doctor's checks of how pictures are divided, which is not the labels' fault."""
_LOG, _STATE, _FRESH = "learning.log", "learning.json", "run-new"


class StoppedError(Exception):
    """The labelling ends, and the command with it."""


class FailedError(Exception):
    """A command failed, with this message."""


@dataclass
class Learning:
    """Trains on a project's finished pictures in a thread of its own, if `enabled`, as a context.

    folder: where its files are. proposals: the instances of open pictures by the last model, by the pictures' names. suggested:
    names of open pictures, those first that teach most. findings: (name, sentence) of finished ones that the doctor doubts.
    """

    project: Project
    enabled: bool = True
    doing: str = ""
    failed: str = ""
    rounds: list[Round] = field(default_factory=list)
    suggested: tuple[str, ...] = ()
    findings: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        self.folder = self.project.labels.folder / "kptool"
        self._due, self._stopped, self._asked = threading.Event(), False, False
        self._process: subprocess.Popen[bytes] | None = None
        self._mutex, self._thread = threading.Lock(), threading.Thread(target=self._work, daemon=True)
        self._tried = 0
        self._remember()

    @property
    def run(self) -> Path:
        """The run folder of the last model."""
        return self.folder / "run"

    def __enter__(self) -> Learning:
        if self.enabled:
            self._thread.start()
            self.look()
        return self

    def look(self, *, asked: bool = False) -> None:
        """Learn, if it is time, or `asked` for."""
        self._asked = self._asked or asked
        self._due.set()

    def __exit__(self, *error: object) -> None:
        """End, and the command that is running."""
        self._stopped = True
        self._due.set()
        with self._mutex:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
        if self.enabled:
            self._thread.join(timeout=_PATIENCE)

    def describe(self) -> dict[str, Any]:
        """What the page shows, as JSON."""
        return {
            "enabled": self.enabled,
            "doing": self.doing,
            "failed": self.failed,
            "next": self.next_at,
            "epochs": self._epochs(),
            "rounds": [vars(each) for each in self.rounds],
            "gain": gain(self.rounds),
            "suggested": list(self.suggested),
            "findings": [list(each) for each in self.findings],
            "line": self.line if self.run.is_dir() else "",
        }

    @property
    def next_at(self) -> int:
        """Finished pictures at which the next training begins."""
        last = max([self._tried, *(each.images for each in self.rounds)])
        return max(FIRST, 2 * last)

    @property
    def line(self) -> str:
        """How the last model is used."""
        return f"kptool predict newphotos --model {self.run}"

    def _work(self) -> None:
        while not self._stopped:
            self._due.wait()
            self._due.clear()
            count = len(self._finished())
            if self._stopped or not (count >= self.next_at or (self._asked and count >= FIRST)):
                continue
            self._asked, self._tried, self.failed = False, count, ""
            try:
                self._learn(count)
            except StoppedError:
                return
            except (FailedError, OSError, DataError) as error:
                self.failed = str(error)
            self.doing = ""

    def _learn(self, count: int) -> None:
        """One round: extract, train, propose, suggest, examine."""
        begun = time.monotonic()
        self.folder.mkdir(exist_ok=True)
        snapshot = self.folder / MARK
        write_text(snapshot, json.dumps(self._labelled()) + "\n")
        data, recipe, fresh = self.folder / "data", self.folder / "recipe.toml", self.folder / _FRESH
        cache = data / "dataset.h5"
        images = str(self.project.labels.folder)
        self._call("reading the labels", "extract", str(snapshot), "--images", images, "--out", str(data), "--force")
        self._call("choosing settings", "recommend", str(cache), "--out", str(recipe))
        seconds = min(_LONGEST, max(_SHORTEST, _PER_PICTURE * count))
        line = ["train", str(cache), "--config", str(recipe), "--time", f"{seconds}s", "--out", str(fresh), "--force"]
        if self.run.is_dir():
            line += ["--init", str(self.run)]
        self._call(f"training on {count} pictures", *line)
        _replace(fresh, self.run)
        row = best_epoch(self.run)
        self._propose()
        self._examine(cache)
        taken = round(time.monotonic() - begun, 1)
        self.rounds.append(
            Round(count, float(row["rmse"]), float(row["mean_shape_rmse"]), taken)
        )  # last: the page looks for it
        self._save()

    def _propose(self) -> None:
        """Predict open pictures, those that come next first."""
        names = self._open()[:_AHEAD]
        if not names:
            return
        folder = self.project.labels.folder
        paths = [str(folder / name) for name in names]
        options = ("--model", str(self.run), "--as-labelled", "--json")
        found = json.loads(self._call("proposing points", "predict", *paths, *options))
        by_name = dict(zip(names, found["images"], strict=True))
        self.project.proposals = {name: proposed(each) for name, each in by_name.items() if each["faces"]}
        self.suggested = tuple(sorted(names, key=lambda name: sureness(by_name[name]))[:_SUGGESTED])

    def _examine(self, cache: Path) -> None:
        """What the doctor finds in the finished pictures."""
        found = json.loads(self._call("examining the labels", "doctor", str(cache), "--json", codes=(0, 1)))
        document = self._labelled()
        names = {image["id"]: image["file_name"] for image in document["images"]}
        rows = [names[each["image_id"]] for each in document["annotations"]]
        self.findings = tuple(
            (rows[each["row"]], sentence(each)) for each in found["findings"] if each["check"] not in _OF_SPLITS
        )

    def _call(self, what: str, *line: str, codes: Sequence[int] = (0,)) -> bytes:
        """The output of a kptool command. Raises FailedError, with what it says last, and StoppedError."""
        self.doing = what
        log = self.folder / _LOG
        with log.open("ab") as messages:
            messages.write(f"$ kptool {' '.join(line)}\n".encode())
            messages.flush()
            start = messages.tell()
            with self._mutex:
                if self._stopped:
                    raise StoppedError
                self._process = subprocess.Popen(
                    self._command(line),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=messages,
                    preexec_fn=_humble if os.name == "posix" else None,
                )
            output, _ = self._process.communicate()
        if self._stopped:
            raise StoppedError
        if self._process.returncode not in codes:
            said = log.read_bytes()[start:].decode(errors="replace").strip().splitlines()
            raise FailedError(f"{what} failed: {said[-1].removeprefix('kptool: ') if said else 'see ' + str(log)}")
        return output

    def _command(self, line: Sequence[str]) -> list[str]:
        """The command line of a kptool command; -P: of this kptool, whatever the current folder holds."""
        return [sys.executable, "-P", "-m", "kptool", *line]

    def _finished(self) -> list[str]:
        labels = self.project.labels
        return [name for name in self.project.names if labels.get(name).done and labels.get(name).instances]

    def _open(self) -> list[str]:
        """Open pictures without labels, the next ones first: those after the last finished picture."""
        labels, names = self.project.labels, self.project.names
        done = [i for i, name in enumerate(names) if labels.get(name).done]
        first = done[-1] + 1 if done else 0
        turned = [*names[first:], *names[:first]]
        return [name for name in turned if not labels.get(name).done and not labels.get(name).instances]

    def _labelled(self) -> dict[str, Any]:
        """The COCO document of the finished pictures."""
        document = self.project.labels.document()
        images = [image for image in document["images"] if image["kptool_done"]]
        kept = {image["id"] for image in images}
        annotations = [each for each in document["annotations"] if each["image_id"] in kept]
        return {**document, "images": images, "annotations": annotations}

    def _epochs(self) -> list[dict[str, float]]:
        """Epoch and RMSE of the training that is going on, or of the last one."""
        fresh = self.folder / _FRESH / "metrics.csv"
        path = fresh if fresh.is_file() else self.run / "metrics.csv"
        try:
            with path.open(newline="") as file:
                return [{"epoch": float(row["epoch"]), "rmse": float(row["rmse"])} for row in csv.DictReader(file)]
        except (OSError, KeyError, ValueError):
            return []

    def _save(self) -> None:
        proposals = {name: asdict(entry) for name, entry in self.project.proposals.items()}
        state = {
            "rounds": [vars(each) for each in self.rounds],
            "suggested": self.suggested,
            "findings": self.findings,
            "proposals": proposals,
        }
        write_text(self.folder / _STATE, json.dumps(state) + "\n")

    def _remember(self) -> None:
        """Take up what an earlier session learnt."""
        path = self.folder / _STATE
        if not path.is_file():
            return
        try:
            state = read_json(path)
            self.rounds = [Round(**each) for each in state["rounds"]]
            self.suggested = tuple(map(str, state["suggested"]))
            self.findings = tuple((str(name), str(why)) for name, why in state["findings"])
            self.project.proposals = {str(k): entry_of(v) for k, v in state["proposals"].items()}
        except (DataError, KeyError, TypeError, ValueError, AttributeError):
            self.failed = f"{path} cannot be read, so that a new model is trained"


def _humble() -> None:
    """Leave the processors to the page and the browser."""
    os.nice(10)


def _replace(fresh: Path, run: Path) -> None:
    """Move a run folder to the place of the one before."""
    if run.exists():
        shutil.rmtree(run)
    fresh.rename(run)
