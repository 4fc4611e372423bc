"""All formats that `kptool convert` writes, by the name that --to takes."""

from __future__ import annotations

from kptool.data.writers.coco import COCO
from kptool.data.writers.cvat import CVAT
from kptool.data.writers.deeplabcut import DEEPLABCUT
from kptool.data.writers.label_studio import LABEL_STUDIO
from kptool.data.writers.labelme import LABELME
from kptool.data.writers.wide_csv import CSV
from kptool.data.writers.writer import Writer
from kptool.data.writers.yolo import YOLO

WRITERS: dict[str, Writer] = {
    "coco": COCO,
    "yolo": YOLO,
    "csv": CSV,
    "label-studio": LABEL_STUDIO,
    "cvat": CVAT,
    "deeplabcut": DEEPLABCUT,
    "labelme": LABELME,
}
