"""An evaluation on whole pictures as text tables: the metrics, and each keypoint's."""

from __future__ import annotations

from typing import Any

from rich.table import Table


def instance_tables(document: dict[str, Any], title: str) -> list[Table]:
    """The two tables of a document of ``kptool evaluate LABELS --json``."""
    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for row in instance_rows(document):
        table.add_row(*row)
    levels = list(document["pck"])
    keypoints = Table("keypoint")
    for head in ("labels", "distance", *(f"PCK at {level}" for level in levels), "sigma"):
        keypoints.add_column(head, justify="right")
    for name, each in document["keypoints"].items():
        pck = (_share(each["pck"][level]) for level in levels)
        keypoints.add_row(name, str(each["labelled"]), _pixels(each["distance"]), *pck, f"{each['sigma']:.3f}")
    return [table, keypoints]


def instance_rows(document: dict[str, Any]) -> list[tuple[str, str]]:
    """The name and the text of each metric but those of single keypoints."""
    count = document["instances"]
    rows = [(name, _number(document[key])) for name, key in _COCO.items()]
    rows += [
        (f"precision at OKS {document['oks_threshold']:g}", _share(document["precision"])),
        (f"recall at OKS {document['oks_threshold']:g}", _share(document["recall"])),
        ("found / missed / extra", f"{document['found']} / {document['missed']} / {document['extra']} of {count}"),
    ]
    rows += [(f"PCK at {level}", _share(share)) for level, share in document["pck"].items()]
    rows += [(f"PCK at {level}, found instances", _share(share)) for level, share in document["pck_found"].items()]
    return [*rows, ("mean distance, found instances", _pixels(document["distance"]))]


_COCO = {
    "mAP, OKS 0.50 to 0.95": "map",
    "mAP at OKS 0.50": "map50",
    "mAP at OKS 0.75": "map75",
    "mAR, OKS 0.50 to 0.95": "mar",
}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _pixels(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} px"
