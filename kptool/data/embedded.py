"""Pictures that LabelMe embeds in its JSON files, in base64; to the rest of kptool such a JSON file is a picture file."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import BinaryIO

from kptool.base.errors import DataError
from kptool.system.text import read_json

SUFFIX = ".json"


def stream(source: Path | BinaryIO) -> Path | BinaryIO:
    """What Pillow can open: `source` itself, or the picture in it. Raises DataError if a JSON file has none."""
    if not isinstance(source, Path) or source.suffix.lower() != SUFFIX:
        return source
    document = read_json(source)
    data = document.get("imageData") if isinstance(document, dict) else None
    if not isinstance(data, str):
        raise DataError(f"{source} has no picture as imageData; give the pictures with --images")
    try:
        return io.BytesIO(base64.b64decode(data))
    except ValueError as error:
        raise DataError(f"{source}: imageData is not base64 ({error}); give the pictures with --images") from error
