"""A model that is trained beside the labelling: on the finished pictures, again whenever there are twice as many.

Every step is a kptool command in a process of its own, at a low priority, on a copy of the labels: what is extracted, trained
and predicted lies in a folder of its own below the pictures'. Proposals are no labels before a person accepts them.
"""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kptool.base.errors import DataError
from kptool.label.commands import Commands, FailedError, StoppedError
from kptool.label.entries import entry_of
from kptool.label.project import MARK, Project
from kptool.label.rounds import Round, best_epoch, gain, proposed, sentence, sureness
from kptool.system.files import swap, write_text
from kptool.system.text import read_json

FIRST = 10
"""Finished pictures before the first training; each further one waits for twice as many as the one before."""
_SHORTEST, _LONGEST, _PER_PICTURE = 60, 900, 4
"""Seconds of a training: at least, at most, and for every finished picture."""
_SIDE, _WIDTH = 64, 16
"""Pixels and channels of the first stage: a small network learns more in a minute or two on a CPU."""
_AHEAD, _SUGGESTED = 200, 20
"""Open pictures that are predicted after a training, and how many of them are suggested."""
_OF_SPLITS = ("leak", "duplicate")
"""The doctor's checks of how pictures are divided, which is not the labels' fault."""
_STATE, _FRESH = "learning.json", "run-new"


@dataclass
class Learning:
    """Trains on a project's finished pictures in a thread of its own, if `enabled`, as a context.

    folder: where its files are. proposals: the instances of open pictures by the last model, by the pictures' names. suggested:
    names of open pictures, those first that teach most. findings: (name, sentence) of finished ones that the doctor doubts.
    """

    project: Project
    enabled: bool = True
    failed: str = ""
    rounds: list[Round] = field(default_factory=list)
    suggested: tuple[str, ...] = ()
    findings: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        self.folder = self.project.labels.folder.resolve() / "kptool"
        if self.enabled and self.folder.exists() and not (self.folder / MARK).is_file() and any(self.folder.iterdir()):
            raise DataError(f"{self.folder} is not a folder of kptool label's; rename it, or label with --no-learn")
        self.commands = Commands(self.folder)
        self._due, self._asked = threading.Event(), False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._tried, self._held, self._seen = 0, list[str](), set[str]()
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
        self.commands.stop()
        self._due.set()
        if self.enabled:
            self._thread.join()

    def describe(self) -> dict[str, Any]:
        """What the page shows, as JSON."""
        return {
            "enabled": self.enabled,
            "doing": self.commands.doing,
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
        return f"kptool predict newphotos --model {shlex.quote(str(self.project.labels.folder / 'kptool' / 'run'))}"

    def _work(self) -> None:
        while not self.commands.stopped:
            self._due.wait()
            self._due.clear()
            count = len(self._finished())
            if self.commands.stopped or not (count >= self.next_at or (self._asked and count >= FIRST)):
                continue
            self._asked, self._tried, self.failed = False, count, ""
            try:
                self._learn(count)
            except StoppedError:
                return
            except (FailedError, OSError, DataError) as error:
                self.failed = str(error)
            except Exception as error:  # any: labelling goes on, and the next training may do
                self.failed = f"{self.commands.doing} failed: {type(error).__name__}: {error}"
                with self.commands.log.open("a") as messages:
                    messages.write(traceback.format_exc())
            finally:
                self.commands.doing = ""

    def _learn(self, count: int) -> None:
        """One round: extract, train, propose, suggest, examine."""
        begun = time.monotonic()
        self.folder.mkdir(exist_ok=True)
        snapshot = self.folder / MARK
        document = self._labelled()
        write_text(snapshot, json.dumps(document) + "\n")
        data, recipe, fresh = self.folder / "data", self.folder / "recipe.toml", self.folder / _FRESH
        cache = data / "dataset.h5"
        images = str(self.folder.parent)
        line = ["extract", str(snapshot), "--images", images, "--out", str(data), "--size", str(_SIDE), "--force"]
        self.commands("reading the labels", *line)
        self.commands("choosing settings", "recommend", str(cache), "--out", str(recipe))
        seconds = min(_LONGEST, max(_SHORTEST, _PER_PICTURE * count))
        line = ["train", str(cache), "--config", str(recipe), "--time", f"{seconds}s", "--out", str(fresh), "--force"]
        line += ["--set", f"width={_WIDTH}"]
        if self.run.is_dir():
            line += ["--init", str(self.run)]
        self.commands(f"training on {count} pictures", *line)
        row = best_epoch(fresh)
        _replace(fresh, self.run)
        self._propose()
        self._examine(cache, document)
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
        paths = {str(self.folder.parent / name): name for name in names}
        options = ("--model", str(self.run), "--as-labelled", "--json")
        output = self.commands("proposing points", "predict", *paths, *options, codes=(0, 2))  # 2: some cannot be read
        if not output:
            raise FailedError(f"no picture could be read; {self.commands.log} says why")
        by_name = {paths[each["file"]]: each for each in json.loads(output)["images"]}
        self.project.proposals = {name: proposed(each) for name, each in by_name.items() if each["faces"]}
        self.suggested = tuple(sorted(by_name, key=lambda name: sureness(by_name[name]))[:_SUGGESTED])

    def _examine(self, cache: Path, document: Mapping[str, Any]) -> None:
        """What the doctor finds in the finished pictures of `document`, whose annotations are the cache's rows."""
        found = json.loads(self.commands("examining the labels", "doctor", str(cache), "--json", codes=(0, 1)))
        names = {image["id"]: image["file_name"] for image in document["images"]}
        rows = [names[each["image_id"]] for each in document["annotations"]]
        self.findings = tuple(
            (rows[each["row"]], sentence(each))
            for each in found["findings"]
            if each["row"] is not None and each["check"] not in _OF_SPLITS
        )

    def _finished(self) -> list[str]:
        labels = self.project.labels
        entries = ((name, labels.get(name)) for name in self.project.names)
        done = [name for name, entry in entries if entry.done and entry.instances]
        return [name for name in done if (labels.folder / name).is_file()]

    def _open(self) -> list[str]:
        """Open pictures without labels, the next ones first: those after the last finished picture."""
        labels, names = self.project.labels, self.project.names
        done = [i for i, name in enumerate(names) if labels.get(name).done]
        first = done[-1] + 1 if done else 0
        turned = [*names[first:], *names[:first]]
        return [name for name in turned if not labels.get(name).done and not labels.get(name).instances]

    def _labelled(self) -> dict[str, Any]:
        """The COCO document of the finished pictures. A tenth of them is kept apart, the same ones in every training, as each
        begins with the weights of the one before."""
        finished, document = self._finished(), self.project.labels.document()
        new = [name for name in finished if name not in self._held]
        wanted = max(1, len(finished) // 10) - (len(finished) - len(new))
        self._held += [name for name in new if name not in self._seen][: max(0, wanted)]
        self._seen |= set(finished)
        images = [
            {**image, "split": "val" if image["file_name"] in self._held else "train"}
            for image in document["images"]
            if image["file_name"] in set(finished)
        ]
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
            "held": self._held,
            "seen": sorted(self._seen),
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
            self._held, self._seen = [*map(str, state["held"])], {*map(str, state["seen"])}
            self.project.proposals = {str(k): entry_of(v) for k, v in state["proposals"].items()}
        except (DataError, KeyError, TypeError, ValueError, AttributeError):
            self.failed = f"{path} cannot be read, so that a new model is trained"


def _replace(fresh: Path, run: Path) -> None:
    """Move a run folder to the place of the one before, so that at any moment one of them is there."""
    if not run.exists():
        fresh.rename(run)
        return
    swap(fresh, run)
    shutil.rmtree(fresh)
