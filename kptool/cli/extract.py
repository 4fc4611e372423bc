"""``kptool extract``: extract images, keypoints.csv and dataset.h5 from labels of any supported format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.cli.options import Category, Images, Json, Plugin, Seed
from kptool.cli.output import emit, emit_json, wanted


def extract(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Kaggle's training.csv, training.zip or whole zip; COCO or COCO-WholeBody json, csv, YOLO yaml, Label Studio"
            " json, CVAT xml, DeepLabCut csv, h5 or project, SLEAP slp or csv, VIA json or csv, dlib xml, MPII json or mat,"
            " Leeds Sports mat, a Supervisely project; or a folder of LabelMe json, OpenPose json or .pts files. The format"
            " is recognised. Default: Kaggle's file in . or data/ if there is one, else synthetic faces.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("data/faces"),
    images: Images = None,
    category: Category = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Height,width of the images, or one number for both; default: as large as instances are in the pictures, with"
            " a longer side of 128 to 256, or 384 for fewer than 500 instances.",
            show_default=False,
        ),
    ] = None,
    colour: Annotated[
        bool | None,
        typer.Option("--colour/--grey", help="Colour or grey images; default: as the pictures.", show_default=False),
    ] = None,
    crop: Annotated[
        str,
        typer.Option(
            help="box: crop each instance to its box; picture: use the whole picture; auto: box if half of the instances"
            " have one, a picture contains several, or instances take less than 60 % of the pictures' sides."
        ),
    ] = "auto",
    margin: Annotated[float, typer.Option(help="Margin around a box, as a fraction of it.")] = 0.15,
    flips: Annotated[
        Path | None,
        typer.Option(
            help="A csv of flip pairs, the keypoint names that a mirror swaps, two per line; or none, to never mirror."
            " Default: inferred from names and points.",
            show_default=False,
        ),
    ] = None,
    keypoints: Annotated[
        str,
        typer.Option(
            help="complete: only rows with every keypoint; all: also partly labelled rows; auto: the format's default."
        ),
    ] = "auto",
    sigma: Annotated[float, typer.Option(help="Standard deviation of the Gaussians, in heatmap pixels.")] = 2.0,
    stride: Annotated[int, typer.Option(help="Image pixels per heatmap pixel.")] = 1,
    heatmaps: Annotated[
        str, typer.Option(help="Type of the stored heatmaps: uint8, float16, float32 or none.")
    ] = "uint8",
    val: Annotated[
        float | None,
        typer.Option(
            help="Fraction of the images for validation if a split is drawn; default: 0.1.", show_default=False
        ),
    ] = None,
    val_from: Annotated[
        Path | None,
        typer.Option(
            help="The validation labels, if they are in a second file of SOURCE's format.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    groups: Annotated[
        Path | None,
        typer.Option(
            help="A csv with columns row,group; images of one group stay in one part of the split.", show_default=False
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="own: the source's own split, the default if it has one; random: the default otherwise; similar: random,"
            " with near-duplicates in one part.",
            show_default=False,
        ),
    ] = None,
    patch: Annotated[
        Path | None,
        typer.Option(help="A csv of corrections to apply, as written by `kptool doctor --patch`.", show_default=False),
    ] = None,
    count: Annotated[int, typer.Option(help="Number of synthetic faces, if there is no source.")] = 1000,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing extraction.")] = False,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Extract images and keypoints into a cache.

    Writes the images, keypoints.csv, and dataset.h5, the HDF5 cache with images, keypoints, heatmaps and the
    train/validation split.
    """
    from kptool.api.extract import extract as call
    from kptool.cache.extraction import IMAGES, KEYPOINTS

    done = call(
        source,
        out,
        images=images,
        category=category,
        size=size,
        colour=colour,
        crop=crop,
        margin=margin,
        flips=flips,
        keypoints=keypoints,
        sigma=sigma,
        stride=stride,
        heatmaps=heatmaps,
        val=val,
        val_from=val_from,
        seed=seed,
        groups=groups,
        split=split,
        patch=patch,
        count=count,
        force=force,
        progress=wanted(json),
    )
    if done.elsewhere:  # under torchrun, only the first process writes
        return
    if json:
        emit_json(done.to_dict())
        return
    dropped = "".join(f", {count} dropped ({reason})" for reason, count in done.dropped.items())
    emit(
        f"{done.source}: {done.rows} rows, {done.kept} kept{dropped}",
        f"{done.splits['train']} training and {done.splits['val']} validation images, {done.keypoints} keypoints each,"
        f" {done.kind}; {done.flip_note}",
        f"wrote {done.cache}, {out / KEYPOINTS} and {out / IMAGES}/ in {done.seconds:.1f} s",
    )
