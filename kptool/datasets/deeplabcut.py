"""DeepLabCut's labels: a CollectedData csv or h5, a folder of videos that have one each, or a project by its config.yaml.

The header's rows are scorer, (individuals,) bodyparts, coords; below, a picture in each row, whose name takes one column,
or three whose parts make its path. Other coords than x and y are what `formats.visibility` makes of them; lightning-pose
writes the same. An integer is a pixel's centre. Frames of one video belong together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.data.annotations import Dataset, LabelFile, Labelled, bounded
from kptool.data.formats import deeplabcut_frames, pandas_h5
from kptool.data.formats.columns import not_used
from kptool.data.formats.visibility import flag_kind, from_columns
from kptool.system.text import first_line, is_file, numbers, pad_rows, read_rows, read_yaml

_HEADS = ("scorer", "individuals", "bodyparts", "coords")
_NO_ANIMAL = "single"
"""What DeepLabCut calls the individual of body parts that belong to no animal."""
_VIDEOS, _CONFIG, _LABELS = "labeled-data", "config.yaml", "CollectedData*"
_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class _Sheet:
    """One file: its `pictures` as written, and the texts (rows, columns) of `columns` (individual, body part, coord)."""

    path: Path
    lines: Sequence[int]
    pictures: list[str]
    columns: list[tuple[str, str, str]]
    cells: NDArray[np.object_]
    comma: bool
    notes: tuple[str, ...]

    def where(self, row: int) -> str:
        return f"{self.path}, line {self.lines[row]}"


def matches(path: Path) -> bool:
    """Whether `path` is such a csv or h5, a project's config.yaml, or a folder of videos' folders with labels."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return re.match('"?scorer"?[,;\t]', first_line(path)) is not None
    if suffix in (".yaml", ".yml"):
        return path.is_file() and (path.parent / _VIDEOS).is_dir() and first_line(path) != "" and _is_config(path)
    if suffix == ".h5":
        return pandas_h5.matches(path)
    return path.is_dir() and bool(_labelled(path))


def read(path: Path, category: str | None = None) -> LabelFile:
    """A thing for each picture and individual; `category` is an individual's name. Raises DataError with the line.

    Body parts of no animal are read where `category` is their individual, "single", alone, and are counted elsewhere.
    """
    files, settings, notes = _files(path)
    sheets = [_sheet(file) for file in files]
    who = tuple(dict.fromkeys(column[0] for sheet in sheets for column in sheet.columns))
    wanted = _wanted(path, who, category)
    found = dict.fromkeys(part for sheet in sheets for one, part, _ in sheet.columns if one in wanted)
    names, more = _ordered(tuple(found), settings, wanted)
    bounded(path, names, sum(len(sheet.lines) for sheet in sheets) * len(wanted))
    base = path if path.is_dir() else path.parent
    notes = [*notes, *more, *(note for sheet in sheets for note in sheet.notes)]
    things = []
    for sheet in sheets:
        these, said = _things(sheet, names, wanted, base)
        things += these
        notes += [f"{sheet.path.name}: {note}" if len(sheets) == 1 else f"{sheet.path}: {note}" for note in said]
    if category is None and _NO_ANIMAL not in wanted:
        notes += _of_no_animal(sheets)
    videos = dict.fromkeys(thing.group for thing in things)
    if len(videos) > 1:
        notes.append(f"{len(videos)} videos, whose frames stay together in a split")
    elif things:
        things = [replace(thing, group=None) for thing in things]
        notes.append(
            "all pictures lie in one folder, as frames of one video; --split similar keeps near-duplicates together"
        )
    return LabelFile(names, things, None, tuple(files), tuple(dict.fromkeys(notes)))


def _files(path: Path) -> tuple[list[Path], dict[str, Any], list[str]]:
    """The files with labels, csv before h5; a project's settings; notes."""
    if path.is_file() and path.suffix.lower() in (".csv", ".h5"):
        csv = path.with_suffix(".csv")
        if path == csv or not is_file(csv):
            return [path], {}, []
        return [csv], {}, [f"{csv.name} is read in place of {path.name} beside it"]
    folder = path.parent if path.is_file() else path
    config = path if path.is_file() else folder / _CONFIG
    settings = read_yaml(config) if is_file(config) and _is_config(config) else {}
    found = _labelled(folder)
    files, notes = [], []
    for video, sheets in found.items():
        own = [sheet for sheet in sheets if sheet.stem == f"CollectedData_{settings.get('scorer')}"] or sheets
        if len(own) > 1:
            raise DataError(
                f"{video} holds several label files: {', '.join(sheet.name for sheet in own[:5])}; keep one"
            )
        files += own
        others = ", ".join(sheet.name for sheet in sheets if sheet not in own)
        if others:
            notes.append(
                f"{others} of {video.name} is not used, as {_CONFIG} names the scorer {settings.get('scorer')}"
            )
    if not files:
        raise DataError(f"{folder} has no {_VIDEOS}/VIDEO/CollectedData_SCORER.csv; label some frames first")
    return files, settings, [*notes, *_unlabelled(files)]


def _labelled(folder: Path) -> dict[Path, list[Path]]:
    """The labels in each video's folder below `folder`, or below its labeled-data, csv before h5; h5 in it alone."""
    home = folder / _VIDEOS if (folder / _VIDEOS).is_dir() else folder
    found: dict[Path, list[Path]] = {}
    for place in sorted([*home.glob(f"*/{_LABELS}"), *folder.glob(f"{_LABELS}.h5")]):
        csv = place.with_suffix(".csv")
        if place.suffix.lower() == ".csv" or (place.suffix.lower() == ".h5" and not is_file(csv)):
            found.setdefault(place.parent, []).append(place)
    return found


def _unlabelled(files: list[Path]) -> Iterator[str]:
    """A note on videos whose frames nobody labelled; DeepLabCut's own drawings, in NAME_labeled, are none."""
    home, done = files[0].parent.parent, {file.parent for file in files}
    rest = [p.name for p in sorted(home.iterdir()) if p.is_dir() and p not in done and not p.name.endswith("_labeled")]
    if rest:
        text = "folders of {} have" if len(rest) > 1 else "folder of {} has"
        yield f"{len(rest)} {text.format(home.name)} no CollectedData: {', '.join(rest[:5])}{', ...' * (len(rest) > 5)}"


def _is_config(path: Path) -> bool:
    """Whether a yaml is a DeepLabCut project's: it names body parts, and a task or videos."""
    try:
        settings = read_yaml(path)
    except DataError:
        return False
    return isinstance(settings, dict) and "bodyparts" in settings and bool({"Task", "video_sets"} & settings.keys())


def _sheet(path: Path) -> _Sheet:
    """The file's header and cells. Raises DataError where they are not laid out as they should be."""
    if path.suffix.lower() == ".h5":
        rows, separator = list(enumerate(pandas_h5.read(path), start=1)), ","
    else:
        rows, separator = read_rows(path, _MOST_BYTES)
    heads = {row[0]: row for _, row in rows[: len(_HEADS)] if row[0] in _HEADS}
    if not {"bodyparts", "coords"} <= set(heads):
        raise DataError(f"{path}: expected DeepLabCut's header rows scorer, bodyparts and coords; export it again")
    columns, first = _columns(path, heads)
    below = [row for row in rows if row[1][0] not in heads]
    cells, notes = pad_rows(path, below, first + len(columns))
    texts = np.array([row[first:] for row in cells], object).reshape(len(cells), len(columns))
    pictures = ["/".join(cell.replace("\\", "/") for cell in row[:first] if cell) for row in cells]
    if pictures and all(name.isdecimal() for name in pictures):
        raise DataError(
            f"{path} numbers its rows, as DeepLabCut's predictions for a video do, and names no pictures; give the"
            " CollectedData of labeled-data, or save those frames and name them"
        )
    spare = sorted({axis for _, _, axis in columns if axis not in ("x", "y") and flag_kind(axis) is None})
    return _Sheet(path, [n for n, _ in below], pictures, columns, texts, separator != ",", (*notes, *not_used(spare)))


def _columns(path: Path, heads: dict[str, list[str]]) -> tuple[list[tuple[str, str, str]], int]:
    """Individual, body part and coord of each column, and the number of columns before them, which name the picture."""
    coords, parts = (_ended(heads[name]) for name in ("coords", "bodyparts"))
    who = _ended(heads["individuals"]) if "individuals" in heads else ["" for _ in coords]
    if not len(coords) == len(parts) == len(who):
        raise DataError(f"{path}: its header rows differ in length; export it again")
    first = next((i for i, cell in enumerate(coords) if cell.casefold() in ("x", "y")), 0)
    columns = [(one, part, coord.casefold()) for one, part, coord in zip(who, parts, coords, strict=True)][first:]
    axes: dict[tuple[str, str], list[str]] = {}
    for one, part, axis in columns:
        axes.setdefault((one, part), []).extend([axis] if axis in ("x", "y") else [])
    for (one, part), found in axes.items():
        if first == 0 or sorted(found) != ["x", "y"]:
            name = f"{one} {part}".strip()
            raise DataError(f"{path}: {name} does not have one x and one y; export it again")
    return columns, first


def _ended(row: list[str]) -> list[str]:
    """The row without what is empty at its end."""
    return row[: max((i + 1 for i, cell in enumerate(row) if cell), default=0)]


def _wanted(path: Path, who: tuple[str, ...], category: str | None) -> tuple[str, ...]:
    """The individuals to read."""
    if category is None:
        return tuple(one for one in who if one != _NO_ANIMAL) or who
    if category not in who:
        known = f"choose one of {', '.join(who)}" if any(who) else "it has one animal, so leave --category out"
        raise DataError(f"{path} has no individual {category!r}; {known}")
    return (category,)


def _ordered(
    found: tuple[str, ...], settings: dict[str, Any], wanted: tuple[str, ...]
) -> tuple[tuple[str, ...], list[str]]:
    """The body parts in the order of the project's settings, and notes on those that one of the two lacks."""
    key = "uniquebodyparts" if wanted == (_NO_ANIMAL,) else "multianimalbodyparts"
    stated = settings.get(key) or settings.get("bodyparts")
    order = [str(part) for part in stated] if isinstance(stated, list) else []
    if not order:
        return found, []
    lacking = [part for part in order if part not in found]
    extra = [part for part in found if part not in order]
    notes = [f"{_CONFIG} names body parts that no label is of: {', '.join(lacking)}"] if lacking else []
    notes += [f"{_CONFIG} does not name body parts that labels are of: {', '.join(extra)}"] if extra else []
    return (*(part for part in order if part in found), *extra), notes


def _things(
    sheet: _Sheet, names: tuple[str, ...], wanted: tuple[str, ...], base: Path
) -> tuple[list[Labelled], tuple[str, ...]]:
    """The individuals of each row that have a label, and notes on their flags; of one animal alone, every row."""
    places = [
        deeplabcut_frames.place(sheet.path, sheet.where(row), name, base) for row, name in enumerate(sheet.pictures)
    ]
    points, stated = _values(sheet, names, wanted)
    shape = (len(sheet.lines) * len(wanted), len(names))
    seen, notes = from_columns(
        lambda row: sheet.where(row // len(wanted)),
        points.reshape(*shape, 2),
        {what: texts.reshape(shape) for what, texts in stated.items()},
        sheet.comma,
    )
    things = []
    for row, (name, group) in enumerate(places):
        for i, one in enumerate(wanted):
            visible = seen[row * len(wanted) + i]
            if visible.any() or not one:
                things.append(Labelled(name, points[row, i], visible, group=group))
    empty = len(places) - len({thing.picture for thing in things})
    if empty and any(wanted):
        text = "pictures have no labelled animal and are" if empty > 1 else "picture has no labelled animal and is"
        notes = (*notes, f"{empty} {text} not used")
    return things, (*notes, *deeplabcut_frames.moved(sheet.path, sheet.pictures, [name for name, _ in places]))


def _values(
    sheet: _Sheet, names: tuple[str, ...], wanted: tuple[str, ...]
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.object_]]]:
    """Points (rows, individuals, K, 2), NaN where there is none, and what is stated of each (rows, individuals, K)."""
    values, wrong = numbers(sheet.cells, sheet.comma)
    points = np.full((len(sheet.lines), len(wanted), len(names), 2), np.nan)
    stated: dict[str, NDArray[np.object_]] = {}
    for column, (one, part, axis) in enumerate(sheet.columns):
        if one not in wanted:
            continue
        i, k, what = wanted.index(one), names.index(part), flag_kind(axis)
        if axis in ("x", "y"):
            if wrong[:, column].any():
                row = int(np.flatnonzero(wrong[:, column])[0])
                raise DataError(
                    f"{sheet.where(row)}: {part} {axis} is {sheet.cells[row, column][:40]!r}, expected a number or"
                    " nothing; correct it, or empty the cell"
                )
            points[:, i, k, "xy".index(axis)] = values[:, column]
        elif what:
            texts = stated.setdefault(what, np.full(points.shape[:3], "", object))
            texts[:, i, k] = sheet.cells[:, column]
    return points, stated


def _of_no_animal(sheets: Sequence[_Sheet]) -> Iterator[str]:
    """A note on labels of body parts that belong to no animal."""
    count, parts = 0, dict[str, None]()
    for sheet in sheets:
        columns = [i for i, (one, _, axis) in enumerate(sheet.columns) if one == _NO_ANIMAL and axis == "x"]
        count += int((~np.isnan(numbers(sheet.cells[:, columns], sheet.comma)[0])).sum())
        parts.update(dict.fromkeys(sheet.columns[i][1] for i in columns))
    if parts:
        yield (
            f"{count} labels of body parts that belong to no animal ({', '.join(parts)}) are not used; --category"
            f" {_NO_ANIMAL} reads them alone"
        )


DATASET = Dataset("DeepLabCut's CollectedData (csv or h5), its project or labeled-data folder", matches, read=read)
