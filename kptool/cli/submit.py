"""``kptool submit``: write Kaggle's submission.csv, and estimate its score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kptool.cli.options import Device, Json, ModelName, Plugin
from kptool.cli.output import emit, emit_json, note, progress

if TYPE_CHECKING:
    from kptool.kaggle.estimate import Estimate
    from kptool.network.cards import Card
    from kptool.network.keypoint_model import Inference, KeypointModel


def submit(
    test: Annotated[Path, typer.Argument(help="test.csv, test.zip, or the competition's whole zip.")],
    lookup: Annotated[Path, typer.Argument(help="IdLookupTable.csv.")],
    model: ModelName = "unet",
    model_few: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Another model, for pictures of which fewer keypoints are asked than --model has, if it has them all.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The csv file to write.")] = Path("submission.csv"),
    tta: Annotated[
        bool, typer.Option("--tta/--no-tta", help="Average with the prediction for the mirrored picture.")
    ] = True,
    estimate: Annotated[
        Path | None,
        typer.Option(
            metavar="CACHE",
            help="Also estimate the leaderboard's RMSE, on this cache's validation images.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Write a submission to Kaggle's Facial Keypoints Detection.

    One RowId,Location per row of the lookup table. Points are where the competition's labels would be.
    """
    from kptool.kaggle import submit
    from kptool.network import cards, checkpoint
    from kptool.network.keypoint_model import Inference
    from kptool.network.label_shift import AS_LABELLED
    from kptool.system import devices

    place = devices.pick(device)
    sources = [cards.resolve(name) for name in (model, model_few) if name is not None]
    origins = [origin for _, origin in sources]
    note(f"kptool: using {' and, for pictures with fewer requested keypoints, '.join(origins)}")
    loaded = [checkpoint.load_model(path, place) for path, _ in sources]
    few = None if model_few is None else loaded[-1][0]
    inference = Inference(flip=tta)
    # before anything is written
    expected = None if estimate is None else _estimate(lookup, estimate, loaded, inference)
    with progress(quiet=json) as bar:
        counts = submit.submit(loaded[0][0], test, lookup, out, few=few, inference=inference, progress=bar)
    if few is not None and not counts["images_few"]:
        note(
            "kptool: --model-few was not used: no picture requests fewer keypoints than --model has, all known to --model-few"
        )
    if json:
        document: dict[str, Any] = {"model": origins[0], "model_few": origins[1] if few else None, "submission": out}
        document.update(points=AS_LABELLED, **counts)
        emit_json(document if expected is None else {**document, "estimate": expected})
        return
    emit(f"wrote {out}: {counts['rows']} rows for {counts['images']} pictures")
    if few is not None:
        emit(f"{counts['images_few']} of them predicted by {origins[1]}")
    if expected is not None:
        emit(_sentence(expected, estimate))


def _estimate(lookup: Path, cache: Path, loaded: list[tuple[KeypointModel, Card]], inference: Inference) -> Estimate:
    """Estimate the score of `loaded` on a cache; notes say what makes the estimate unreliable."""
    from kptool.cache.store import Cache
    from kptool.evaluation.evaluation import trained_on
    from kptool.kaggle import estimate

    with Cache(cache) as opened:
        seen = max(trained_on(card.data, opened, "val") for _, card in loaded)
        if seen:
            note(
                f"kptool: {seen} of the validation images in {cache} were used for training, so the estimate is too"
                " optimistic"
            )
        expected = estimate.estimate(lookup, opened, *(model for model, _ in loaded), inference=inference)
    if expected.unlabelled:
        note(f"kptool: the estimate omits {', '.join(expected.unlabelled)}: not labelled in any validation image")
    return expected


def _sentence(expected: Estimate, cache: Path | None) -> str:
    """An estimate in words."""
    interval = "no interval, as all images are of one group"
    if expected.low is not None and expected.high is not None:
        interval = f"95 % bootstrap interval {expected.low:.3f} to {expected.high:.3f}"
    return (
        f"estimated leaderboard RMSE: {expected.rmse:.3f} px ({interval}; {expected.images} validation images"
        f" in {expected.groups} groups of {cache})"
    )
