"""DeepLabCut's labels: a CollectedData csv or h5, a folder with one per video, or a project given by its config.yaml.

The header has rows scorer, (individuals,) bodyparts and coords. Below is a row for each image, whose name takes one column
or is a path in three. `kptool.data.formats.visibility` interprets coords other than x and y. Lightning Pose writes the
same format. An integer is a pixel's centre. Frames of one video are a group.
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
from kptool.data.formats import deeplabcut_frames, deeplabcut_settings, pandas_h5
from kptool.data.formats.columns import not_used
from kptool.data.formats.visibility import flag_kind, from_columns
from kptool.system.text import first_line, is_file, numbers, pad_rows, read_rows, read_yaml

_HEADER_ROWS = ("scorer", "individuals", "bodyparts", "coords")
_NO_ANIMAL = "single"
"""DeepLabCut's name for the individual of body parts that belong to no animal."""
_VIDEOS, _CONFIG, _LABELS = "labeled-data", "config.yaml", "CollectedData*"
_MAX_BYTES = 1 << 28


@dataclass(frozen=True)
class _Sheet:
    """One file: lines (numbers, R), pictures (names as written, R), columns (individual, body part, coord; C), cells
    (texts (R, C)), and whether a comma may be the decimal sign."""

    path: Path
    lines: Sequence[int]
    pictures: list[str]
    columns: list[tuple[str, str, str]]
    cells: NDArray[np.object_]
    comma: bool
    notes: tuple[str, ...]

    def where(self, row: int) -> str:
        """The file and line of a row, for messages."""
        return f"{self.path}, line {self.lines[row]}"


def matches(path: Path) -> bool:
    """Whether `path` is a CollectedData csv or h5, a project's config.yaml, or a folder with labels below it."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return re.match('"?scorer"?[,;\t]', first_line(path)) is not None
    if suffix in (".yaml", ".yml"):
        return path.is_file() and (path.parent / _VIDEOS).is_dir() and first_line(path) != "" and _is_config(path)
    if suffix == ".h5":
        return pandas_h5.matches(path)
    return path.is_dir() and bool(_label_files(path))


def read(path: Path, category: str | None = None) -> LabelFile:
    """An instance for each image and individual, or only for the individual called `category`.

    Body parts that belong to no animal are read only with `category` "single" (or if there is nothing else), and counted
    otherwise. Raises DataError, naming file and line, for invalid labels.
    """
    files, settings, notes = _files(path)
    sheets = [_sheet(file) for file in files]
    individuals = tuple(dict.fromkeys(column[0] for sheet in sheets for column in sheet.columns))
    wanted = _wanted(path, individuals, category)
    found = dict.fromkeys(part for sheet in sheets for one, part, _ in sheet.columns if one in wanted)
    names, more = _ordered(tuple(found), settings, wanted)
    bounded(path, names, sum(len(sheet.lines) for sheet in sheets) * len(wanted))
    base = path if path.is_dir() else path.parent
    notes = [*notes, *more, *(note for sheet in sheets for note in sheet.notes)]
    instances = []
    for sheet in sheets:
        found_here, remarks = _instances(sheet, names, wanted, base)
        instances += found_here
        notes += [f"{sheet.path.name}: {note}" if len(sheets) == 1 else f"{sheet.path}: {note}" for note in remarks]
    if category is None and _NO_ANIMAL not in wanted:
        notes += _no_animal_notes(sheets)
    videos = dict.fromkeys(instance.group for instance in instances)
    if len(videos) > 1:
        notes.append(f"{len(videos)} videos, whose frames stay together in a split")
    elif instances:
        instances = [replace(instance, group=None) for instance in instances]
        notes.append(
            "all pictures are in one folder, as frames of one video are; --split similar keeps near-duplicates together"
        )
    edges = deeplabcut_settings.edges(settings, names)
    return LabelFile(names, instances, None, tuple(files), tuple(dict.fromkeys(notes)), edges=edges)


def _files(path: Path) -> tuple[list[Path], dict[str, Any], list[str]]:
    """The label files, csv before h5; the project's settings; notes. Raises DataError for none, or several per video."""
    if path.is_file() and path.suffix.lower() in (".csv", ".h5"):
        csv = path.with_suffix(".csv")
        if path == csv or not is_file(csv):
            return [path], {}, []
        return [csv], {}, [f"{csv.name} is read instead of {path.name} beside it"]
    folder = path.parent if path.is_file() else path
    config = path if path.is_file() else folder / _CONFIG
    settings = read_yaml(config) if is_file(config) and _is_config(config) else {}
    found = _label_files(folder)
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
    return files, settings, [*notes, *_unlabelled_notes(files)]


def _label_files(folder: Path) -> dict[Path, list[Path]]:
    """Label files by video: in subfolders of `folder` or its labeled-data, csv before h5, and any h5 in `folder`."""
    root = folder / _VIDEOS if (folder / _VIDEOS).is_dir() else folder
    found: dict[Path, list[Path]] = {}
    for file in sorted([*root.glob(f"*/{_LABELS}"), *folder.glob(f"{_LABELS}.h5")]):
        csv = file.with_suffix(".csv")
        if file.suffix.lower() == ".csv" or (file.suffix.lower() == ".h5" and not is_file(csv)):
            found.setdefault(file.parent, []).append(file)
    return found


def _unlabelled_notes(files: list[Path]) -> Iterator[str]:
    """A note on videos without labels; folders called NAME_labeled hold DeepLabCut's plots."""
    root, done = files[0].parent.parent, {file.parent for file in files}
    rest = [p.name for p in sorted(root.iterdir()) if p.is_dir() and p not in done and not p.name.endswith("_labeled")]
    if rest:
        text = "folders of {} have" if len(rest) > 1 else "folder of {} has"
        yield f"{len(rest)} {text.format(root.name)} no CollectedData: {', '.join(rest[:5])}{', ...' * (len(rest) > 5)}"


def _is_config(path: Path) -> bool:
    """Whether a yaml is that of a DeepLabCut project: it has body parts, and a task or videos."""
    try:
        settings = read_yaml(path)
    except DataError:
        return False
    return isinstance(settings, dict) and "bodyparts" in settings and bool({"Task", "video_sets"} & settings.keys())


def _sheet(path: Path) -> _Sheet:
    """The header and the cells of a file. Raises DataError if they are not in DeepLabCut's layout."""
    if path.suffix.lower() == ".h5":
        rows, separator = list(enumerate(pandas_h5.read(path), start=1)), ","
    else:
        rows, separator = read_rows(path, _MAX_BYTES)
    heads = {row[0]: row for _, row in rows[: len(_HEADER_ROWS)] if row[0] in _HEADER_ROWS}
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
    """(individual, body part, coord) of each label column, and the number of columns before. Raises DataError."""
    coords, parts = (_trimmed(heads[name]) for name in ("coords", "bodyparts"))
    individuals = _trimmed(heads["individuals"]) if "individuals" in heads else ["" for _ in coords]
    if not len(coords) == len(parts) == len(individuals):
        raise DataError(f"{path}: its header rows differ in length; export it again")
    first = next((i for i, cell in enumerate(coords) if cell.casefold() in ("x", "y")), 0)
    columns = [(one, part, coord.casefold()) for one, part, coord in zip(individuals, parts, coords, strict=True)]
    columns = columns[first:]
    axes: dict[tuple[str, str], list[str]] = {}
    for one, part, axis in columns:
        axes.setdefault((one, part), []).extend([axis] if axis in ("x", "y") else [])
    for (one, part), found in axes.items():
        if first == 0 or sorted(found) != ["x", "y"]:
            name = f"{one} {part}".strip()
            raise DataError(f"{path}: {name} does not have one x and one y; export it again")
    return columns, first


def _trimmed(row: list[str]) -> list[str]:
    """The row without empty cells at its end."""
    return row[: max((i + 1 for i, cell in enumerate(row) if cell), default=0)]


def _wanted(path: Path, individuals: tuple[str, ...], category: str | None) -> tuple[str, ...]:
    """The individuals to read. Raises DataError if `category` is not one of them."""
    if category is None:
        return tuple(one for one in individuals if one != _NO_ANIMAL) or individuals
    if category not in individuals:
        listed = f"choose one of {', '.join(individuals)}"
        known = listed if any(individuals) else "it has one animal, so leave --category out"
        raise DataError(f"{path} has no individual {category!r}; {known}")
    return (category,)


def _ordered(
    found: tuple[str, ...], settings: dict[str, Any], wanted: tuple[str, ...]
) -> tuple[tuple[str, ...], list[str]]:
    """The body parts in the order of the project's settings, and notes on parts that only one of the two has."""
    key = "uniquebodyparts" if wanted == (_NO_ANIMAL,) else "multianimalbodyparts"
    stated = settings.get(key) or settings.get("bodyparts")
    order = [str(part) for part in stated] if isinstance(stated, list) else []
    if not order:
        return found, []
    lacking = [part for part in order if part not in found]
    extra = [part for part in found if part not in order]
    notes = [f"{_CONFIG} names body parts without labels: {', '.join(lacking)}"] if lacking else []
    notes += [f"{_CONFIG} does not name these labelled body parts: {', '.join(extra)}"] if extra else []
    return (*(part for part in order if part in found), *extra), notes


def _instances(
    sheet: _Sheet, names: tuple[str, ...], wanted: tuple[str, ...], base: Path
) -> tuple[list[Labelled], tuple[str, ...]]:
    """The individuals of each row that have a label (without individuals: every row), and notes on visibility."""
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
    instances = []
    for row, (name, group) in enumerate(places):
        for i, one in enumerate(wanted):
            visible = seen[row * len(wanted) + i]
            if visible.any() or not one:
                instances.append(Labelled(name, points[row, i], visible, group=group))
    empty = len(places) - len({instance.picture for instance in instances})
    if empty and any(wanted):
        text = "pictures have no labelled animal and are" if empty > 1 else "picture has no labelled animal and is"
        notes = (*notes, f"{empty} {text} not used")
    return instances, (*notes, *deeplabcut_frames.moved(sheet.path, sheet.pictures, [name for name, _ in places]))


def _values(
    sheet: _Sheet, names: tuple[str, ...], wanted: tuple[str, ...]
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.object_]]]:
    """Points (rows, individuals, K, 2), NaN if empty, and by kind of flag the texts of other coords, the same without 2.

    Raises DataError, naming the line, for a coordinate that is not a number.
    """
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


def _no_animal_notes(sheets: Sequence[_Sheet]) -> Iterator[str]:
    """A note on labels of body parts that belong to no animal, which are not read."""
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
