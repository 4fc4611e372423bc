"""Caches and models described for people: sections of short lines, made of the facts that `kptool info --json` prints.

The facts of a model come from a weights file of any origin, so every value may be missing or of another type. What has no
line of its own is listed after the others; long lists are only counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kptool.base.config import known_settings, recipe_of
from kptool.network.cards import PRIOR, UPRIGHT

Lines = list[tuple[str, str]]
Sections = dict[str, Lines]
"""Title -> (name, text) of each line."""
_OF_SPREAD = "times the heatmap's spread (px without heatmaps)"
"""What a card's `radius90` are multiples of; see `kptool.evaluation.conformal`."""
_FEW = 6
"""Values that are listed in a line; more are counted."""


def of_cache(facts: Mapping[str, Any]) -> Sections:
    """The sections of a cache."""
    rest = dict(facts)
    take = rest.pop
    share, scenes = take("val_share"), take("scenes", 0)
    data = [
        ("file", str(take("cache"))),
        ("source", _source(rest)),
        (
            "images",
            f"{take('images')}: {take('train')} for training, {take('val')} for validation ({share:.0%} requested)",
        ),
        ("input", _input(rest)),
        ("instances", take("category", None) or "not named by the source"),
        ("crop", _crop(take("margin"))),
        ("whole pictures", f"{scenes}, for a finder to learn where instances are" if scenes else ""),
        ("groups", "known: one group stays in one part of the split" if take("grouped") else "unknown"),
        ("heatmaps", f"{take('heatmaps')}, sigma {take('sigma'):g}, stride {take('stride')}"),
        ("made by", f"kptool {take('version')}, seed {take('seed')}"),
    ]
    edges = [("lines", f"{len(edges)} between keypoints")] if (edges := take("edges", ())) else []
    data = [line for line in data if line[1]]
    return {"data": data, "keypoints": _keypoints(rest) + edges} | ({"also": _rest(rest)} if rest else {})


def of_model(facts: Mapping[str, Any]) -> Sections:
    """The sections of a model."""
    rest = dict(facts)
    parts = {name: _table(rest.pop(name)) for name in ("training", "data", "metrics", "labels")}
    model = [("origin", str(rest.pop("origin"))), ("weights", str(rest.pop("weights")))]
    training = _training(parts["training"], rest)
    model += [
        (
            "network",
            f"{rest.pop('model')}, width {rest.pop('width')}, loss {rest.pop('loss')}{_halved(rest.pop('stem', 0))}",
        ),
        ("decoding", f"{rest.pop('decoder')}, sigma {rest.pop('sigma'):g} (models with heatmaps only)"),
        ("input", _input(rest)),
    ]
    sections = {
        "model": model,
        "keypoints": _keypoints(rest),
        "data": _data(parts["data"]),
        "training": training,
        "metrics": _metrics(parts["metrics"]),
        "labels": _labels(parts["labels"]),
        "finder": _finder(rest.pop("finder", None)),
        "also": _rest(rest),
    }
    return {title: lines for title, lines in sections.items() if lines}


def _table(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _source(rest: dict[str, Any]) -> str:
    digest = str(rest.pop("source_sha256", ""))[:12]
    return f"{rest.pop('source', 'unknown')}" + (f" (sha256 {digest}...)" if digest else "")


def _input(rest: dict[str, Any]) -> str:
    height, width = rest.pop("size")
    return f"{width}x{height} px, {'grey' if rest.pop('channels') == 1 else 'colour'}"


def _crop(margin: Any, fill: Any = None) -> str:
    if margin is None:
        return "none: whole pictures"
    known = isinstance(fill, float | int) and 0 < fill <= 1
    about = f"; keypoints fill {fill:.0%} of a side, and predict cuts out again where they do not" if known else ""
    return f"to the boxes, margin {_value(margin)}{about}"


def _keypoints(rest: dict[str, Any]) -> Lines:
    names, pairs, mirror = rest.pop("names"), rest.pop("flip_pairs"), rest.pop("mirror")
    flips = f"{len(pairs)}; {len(names) - 2 * len(pairs)} keypoints have no partner" if mirror else "never mirrored"
    return [("names", f"{len(names)}: {', '.join(names)}"), ("flip pairs", flips)]


def _data(data: dict[str, Any]) -> Lines:
    if not data:
        return []
    lines = [("source", _source(data))]
    if "train_images" in data:
        lines.append(("images", f"{data.pop('train_images')} for training"))
    if "margin" in data:
        lines.append(("crop", _crop(data.pop("margin"), data.pop("fill", None))))
    if data.pop(UPRIGHT, None) is not None:
        lines.append(
            ("second look", "the object turned upright by its keypoints, as a part of the training images was")
        )
    if data.pop(PRIOR, None) is not None:
        lines.append(("unsure peaks", "chosen by the positions of the other keypoints"))
    for key in ("mean_shape", "turned_shape"):
        if _is_shape(data.get(key)):
            del data[key]  # for crops and colours, not for people
    if isinstance(data.get("init"), Mapping):
        lines.append(("started from", _start(data.pop("init"))))
    return lines + _rest(data)


def _start(init: Mapping[str, Any]) -> str:
    """What the training took from other weights; see `kptool.training.init.Taken.describe`."""
    names = init.get("keypoints")
    count = len(names) if isinstance(names, list) else "?"
    taken = f"{init.get('layers')} of {init.get('layers_of')} layers and the head of {count} keypoints"
    return f"{init.get('origin')} (sha256 {str(init.get('sha256'))[:12]}...): {taken}"


def _halved(stem: int) -> str:
    return "" if not stem else f", images halved {'once' if stem == 1 else f'{stem} times'} first"


def _training(training: dict[str, Any], config: Mapping[str, Any]) -> Lines:
    """The settings that differ from the recipe of the model; width and stem are described with the network."""
    if not training:
        return []
    augment = _table(training.pop("augment", None))
    used = {**config, **training, **{f"augment.{key}": value for key, value in augment.items()}}
    recipe = recipe_of(config["model"], tuple(config["size"]), mirror=config["mirror"])
    known = known_settings()
    wanted = {key: recipe.get(key, each.default) for key, each in known.items() if key not in ("width", "stem")}
    lines = [
        (key, f"{_value(used[key])} (recipe: {_value(value)})")
        for key, value in wanted.items()
        if key in used and used[key] != value
    ]
    lines = lines or [("settings", f"the recipe of {config['model']}, {_value(training.get('epochs'))} epochs")]
    return lines + _rest({key: value for key, value in used.items() if key not in known and key not in config})


def _metrics(metrics: dict[str, Any]) -> Lines:
    if not metrics:
        return []
    images, where = metrics.pop("images", None), metrics.pop("measured_on", "val")
    kind = "validation" if where == "val" else "training"
    measured = f"{_value(images)} {kind} images, after epoch {_value(metrics.pop('best_epoch', None))}"
    shape = metrics.pop("mean_shape_rmse", None)
    beside = "" if shape is None else f"; the training images' mean shape: {_number(shape, '.3f')} px"
    levels = _table(metrics.pop("pck", None)).items()
    lines = [
        ("measured on", measured),
        ("RMSE", f"{_number(metrics.pop('rmse', None), '.3f')} px{beside}"),
        ("NME", f"{_number(metrics.pop('nme', None), '.2%')} ({_value(metrics.pop('normaliser', None))})"),
        ("AUC", _number(metrics.pop("auc", None), ".3f")),
        ("failures", f"{_number(metrics.pop('failure_rate', None), '.1%')} of the images"),
        ("PCK", ", ".join(f"{_number(share, '.1%')} at {level}" for level, share in levels)),
        ("keypoints", _spread(_table(metrics.pop("per_keypoint", None)))),
    ]
    radii = metrics.pop("radius90", None)
    if isinstance(radii, list):
        found = [each for each in radii if _is_number(each)]
        if found:
            lines.append(("90 % within", f"{min(found):.2f} to {max(found):.2f} {_OF_SPREAD}, by keypoint"))
    ellipses = metrics.pop("ellipse90", None)
    if isinstance(ellipses, list) and any(ellipses):
        lines.append(("errors", f"not round for {sum(map(bool, ellipses))} keypoints, which have a 90 % ellipse"))
    missing = metrics.pop("radius90_missing", None)
    if missing is not None:
        lines.append(("90 % within", str(missing)))
    return [line for line in lines if line[1]] + _rest(metrics)


def _finder(found: Any) -> Lines:
    """The finder of a run, if it has one."""
    if not isinstance(found, Mapping):
        return []
    (height, width), measured = found["size"], _table(found.get("metrics"))
    lines = [("input", f"{width}x{height} px, whole pictures"), ("finds from", f"a score of {found['threshold']:.2f}")]
    if "recall" in measured:
        of = f"of {_value(measured.get('instances'))} instances in {_value(measured.get('pictures'))} validation pictures"
        lines.append(("recall", f"{_number(measured['recall'], '.1%')} {of}"))
        lines.append(("precision", _number(measured.get("precision"), ".1%")))
    return lines


def _spread(rmse: dict[str, Any]) -> str:
    """The keypoints with the lowest and the highest RMSE."""
    known = {name: value for name, value in rmse.items() if _is_number(value)}
    if not known:
        return ""
    best, worst = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    return f"RMSE {known[best]:.3f} px ({best}) to {known[worst]:.3f} px ({worst})"


def _labels(labels: dict[str, Any]) -> Lines:
    """How far labels lie from the features, by axis."""
    lines = []
    for axis in ("x", "y"):
        value, error, source = (labels.pop(key, None) for key in (axis, f"{axis}_error", f"{axis}_from"))
        spread = f" ± {_number(error, '.2f')}" if error is not None else ""
        text = "unknown" if value is None else f"{_number(value, '+.2f')}{spread} px off the features; {source}"
        lines.append((axis, text))
    return lines + _rest(labels)


def _rest(values: Mapping[str, Any]) -> Lines:
    return [(key, _value(value)) for key, value in values.items()]


def _is_shape(value: Any) -> bool:
    """Whether the value is a list of points."""
    return isinstance(value, list) and all(isinstance(each, list) and len(each) == 2 for each in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any, form: str) -> str:
    return f"{value:{form}}" if _is_number(value) else _value(value)


def _value(value: Any) -> str:
    """A value in a few words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        few = len(value) <= _FEW and not any(isinstance(each, Mapping | list | tuple) for each in value.values())
        return ", ".join(f"{key} {_value(each)}" for key, each in value.items()) if few else f"{len(value)} entries"
    if isinstance(value, list | tuple):
        few = len(value) <= _FEW and not any(isinstance(each, Mapping | list | tuple) for each in value)
        return ", ".join(map(_value, value)) if few else f"{len(value)} values"
    return str(value)
