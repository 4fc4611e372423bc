"""``kptool extract``: any source -> images, keypoints.csv and dataset.h5."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.cli.options import Category, Images, Json, Seed, parse_size
from kptool.cli.output import emit, emit_json, note, progress


def extract(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Kaggle's training.csv, training.zip or whole zip; COCO json, csv, YOLO yaml, Label Studio json, CVAT xml,"
            " DeepLabCut csv, h5 or project, or a folder of .pts files. Without it: Kaggle's file in . or data/, else"
            " built-in synthetic faces.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("data/faces"),
    images: Images = None,
    category: Category = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Height,width of the images, or one number for both; as the pictures are, where they are taken whole and"
            " all of one size up to 512, else 128.",
            show_default=False,
        ),
    ] = None,
    colour: Annotated[
        bool | None,
        typer.Option("--colour/--grey", help="Colour or grey images; as the pictures are.", show_default=False),
    ] = None,
    crop: Annotated[
        str,
        typer.Option(
            help="box: cut out each thing's box; picture: all of the picture; auto: boxes where half of the things have one or"
            " a picture shows several."
        ),
    ] = "auto",
    margin: Annotated[float, typer.Option(help="Around a box, as a share of it.")] = 0.15,
    flips: Annotated[
        Path | None,
        typer.Option(
            help="A csv of the names that change places in a mirror, two in a line; or none, to mirror nothing. Else"
            " inferred from names and points.",
            show_default=False,
        ),
    ] = None,
    keypoints: Annotated[
        str, typer.Option(help="complete: rows with every keypoint; all: partly labelled rows too; auto: as is usual.")
    ] = "auto",
    sigma: Annotated[float, typer.Option(help="Standard deviation of the Gaussians, in heatmap pixels.")] = 2.0,
    stride: Annotated[int, typer.Option(help="Image pixels per heatmap pixel.")] = 1,
    heatmaps: Annotated[str, typer.Option(help="uint8, float16, float32 or none.")] = "uint8",
    val: Annotated[
        float | None,
        typer.Option(help="Share of the images kept for validation where a split is drawn; 0.1.", show_default=False),
    ] = None,
    val_from: Annotated[
        Path | None,
        typer.Option(
            help="The labels of the validation part, where they are in a second file of SOURCE's format.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    groups: Annotated[
        Path | None,
        typer.Option(
            help="A csv with columns row,group: images of one group stay on one side of the split.", show_default=False
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="own: as the data say, the default where they do; random, the default elsewhere; or similar:"
            " near-duplicates stay on one side.",
            show_default=False,
        ),
    ] = None,
    patch: Annotated[
        Path | None,
        typer.Option(help="Corrections to apply: a csv as `kptool doctor --patch` writes it.", show_default=False),
    ] = None,
    count: Annotated[int, typer.Option(help="How many synthetic faces to make where there is no source.")] = 1000,
    force: Annotated[bool, typer.Option("--force", help="Replace an extraction that is already there.")] = False,
    json: Json = False,
) -> None:
    """Extract images and keypoints into a folder, with heatmaps and a train/val split in one HDF5 cache."""
    from kptool.cache import extraction
    from kptool.data import sources
    from kptool.system import workers

    options = extraction.Options(keypoints, sigma, stride, heatmaps, val, seed, groups, force, split or "auto", patch)
    channels = None if colour is None else 3 if colour else 1
    opening = sources.Opening(images, category, parse_size(size), channels, crop, margin, flips, count, seed, val_from)
    opened = sources.find_source(source, opening)
    with workers.join() as mine:
        mixed = sources.shared(opened, mine)
        if mixed is None:  # another process of torchrun's writes
            return
        if source is None:
            note(f"kptool: no SOURCE was given; using {opened.label}")
        with progress(quiet=json) as report:
            done = extraction.extract(mixed, out, options, progress=report)
    for text in done.notes:
        note(f"kptool: {text}")
    if json:
        emit_json(done)
        return
    dropped = "".join(f", {count} dropped ({reason})" for reason, count in done.dropped.items())
    kind = "grey" if opened.channels == 1 else "colour"
    emit(
        f"{done.source}: {done.rows} rows, {done.kept} kept{dropped}",
        f"{done.splits['train']} images to train on, {done.splits['val']} for validation, {done.keypoints} keypoints each,"
        f" {opened.size[1]}x{opened.size[0]} {kind}; {done.flip_note}",
        f"wrote {done.cache}, {out / extraction.KEYPOINTS} and {out / extraction.IMAGES}/ in {done.seconds:.1f} s",
    )
