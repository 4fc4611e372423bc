"""Tells the kind of a JSON label file from the keys at its beginning, without parsing all of it.

The kinds exclude each other, so no two readers take the same file. The reader for COCO also takes objects of no known kind, and
that for Label Studio lists of no known kind; these report what is wrong with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from kptool.base.errors import DataError
from kptool.data.pictures import SUFFIXES
from kptool.system.text import beginning, is_file
from kptool.system.walking import files_below

COCO, COCO_WHOLEBODY, LABEL_STUDIO = "coco", "coco-wholebody", "label-studio"
LABELME, VIA, MPII, OPENPOSE, SUPERVISELY = "labelme", "via", "mpii", "openpose", "supervisely"
SUPERVISELY_META, PREDICTIONS = "supervisely-meta", "predictions"
OTHER_OBJECT, OTHER_LIST = "object", "list"
_TOKEN = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"(\s*:)?|[{}\[\]]', re.DOTALL)
_CHUNK, _ENCODINGS = 1 << 22, ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_MOST_FILES, _MOST_LISTED = 50, 2000
"""Files of a folder whose kind is determined, and files below it that are listed to find them."""
Keys = frozenset[str]
_OBJECTS: tuple[tuple[str, Callable[[Keys, Keys], bool]], ...] = (
    (VIA, lambda keys, _: any(key.startswith("_via_") for key in keys)),
    (VIA, lambda keys, _: {"project", "config"} <= keys and bool({"attribute", "file", "view"} & keys)),
    (SUPERVISELY, lambda keys, inner: "objects" in keys and bool({"size", "tags"} & keys or "classTitle" in inner)),
    (SUPERVISELY_META, lambda keys, inner: "classes" in keys and {"title", "shape"} <= inner),
    (LABELME, lambda keys, _: "shapes" in keys and bool({"imagePath", "imageData", "imageHeight"} & keys)),
    (LABELME, lambda keys, _: "imageData" in keys and not {"images", "annotations"} & keys),
    (LABELME, lambda keys, inner: "shapes" in keys and {"label", "points"} <= inner),
    (OPENPOSE, lambda keys, _: "people" in keys and not {"images", "annotations"} & keys),
    (PREDICTIONS, lambda keys, _: {"model", "coordinates"} <= keys and not {"annotations", "categories"} & keys),
    (COCO, lambda keys, _: bool({"images", "annotations"} & keys)),
    (VIA, lambda _, inner: {"filename", "regions"} <= inner),
)
"""Kinds of objects: a test of the keys of the object itself, and of the keys of the objects in it."""
_LISTS: tuple[tuple[str, Callable[[Keys, Keys], bool]], ...] = (
    (MPII, lambda keys, _: "joints" in keys and "image" in keys),
    (MPII, lambda keys, _: "joint_self" in keys),
    (LABEL_STUDIO, lambda keys, _: "data" in keys and bool({"annotations", "predictions", "id"} & keys)),
)
"""Kinds of lists: a test of the keys of the first object in it, and of the keys of the objects in that."""


def kind(path: Path) -> str | None:
    """The kind of a JSON file, one of the constants above; None if `path` is no file that looks like JSON."""
    try:
        about = path.stat()
    except (OSError, ValueError):
        return None
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    return _kind(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4096)
def _kind(path: Path, changed: int, size: int) -> str | None:
    """As `kind`, remembered until the file changes."""
    text = beginning(path).lstrip()
    if not text.startswith(("{", "[")):
        return None
    keys, inner = _keys(text)
    if text[0] == "[":
        return next((name for name, fits in _LISTS if fits(keys, inner)), OTHER_LIST)
    found = next((name for name, fits in _OBJECTS if fits(keys, inner)), OTHER_OBJECT)
    return COCO_WHOLEBODY if found == COCO and _contains(path, '"lefthand_kpts"') else found


def _keys(text: str) -> tuple[Keys, Keys]:
    """The keys of the object that `text` begins with, or of the first object in a list, and those of all objects in it."""
    own, keys, inner, depth = 1 + (text[0] == "["), set[str](), set[str](), 0
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "{" | "[":
                depth += 1
            case "}" | "]":
                depth -= 1
                if depth < own and (keys or depth == 0):
                    break
            case _ if token[2]:
                (keys if depth == own else inner).add(token[1])
    return frozenset(keys), frozenset(inner)


def _contains(path: Path, wanted: str) -> bool:
    """Whether a file contains `wanted`, in UTF-8, or in another encoding if it begins with a byte order mark."""
    try:
        with path.open("rb") as file:
            tail = file.read(_CHUNK)
            codes = ("utf-8",) if tail[:1] in (b"{", b" ", b"\n") else _ENCODINGS
            texts = [wanted.encode(code) for code in codes]
            while tail:
                if any(text in tail for text in texts):
                    return True
                chunk = file.read(_CHUNK)
                tail = tail[-4 * len(wanted) :] + chunk if chunk else b""
    except OSError:
        pass
    return False


def is_folder_of(folder: Path, wanted: str) -> bool:
    """Whether a folder holds label files of the kind `wanted`, one for each picture, and none of another known kind.

    As in `files_of`, files in subfolders count if there is no JSON file in the folder itself. A sample is examined.
    """
    files = _json_files(folder, _MOST_LISTED)
    some = files[:: max(1, len(files) // _MOST_FILES)]
    kinds = {kind(file) for file in some} - {None, OTHER_OBJECT, OTHER_LIST}
    return kinds == {wanted}


def files_of(path: Path, wanted: str, what: str) -> tuple[list[Path], int]:
    """The label files of one kind at `path`, a file or folder, and the number of other JSON files there.

    Those in subfolders are used if there is no JSON file in the folder itself. what: the kind, in messages. Raises
    DataError for another file that should be of this kind: it is named after a picture beside it, or is no JSON at all.
    """
    if not path.is_dir():
        return [path], 0
    files = _json_files(path, None)
    found = [file for file in files if kind(file) == wanted]
    for file in sorted(set(files) - set(found)):
        stem = file.stem.removesuffix("_keypoints")
        if kind(file) is None or stem != file.stem or any(is_file(file.with_suffix(suffix)) for suffix in SUFFIXES):
            raise DataError(f"{file} is not {what}, as others in its folder are; export it again, or move it elsewhere")
    return found, len(files) - len(found)


def _json_files(folder: Path, most: int | None) -> Sequence[Path]:
    """The JSON files in a folder, else of up to `most` files below it."""
    if not folder.is_dir():
        return []
    own = [file for file in sorted(folder.iterdir()) if file.suffix.lower() == ".json" and file.is_file()]
    if own:
        return own
    found = []
    for number, file in enumerate(files_below(folder)):
        if most is not None and number >= most:
            break
        if file.suffix.lower() == ".json":
            found.append(file)
    return found
