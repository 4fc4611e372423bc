"""SLEAP's projects (.slp), packages with their pictures (.pkg.slp) and analysis csv.

An integer is a pixel's centre. A point that is not visible counts as unlabelled: SLEAP trains on none, and puts points that
nobody has placed anywhere. Symmetries are flip pairs. Frames are unpacked from the package, or read from the video that the
file names, which is looked for below the file's folder or --images. Frames of one video are a group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.skeleton import UNLABELLED, VISIBLE
from kptool.data import unpacked, video
from kptool.data.annotations import Dataset, LabelFile, Labelled, bounded
from kptool.data.formats import sleap_h5, sleap_table
from kptool.data.lookup import locate
from kptool.data.notes import counted

PREDICTED = "predicted"
"""The category that reads predicted instances rather than labelled ones."""


@dataclass(frozen=True)
class _Skeleton:
    """names: of the K nodes. edges, symmetries: pairs of indices into them."""

    name: str
    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    symmetries: tuple[tuple[int, int], ...]


@dataclass
class _Frames:
    """Where the frames of each video are: names of pictures, below `folder` if they were unpacked."""

    folder: Path | None = None
    names: dict[tuple[int, int], str] = field(default_factory=dict)


def matches(path: Path) -> bool:
    """Whether `path` is a .slp file, or a csv with the columns of SLEAP's analysis export."""
    return sleap_h5.matches(path) or sleap_table.matches(path)


def read(path: Path, category: str | None = None) -> LabelFile:
    """The labelled instances with at least one visible point.

    category: a skeleton's name, needed if several have instances and different nodes; or "predicted" for the predicted
    instances instead. Raises DataError for files that are damaged, hold no labels, or whose pictures cannot be found.
    """
    return read_apart(path, category, path.parent)


def read_apart(path: Path, category: str | None, images: Path) -> LabelFile:
    """As `read`, with the videos or pictures below the folder `images`."""
    if not sleap_h5.matches(path):
        return _read_table(path, category, images)
    kind = sleap_h5.PREDICTED if category == PREDICTED else sleap_h5.LABELLED
    found = sleap_h5.load(path, kind)
    skeletons = [_skeleton(one, found["metadata"]["nodes"]) for one in found["metadata"]["skeletons"]]
    used = Counter(int(row[2]) for row in found["instances"])
    if not used:
        raise DataError(_nothing(path, kind, found))
    chosen = _chosen(path, skeletons, used, None if category == PREDICTED else category)
    first = skeletons[min(chosen)]
    bounded(path, first.names, len(found["instances"]))
    rows = [row for row in found["instances"] if row[2] in chosen]
    points, seen, unseen = _points(first, rows)
    labelled = np.flatnonzero(seen.any(1)).tolist()
    if not labelled:
        raise DataError(f"{path} has instances and no visible point in any of them; label some, and save it again")
    frames = _pictures(path, found["videos"], [(int(rows[i][0]), int(rows[i][1])) for i in labelled], images)
    several = len({rows[i][0] for i in labelled}) > 1
    things = [
        Labelled(
            frames.names[rows[i][0], rows[i][1]], points[i], seen[i], group=f"video {rows[i][0]}" if several else None
        )
        for i in labelled
    ]
    notes = (
        *_notes(found, kind),
        *counted(
            sum(n for k, n in used.items() if k not in chosen), "{n} instance{s} of other skeletons {are} not used"
        ),
        *counted(unseen, "{n} point{s} that SLEAP marks as not visible {are} unlabelled, as in SLEAP's own training"),
        *counted(len(rows) - len(labelled), "{n} instance{s} without a visible point {are} not used"),
        *(_grouping(several) if frames.folder else ()),
    )
    return LabelFile(first.names, things, first.symmetries or None, (path,), notes, frames.folder, first.edges)


def _nothing(path: Path, kind: int, found: dict[str, Any]) -> str:
    """The sentence on a file without instances of the kind that was asked for."""
    if kind == sleap_h5.PREDICTED:
        return f"{path} holds no predicted instances; leave out --category {PREDICTED} to read the labelled ones"
    if found["other"]:
        return (
            f"{path} holds {found['other']} predicted instances and none that somebody labelled; correct some in SLEAP, or"
            f" take the predictions as labels with --category {PREDICTED}"
        )
    return f"{path} holds no labelled instances; label some frames in SLEAP, and save it again"


def _chosen(path: Path, skeletons: list[_Skeleton], used: Counter[int], wanted: str | None) -> set[int]:
    """The numbers of the skeletons to read: those called `wanted`, or all used ones if they have the same nodes."""
    if any(not 0 <= k < len(skeletons) for k in used):
        raise DataError(f"{path}: an instance has a skeleton that the file lacks; save it again in SLEAP")
    names = [skeletons[k].name for k in used]
    if wanted is not None and wanted not in names:
        raise DataError(f"{path} has no instances of a skeleton {wanted!r}; choose one of {', '.join(names)}")
    chosen = {k for k in used if wanted in (None, skeletons[k].name)}
    if len({skeletons[k].names for k in chosen}) > 1:
        raise DataError(
            f"{path} has several skeletons with different nodes; choose one with --category: {', '.join(names)}"
        )
    return chosen


def _skeleton(stated: dict[str, Any], nodes: Sequence[dict[str, Any]]) -> _Skeleton:
    """A skeleton from the json of networkx, in which SLEAP's edge types are pickled references.

    A type is spelt out where it first occurs, and referred to by the number of that occurrence after; 1 is an edge, 2 a
    symmetry.
    """
    graph = stated.get("nx_graph", stated)
    order = [int(node["id"]) for node in graph["nodes"]]
    kinds: dict[int, int] = {}
    pairs: dict[int, list[tuple[int, int]]] = {1: [], 2: []}
    for link in graph["links"]:
        spelt = (link.get("type") or {}).get("py/reduce")
        if spelt:
            kind = kinds[len(kinds) + 1] = int(spelt[1]["py/tuple"][0])
        else:
            number = int((link.get("type") or {}).get("py/id", 1))
            kind = kinds.get(number, number)
        pairs.setdefault(kind, []).append((order.index(int(link["source"])), order.index(int(link["target"]))))
    symmetries = dict.fromkeys((min(pair), max(pair)) for pair in pairs[2])
    name = str((graph.get("graph") or {}).get("name", ""))
    return _Skeleton(name, tuple(str(nodes[i]["name"]) for i in order), tuple(pairs[1]), tuple(symmetries))


def _points(skeleton: _Skeleton, rows: Sequence[Any]) -> tuple[NDArray[np.float64], NDArray[np.uint8], int]:
    """Points (n, K, 2) and visibility (n, K) of instances, and the number of points with a place that are not visible."""
    points = np.full((len(rows), len(skeleton.names), 2), np.nan)
    shown = np.zeros(points.shape[:2], bool)
    for i, (*_, listed) in enumerate(rows):
        for k, (x, y, visible) in enumerate(listed):
            points[i, k] = (np.nan if x is None else x, np.nan if y is None else y)
            shown[i, k] = visible
    placed = np.isfinite(points).all(-1)
    seen = np.where(placed & shown, VISIBLE, UNLABELLED).astype(np.uint8)
    return points, seen, int((placed & ~shown).sum())


def _pictures(path: Path, videos: list[dict[str, Any]], wanted: list[tuple[int, int]], images: Path) -> _Frames:
    """The picture of each wanted (video, frame). Raises DataError if a video or picture is not there."""
    frames = _Frames()
    by_video: dict[int, list[int]] = {}
    for number, frame in wanted:
        by_video.setdefault(number, []).append(frame)
    lists = {number: _listed(videos[number]) for number in by_video}
    if all(lists.values()):
        frames.names = {(number, frame): str(lists[number][frame]) for number, frame in wanted}
        return frames
    if any(lists.values()):
        raise DataError(
            f"{path} has frames of videos and of separate pictures, which kptool does not read together; export it from"
            " SLEAP with its pictures, as .pkg.slp"
        )
    frames.folder = unpacked.shelf(str(path.absolute()))
    taken: set[str] = set()
    for number, own in by_video.items():
        place = frames.folder / _folder(videos[number], number, taken)
        for frame, picture in _unpacked(path, videos[number], own, place, images).items():
            frames.names[number, frame] = picture.relative_to(frames.folder).as_posix()
    return frames


def _listed(about: dict[str, Any]) -> list[str]:
    """The files of a video that is a list of pictures; empty for any other."""
    backend = about.get("backend") or {}
    names = backend.get("filenames") or about.get("filename")
    return [str(name) for name in names] if isinstance(names, list) else []


def _unpacked(path: Path, about: dict[str, Any], own: list[int], place: Path, images: Path) -> dict[int, Path]:
    """The picture of each frame of a video, unpacked to `place`."""
    backend = about.get("backend") or {}
    name, dataset = str(backend.get("filename") or about.get("filename") or ""), str(backend.get("dataset") or "")
    if dataset:
        package = path if name == "." else _find(path, name, images)
        return unpacked.once(
            package, dataset, own, place, lambda to: sleap_h5.extract_pictures(package, dataset, sorted(set(own)), to)
        )
    if not video.is_video(name) or name.startswith("camera:"):
        raise DataError(
            f"{path} has frames of {name!r}, a kind of video that kptool does not read; export it from SLEAP with its"
            " pictures, as .pkg.slp"
        )
    film = _find(path, name, images)
    return unpacked.frames_of_video(film, own, place, grey=backend.get("grayscale") is True)


def _find(path: Path, name: str, images: Path) -> Path:
    """The video or package called `name` below the folder `images`."""
    try:
        return locate(path, [name], images, whole=False).places[0]
    except DataError:
        raise DataError(
            f"{path} names the video {name!r}, which is not in {images}; put it there, or name its folder with --images; a"
            " .pkg.slp holds its pictures"
        ) from None


def _folder(about: dict[str, Any], number: int, taken: set[str]) -> str:
    """A name for the folder of a video's frames: the source video's, or one with its number."""
    source = about.get("source_video") or about
    name = PurePosixPath(str((source.get("backend") or {}).get("filename") or "").replace("\\", "/")).stem
    name = name if name and name.isprintable() and name not in taken else f"video{number}"
    taken.add(name)
    return name


def _notes(found: dict[str, Any], kind: int) -> Iterator[str]:
    """Notes on what a project holds and is not read."""
    other = (
        "{n} predicted instance{s} {are} not used, only what somebody labelled; --category predicted reads them"
        if kind == sleap_h5.LABELLED
        else "{n} labelled instance{s} {are} not used, only predicted ones, as --category says"
    )
    yield from counted(found["other"], other)
    yield from counted(found["tracks"], "{n} track{s} {are} not used: instances are read one by one")
    yield from counted(found["suggestions"], "{n} suggested frame{s} {are} not used")
    yield from counted(found["bare"], "{n} frame{s} without instances {are} not used")
    for name, count in found.get("more", {}).items():
        yield f"{count} {name.removesuffix('_json').replace('_', ' ')} are not used"


def _grouping(several: bool) -> Iterator[str]:
    if several:
        yield "frames of one video stay together in a split"
    else:
        yield "all frames are of one video; --split similar keeps near-duplicates together"


def _read_table(path: Path, category: str | None, images: Path) -> LabelFile:
    """The instances of an analysis csv, whose video is found by name."""
    if category not in (None, PREDICTED):
        raise DataError(f"{path}: an analysis csv has one skeleton, so leave --category {category} out")
    table = sleap_table.read(path)
    kind = sleap_h5.LABELLED if category is None else sleap_h5.PREDICTED
    kept = table.predicted == (kind == sleap_h5.PREDICTED)
    seen = np.where(np.isfinite(table.points).all(-1), VISIBLE, UNLABELLED).astype(np.uint8)
    rows = np.flatnonzero(kept & seen.any(1)).tolist()
    if not rows:
        raise DataError(_nothing(path, kind, {"other": int((~kept).sum())}))
    bounded(path, table.names, len(rows))
    folder = unpacked.shelf(str(path.absolute()))
    film = _film(path, images)
    frames = [int(table.frames[row]) for row in rows]
    places = unpacked.frames_of_video(film, frames, folder / film.stem)
    things = [
        Labelled(places[frame].relative_to(folder).as_posix(), table.points[row], seen[row])
        for row, frame in zip(rows, frames, strict=True)
    ]
    found = {"other": int((~kept).sum()), "tracks": table.tracks, "suggestions": 0, "bare": 0}
    empty = int(kept.sum()) - len(rows)
    notes = (
        *_notes(found, kind),
        *counted(empty, "{n} instance{s} without a point {are} not used"),
        *_grouping(False),
    )
    return LabelFile(table.names, things, None, (path,), notes, folder)


def _film(path: Path, images: Path) -> Path:
    """The video of an analysis csv: the one that its name states, else the only one in the folder."""
    below = sorted(images.iterdir()) if images.is_dir() else []
    films = [place for place in below if place.is_file() and video.is_video(place.name)]
    named = [place for place in films if place.stem == sleap_table.video_name(path)]
    if len(named or films) != 1:
        what = "no video" if not films else f"several videos, none called {sleap_table.video_name(path) or path.stem!r}"
        raise DataError(
            f"{path} does not name its pictures, and {images} has {what}; name the folder of its video with --images, or"
            " give the .slp file"
        )
    return (named or films)[0]


DATASET = Dataset("SLEAP's labels (.slp, .pkg.slp or analysis csv)", matches, read=read, read_apart=read_apart)
