"""``kptool demo``: the way from labelled images to predictions on synthetic faces, in a few minutes, and a page that shows it."""

from __future__ import annotations

import contextlib
import io
import json as json_
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kptool.base.errors import ConfigError
from kptool.cli.options import Json
from kptool.cli.output import emit, emit_json, note

if TYPE_CHECKING:
    from kptool.report.demo import Step

_FACES, _RUN, _DRAWN, PAGE = "faces", "unet", "predicted", "index.html"
_COUNT, _SIZE, _EPOCHS, _LONGEST = 600, 64, 8, "3m"
_PICTURES = 1
"""Validation images that `predict` draws."""


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The folder to write; an earlier demo in it is replaced.")] = Path("demo"),
    count: Annotated[int, typer.Option(min=20, help="Number of synthetic faces.")] = _COUNT,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = _EPOCHS,
    json: Json = False,
) -> None:
    """Extract synthetic faces, train a U-Net on them, evaluate it, predict, and show everything on one page.

    Takes under five minutes on two cores, needs no data and downloads nothing. Every step is a kptool command, which is
    printed before it runs, so it can be repeated with your own data.
    """
    _check(out)
    started = time.perf_counter()
    cache, run = str(out / _FACES / "dataset.h5"), str(out / _RUN)
    runner = _Runner(context.find_root().command, json)
    runner.run("extract", "--count", str(count), "--size", str(_SIZE), "--out", str(out / _FACES), "--force")
    runner.run("train", "unet", cache, "--epochs", str(epochs), "--time", _LONGEST, "--out", run, "--force")
    runner.run("evaluate", run, cache)
    pictures = _held_out(Path(cache))
    runner.run("predict", *pictures, "--model", run, "--no-detect", "--out", str(out / _DRAWN))

    from kptool.report.demo import write_page
    from kptool.system.files import write_text

    drawn = [out / _DRAWN / Path(picture).name for picture in pictures]
    write_text(out / PAGE, write_page(Path(cache), Path(run), drawn, runner.steps))
    seconds = round(time.perf_counter() - started, 1)
    if json:
        emit_json({"page": str(out / PAGE), "seconds": seconds, "steps": runner.documents})
        return
    emit(f"wrote {out / PAGE}: open it in a browser; {seconds:.0f} s")


class _Runner:
    """Runs kptool commands one after the other in this process, and keeps what they were and took.

    With `json`, their documents are kept instead of printed.
    """

    def __init__(self, root: Any, json: bool) -> None:
        self._root, self._json = root, json
        self.steps: list[Step] = []
        self.documents: list[dict[str, Any]] = []

    def run(self, *line: str) -> None:
        """Run a command line, given without "kptool". Its errors are those of the command."""
        from kptool.report.demo import Step

        said = shlex.join(("kptool", *line))
        note(f"\n$ {said}")
        started = time.perf_counter()
        result = (
            self._captured(line) if self._json else self._root.main(line, prog_name="kptool", standalone_mode=False)
        )
        self.steps.append(Step(said, time.perf_counter() - started))
        self.documents.append({"command": said, "seconds": round(self.steps[-1].seconds, 1), "result": result})

    def _captured(self, line: Sequence[str]) -> Any:
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            self._root.main([*line, "--json"], prog_name="kptool", standalone_mode=False)
        return json_.loads(text.getvalue())


def _check(out: Path) -> None:
    """Raise ConfigError where `out` holds anything that no demo writes."""
    if out.is_dir():
        others = sorted({path.name for path in out.iterdir()} - {_FACES, _RUN, _DRAWN, PAGE})
        if others:
            raise ConfigError(f"{out} holds {others[0]}, which is not a demo's; choose another folder with --out")


def _held_out(cache: Path) -> list[str]:
    """The PNG files of the first validation images."""
    from kptool.cache.store import Cache

    with Cache(cache) as opened:
        rows = opened.read("row", opened.index("val")[:_PICTURES])
    return [str(cache.parent / "images" / f"{row:05d}.png") for row in rows]
