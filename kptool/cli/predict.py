"""``kptool predict``: predict keypoints, printed as tables, csv or JSON, or written as COCO, heatmaps or drawings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kptool.base.errors import ConfigError
from kptool.cli.options import AsLabelled, Device, Json, ModelName, Plugin
from kptool.cli.output import complain, emit, emit_json, emit_text, note, progress
from kptool.cli.predict_tables import about, print_tables
from kptool.cli.video_options import VideoOptions, pictures_only, with_lines

if TYPE_CHECKING:
    from kptool.predict.predictor import Predictor
    from kptool.predict.stream import Predicted


def predict(
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Pictures, folders, globs, videos, camera:0, or - for stdin."),
    ],
    model: ModelName = "unet",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for pictures with their keypoints drawn, and keypoints.csv; or a video such as drawn.mp4.",
            show_default=False,
        ),
    ] = None,
    detect: Annotated[
        bool | None,
        typer.Option(
            "--detect/--no-detect",
            help="Find instances (with the run's finder, or faces), or treat the whole picture as one.",
            show_default=False,
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="X,Y,W,H", help="The box of a face or other object, instead of detection; repeatable."),
    ] = None,
    find_score: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            min=0,
            max=1,
            help="Find instances with a score of at least S; default: the finder's own threshold.",
            show_default=False,
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            metavar="S", min=0, max=1, help="Report keypoints with a score below S as absent.", show_default=False
        ),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print a csv, one row per keypoint.")] = False,
    coco: Annotated[Path | None, typer.Option(help="Write COCO keypoints json.", show_default=False)] = None,
    heatmaps: Annotated[Path | None, typer.Option(help="Write heatmaps to an HDF5 file.", show_default=False)] = None,
    jsonl: Annotated[
        Path | None,
        typer.Option(
            help="Write a line of JSON per picture as soon as it is predicted; a file that exists is continued.",
            show_default=False,
        ),
    ] = None,
    names: Annotated[bool, typer.Option("--names", help="Write keypoint numbers and names into the drawings.")] = False,
    circles: Annotated[
        bool,
        typer.Option(
            "--circles", help="Draw each keypoint's 90 % radius as a circle, the fainter the lower its score."
        ),
    ] = False,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Read at most this many frames of a video.", show_default=False)
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(min=0.001, help="Treat pictures as a video with this many a second.", show_default=False),
    ] = None,
    track: Annotated[bool, typer.Option("--track", help="Number the instances of a video.")] = False,
    track_gap: Annotated[
        float | None,
        typer.Option(metavar="S", min=0, help="Seconds out of sight after which a number ends.", show_default="1"),
    ] = None,
    smooth: Annotated[bool, typer.Option("--smooth", help="Smooth keypoints over time, by a 1-euro filter.")] = False,
    smooth_cutoff: Annotated[
        float | None, typer.Option(metavar="HZ", min=0.001, help="Its cutoff frequency at rest.", show_default="2")
    ] = None,
    smooth_beta: Annotated[
        float | None,
        typer.Option(metavar="B", min=0, help="Hz more for a speed of one extent a second.", show_default="20"),
    ] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Average with the prediction for the mirrored picture.")] = False,
    as_labelled: AsLabelled = False,
    device: Device = "auto",
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Predict keypoints: of every face that is found, or, for models of other things, of the whole picture.

    Coordinates are in pixels of the given picture, an integer is a pixel's centre; left and right are the subject's. Points
    are where the features are, as far as the offset of the training data's labels is known; with --as-labelled, where labels
    would be. Pictures that cannot be read are named and skipped; the exit code is then 2.
    """
    if csv and json:
        raise ConfigError("--csv and --json both write to stdout; choose one")
    if circles and out is None:
        raise ConfigError("--circles draws on the pictures that --out writes; give --out")
    boxes = [_box(text) for text in box] if box else None
    if boxes and detect:
        raise ConfigError("--box says where to look, so --detect has nothing to find; leave one out")
    if device not in ("auto", "cpu"):  # refuse an unavailable device before anything is printed
        from kptool.system import devices

        devices.pick(device)
    from kptool.data import intensity
    from kptool.data import pictures as reading
    from kptool.predict import journal as journals
    from kptool.predict import stream
    from kptool.predict.output import csv_text
    from kptool.predict.predictor import Predictor
    from kptool.system import workers

    wanted, counts = reading.expand_counted(pictures)
    wanted = wanted if fps is None else reading.by_number(wanted)
    if jsonl is not None:
        others = {"--csv": csv, "--json": json, "--out": out, "--coco": coco, "--heatmaps": heatmaps, "--fps": fps}
        pictures_only(wanted, others)
    videos = VideoOptions(wanted, out, fps, track, track_gap, smooth, smooth_cutoff, smooth_beta)
    find = False if boxes else detect
    predictor = Predictor(
        model, device, detect=find, flip=tta, as_labelled=as_labelled, min_score=min_score, find_score=find_score
    )
    with workers.join() as mine, ExitStack() as stack:
        if heatmaps and mine.world > 1:
            raise ConfigError("--heatmaps writes one file, so it needs a single process; run it without torchrun")
        outputs = stack.enter_context(stream.outputs(predictor, videos.folder, heatmaps, names=names, circles=circles))
        if mine.rank == 0:
            _introduce(predictor, counts)
        bar = stack.enter_context(progress(quiet=json or mine.rank > 0))
        outputs.reserve(wanted)
        part = wanted[mine.rank :: mine.world]
        journal = None
        if jsonl is not None:
            journal = stack.enter_context(journals.opened(jsonl, predictor, boxes, wanted, mine))
            part = journal.left(part)
        outputs.film = videos.open_film(stack, predictor, names=names, circles=circles, world=mine.world)
        one = stream.run(
            predictor,
            reading.read(part, frames=frames, fps=fps),
            len(part),
            boxes=boxes,
            outputs=outputs,
            follow=videos.follower(detected=predictor.detect and boxes is None),
            journal=journal,
            progress=with_lines(bar, lambda text: note(f"kptool: {text}")),
        )
        if journal is not None:
            journal.finish()
        everyone = mine.gather(one)
        held = "" if journal is None or everyone is None else journal.collect(wanted)
    if everyone is None:  # under torchrun, only the first process writes
        return
    done = stream.merge(wanted, everyone)
    if journal is None:
        stream.write(predictor, done.found, out=videos.folder, coco=coco)
    notes = [*intensity.remark_notes(done.remarks), *(outputs.film.notes if outputs.film else ())]
    notes += _unlikely(predictor, done)
    for text in notes:
        note(f"kptool: {text}")
    for picture in done.failed:
        complain(f"kptool: {' '.join(picture.error.split())}")
    if journal is not None:
        emit(f"wrote {held} to {jsonl}: {about(predictor)}")
    elif json:
        _json(predictor, done, notes)
    elif csv:
        emit_text(csv_text(done.found, predictor.names, predictor.thing.column))
    else:
        written = [f"pictures to {out}/"] * bool(videos.folder)
        written += [str(path) for path in (videos.film, coco, heatmaps) if path]
        print_tables(predictor, done, written)
    if done.failed:
        raise typer.Exit(2)


def _introduce(predictor: Predictor, counts: Sequence[str]) -> None:
    """Say whose weights are used and what they lack, and how many pictures there are."""
    from kptool.network.presence import MISSING

    note(f"kptool: using {predictor.origin}; {predictor.shift.sentence(predictor.as_labelled)}")
    for text in predictor.card.caveats:
        note(f"kptool: {text}")
    if predictor.min_score is not None and not predictor.calibrated.all():
        why = predictor.card.metrics.get(MISSING)
        because = f"; {why}" if isinstance(why, str) else ""
        note(f"kptool: --min-score is compared with scores of which each is {predictor.scores}{because}")
    for text in counts:
        note(f"# {text}")


def _unlikely(predictor: Predictor, done: Predicted) -> tuple[str, ...]:
    """A note on keypoints that are more likely absent than there, if they are reported nevertheless."""
    from kptool.data.notes import counted

    if predictor.min_score is not None or not predictor.calibrated.any():
        return ()
    scores = [face.scores[predictor.calibrated] for each in done.found for face in each.faces]
    count = sum(int((each < 0.5).sum()) for each in scores)
    return counted(
        count,
        "{n} of {all} keypoints {are} more likely absent than there, with a score below 0.5; --min-score 0.5 reports them so",
        all=len(scores) * len(predictor.names),
    )


def _box(text: str) -> tuple[float, float, float, float]:
    """Parse "x,y,width,height". Raises ConfigError."""
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--box expects x,y,width,height in pixels, for example 40,30,100,100; got {text!r}"
        ) from None
    if not all(map(math.isfinite, (x, y, width, height))) or min(width, height) <= 0:
        raise ConfigError(f"--box expects x,y,width,height in pixels, width and height above 0; got {text!r}")
    return x, y, width, height


def _json(predictor: Predictor, done: Predicted, notes: Sequence[str]) -> None:
    from kptool.network.label_shift import RADIUS
    from kptool.predict.output import CONVENTION

    emit_json(
        {
            "model": predictor.origin,
            "points": predictor.points,
            "labels": predictor.shift.describe(),
            "radius90": RADIUS,
            "scores": predictor.scores,
            "min_score": predictor.min_score,
            "category": predictor.thing.name,
            "coordinates": CONVENTION,
            "images": [each.describe(predictor.names, predictor.thing.key) for each in done.found],
            "failed": [{"file": picture.name, "error": picture.error} for picture in done.failed],
            "notes": [*predictor.card.caveats, *notes],
        }
    )
