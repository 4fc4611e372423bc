"""``kptool extract``: any source -> images, keypoints.csv and dataset.h5."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.cli.options import Json, Seed
from kptool.cli.output import emit, emit_json, note, progress


def extract(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="training.csv, training.zip, or the competition's whole zip. Without it: Kaggle's file in . or data/,"
            " else built-in synthetic faces.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("data/faces"),
    keypoints: Annotated[
        str, typer.Option(help="complete: rows with every keypoint; all: partly labelled rows too.")
    ] = "complete",
    sigma: Annotated[float, typer.Option(help="Standard deviation of the Gaussians, in heatmap pixels.")] = 2.0,
    stride: Annotated[int, typer.Option(help="Image pixels per heatmap pixel.")] = 1,
    heatmaps: Annotated[str, typer.Option(help="uint8, float16, float32 or none.")] = "uint8",
    val: Annotated[float, typer.Option(help="Share of the images kept for validation.")] = 0.1,
    seed: Seed = 0,
    groups: Annotated[
        Path | None,
        typer.Option(
            help="A csv with columns row,group: images of one group stay on one side of the split.", show_default=False
        ),
    ] = None,
    count: Annotated[int, typer.Option(help="How many synthetic faces to make where there is no source.")] = 1000,
    force: Annotated[bool, typer.Option("--force", help="Replace an extraction that is already there.")] = False,
    json: Json = False,
) -> None:
    """Extract images and keypoints into a folder, with heatmaps and a train/val split in one HDF5 cache."""
    from kptool import extraction

    options = extraction.Options(keypoints, sigma, stride, heatmaps, val, seed, groups, force)
    opened = extraction.find_source(source, count=count, seed=seed)
    if source is None:
        note(f"kptool: no SOURCE was given; using {opened.label}")
    with progress(quiet=json) as report:
        done = extraction.extract(opened, out, options, progress=report)
    if json:
        emit_json(done)
        return
    dropped = "".join(f", {count} dropped ({reason})" for reason, count in done.dropped.items())
    emit(
        f"{done.source}: {done.rows} rows, {done.kept} kept{dropped}",
        f"{done.splits['train']} images to train on, {done.splits['val']} for validation, {done.keypoints} keypoints each",
        f"wrote {done.cache}, {out / extraction.KEYPOINTS} and {out / extraction.IMAGES}/ in {done.seconds:.1f} s",
    )
