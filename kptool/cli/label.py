"""``kptool label``: place keypoints in a browser, beside a model that learns from them."""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kptool.base.errors import ConfigError, DataError
from kptool.cli.output import complain, emit, note
from kptool.system.signals import Stopped

if TYPE_CHECKING:
    from kptool.label.labels import Labels
    from kptool.label.project import Project

_PAGE = ".label.html"
"""A file that leads the browser to the page, as long as that is there."""
_SAVE_EVERY = 20.0
"""Seconds between two COCO files, where labels changed; every change is in the log at once."""


def label(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures, with those in its subfolders.", exists=True)],
    points: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="The keypoints' names, in the order in which they are placed; not needed for a folder that was labelled before.",
            show_default=False,
        ),
    ] = None,
    lines: Annotated[
        str | None,
        typer.Option(metavar="A-B,B-C", help="Lines to draw between keypoints.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Labels to correct, in any format that `kptool extract` reads; its predictions become proposals.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0: any that is free.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    learn: Annotated[
        bool, typer.Option("--learn/--no-learn", help="Train on finished pictures, and propose points in others.")
    ] = True,
) -> None:
    """Label the pictures of a folder on a page in the browser.

    The page is on this machine only, and works offline. Every change is on the disk at once; the labels are in
    FOLDER/labels.json, which `kptool extract` reads. After 10 finished pictures, and whenever there are twice as many, a model
    is trained in the background, and its points appear in the other pictures. Ctrl-C ends it, and prints how to use the model.
    """
    from kptool.label.learning import Learning
    from kptool.label.server import LabelServer

    opened, project, notes = _open(folder, points, lines, labels)
    with contextlib.closing(opened):
        for line in notes:
            complain(f"kptool: {line}")
        learning = Learning(project, enabled=learn)
        try:
            server = LabelServer(project, learning, port)
        except OSError as error:
            raise ConfigError(f"port {port} cannot be used: {error.strerror or error}; leave --port out") from error
        emit(server.address)
        note(f"{len(project.names)} pictures; open the address above in a browser; Ctrl-C ends")
        with server, learning, _saving(opened):
            if browser:  # some browsers end only when they are closed
                threading.Thread(target=_show, args=(folder, server.address), daemon=True).start()
            with contextlib.suppress(Stopped):  # by Ctrl-C, the usual end
                server.serve_forever(poll_interval=0.1)
    with contextlib.suppress(OSError):
        (folder / _PAGE).unlink(missing_ok=True)
    done = sum(opened.get(name).done for name in project.names)
    note(f"{done} of {len(project.names)} pictures are finished; their labels are in {opened.path}")
    emit(learning.line if learning.run.is_dir() else f"kptool extract {shlex.quote(str(opened.path))}")


def _open(
    folder: Path, points: str | None, lines: str | None, existing: Path | None
) -> tuple[Labels, Project, list[str]]:
    """The folder's labels, with the points that were given or that they have, its pictures, and what is not used of `existing`
    ones."""
    from kptool.base.skeleton import Skeleton
    from kptool.label import existing as others
    from kptool.label.labels import Labels, known_points
    from kptool.label.project import Project, names_below

    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the one that holds the pictures")
    names_below(folder)  # before anything is written
    before, file, places = known_points(folder), None, list[Path]()
    if existing is not None:
        file, places = others.read(existing, folder)
        before = before or (file.names, file.edges)
    if points is None and before is None:
        raise ConfigError("give the keypoints' names, such as --points tip,base,left_edge,right_edge")
    names = tuple(name.strip() for name in points.split(",")) if points else before[0] if before else ()
    if file is not None and names != file.names:
        raise ConfigError(
            f"{existing} has the keypoints {', '.join(file.names)}, not {', '.join(names)}; leave --points out"
        )
    edges = _edges(lines, names) if lines else before[1] if before else ()
    Skeleton(names, edges=edges)  # which refuses names that are given twice
    labels = Labels(folder, names, edges)
    try:
        project = Project.of(labels)
        return labels, project, [] if file is None else others.add(project, file, places)
    except BaseException:
        labels.close()
        raise


def _edges(lines: str, names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Pairs of keypoints' numbers. Raises ConfigError for a name that is none."""
    pairs = []
    for line in lines.split(","):
        ends = [end.strip() for end in line.split("-")]
        missing = [end for end in ends if end not in names]
        if len(ends) != 2 or missing:
            raise ConfigError(f"--lines {line!r} is not two of the keypoints {', '.join(names)}; write it as A-B")
        pairs.append((names.index(ends[0]), names.index(ends[1])))
    return tuple(pairs)


def _show(folder: Path, address: str) -> None:
    """Open the page by a file that only this user can read: others see the command lines of this machine's processes."""
    page = folder / _PAGE
    with contextlib.suppress(OSError):
        page.unlink(missing_ok=True)
        with os.fdopen(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={address}">')
        webbrowser.open(page.resolve().as_uri())


@contextlib.contextmanager
def _saving(labels: Labels) -> Iterator[None]:
    """Writes the COCO file now and then."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(_SAVE_EVERY):
            if labels.unsaved:
                with contextlib.suppress(
                    DataError
                ):  # the page says so; every change is in the log, and the next try may do
                    labels.save()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
