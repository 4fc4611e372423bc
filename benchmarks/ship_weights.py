"""Make a run's weights the ones that ship with kptool: python benchmarks/ship_weights.py runs/unet CACHE [NAME]

Stores the weights in float16 as kptool/weights/NAME.safetensors, and their graph as NAME.maps.onnx; NAME is the model's. The card
in the file holds metrics of the weights as stored, with and without flip averaging. A run cannot measure the vertical label
shift; it comes from benchmarks/label_shift.py, see docs/label-shift.md. With a name such as `unet` in place of the run, only
`ABOUT` and `LABELS` in the card and the graph of the shipped weights are renewed.
"""

from __future__ import annotations

import dataclasses
import sys
import tomllib
from pathlib import Path

from kptool import plugins
from kptool.cache.store import Cache
from kptool.evaluation.evaluation import evaluate_cache
from kptool.evaluation.metrics import mean_shape
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import Inference
from kptool.predict import agreement, export
from kptool.predict.maps_backend import SUFFIX

WEIGHTS = Path(__file__).parent.parent / "kptool" / "weights"
DESCRIPTION = (
    " grey 96x96 frames of 277 people, cut around the face from videos of YouTube Faces, 15 keypoints; labels are whole"
    " pixels of the photos, about 1.1 here. Validation: 206 frames of 17 people who are not among the others."
)
ABOUT = {
    "licence": "frames and labels: the public P1_Facial_Keypoints set, from a repository under the MIT licence",
    "limits": "faces that fill the picture, upright to 25 degrees, frontal to half turned; people in front of cameras, few"
    " children; not for telling who somebody is, nor for medical or legal measurement",
}


SMALL = "unet-small"
DISTILLED = (
    " Training labels are moved 75 % of the way to the points of the unet weights that ship with kptool"
    " (benchmarks/distil.py); metrics are of the labels as they are."
)
LABELS = {
    "y": 1.0,
    "y_error": 0.3,
    "y_from": "tilted faces in their own mirror; dlib, MediaPipe and Helen's labels; docs/label-shift.md",
}


def restate(model: str, cache_path: Path) -> None:
    """Rewrite a shipped model's files with the same weights and metrics, and the current `ABOUT` and `LABELS`."""
    target = WEIGHTS / f"{model}.safetensors"
    model, card = checkpoint.load_model(target)
    card = dataclasses.replace(card, data={**card.data, **ABOUT}, labels={**card.labels, **LABELS})
    checkpoint.save_weights(target, model, card, half=True)
    _graph(target, cache_path, card)


def _graph(target: Path, cache_path: Path, card: cards.Card) -> None:
    shown = agreement.pictures(cache_path, card.config).images
    graph = target.with_suffix(SUFFIX)
    apart = export.write_maps(target, graph, shown, half=True)
    print(f"{graph}: {graph.stat().st_size / 1e6:.2f} MB, at most {apart:.4f} px from torch")


def _version() -> str:
    """kptool's version, also where the package is not installed."""
    with (Path(__file__).parent.parent / "pyproject.toml").open("rb") as file:
        version: str = tomllib.load(file)["project"]["version"]
    return version


def main(run: Path, cache_path: Path, name: str | None = None) -> None:
    """Write the shipped files from a run, and print the metrics."""
    model, card = checkpoint.load_model(run / cards.WEIGHTS)
    WEIGHTS.mkdir(exist_ok=True)
    target = WEIGHTS / f"{name or card.config.model}.safetensors"
    checkpoint.save_weights(target, model, card, half=True)
    stored, _ = checkpoint.load_model(target)
    with Cache(cache_path) as cache:
        plain, flipped = (evaluate_cache([stored], cache, inference=Inference(flip)) for flip in (False, True))
    metrics = {**card.metrics, **plain.metrics.to_dict(), "radius90": plain.quantiles}
    metrics["flip_averaged"] = {"rmse": flipped.metrics.rmse, "nme": flipped.metrics.nme}
    settings = card.training
    with Cache(cache_path) as cache:
        train, frames = cache.index("train"), len(cache)
        shape = mean_shape(cache.read("keypoints", train), cache.read("visibility", train)).round(4).tolist()
    command = f"kptool train {card.config.model} --epochs {settings['epochs']} --seed {settings['seed']}"
    if card.config.width != plugins.load_model(card.config.model).default_width:
        command += f" --set width={card.config.width}"
    if settings["augment"].get("upright"):
        command += f" --set augment.upright={settings['augment']['upright']}"
    known = {**card.data, **ABOUT, "description": f"{frames}{DESCRIPTION}", "kptool": _version()}
    if name == SMALL:
        known["description"] += DISTILLED
    known.pop(cards.UPRIGHT, None)  # predict aligns faces to their mean shape
    data = {**known, "source": Path(card.data["source"]).name, "command": command, "mean_shape": shape}
    checkpoint.save_weights(
        target, model, dataclasses.replace(card, data=data, metrics=metrics, labels=LABELS), half=True
    )
    _graph(target, cache_path, card)
    size = target.stat().st_size / 1e6
    print(f"{target}: {size:.2f} MB, RMSE {plain.metrics.rmse:.3f} px, flip-averaged {flipped.metrics.rmse:.3f} px")


if __name__ == "__main__":
    if "/" in sys.argv[1]:
        main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4])
    else:
        restate(sys.argv[1], Path(sys.argv[2]))
