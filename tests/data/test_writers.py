"""Every format that is written: what it states comes back, and what it cannot state is told of."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import put
from PIL import Image

from kptool.base.errors import DataError
from kptool.data import convert, images
from kptool.data.annotations import LabelFile, Labelled
from kptool.data.flips import FlipPairs
from kptool.data.labels import flips_of, locate_pictures
from kptool.data.sources import Opening, find_reader, find_source, read_labels
from kptool.data.writers import writer as kinds
from kptool.data.writers.cvat import CVAT
from kptool.data.writers.formats import WRITERS
from kptool.data.writers.losses import losses

NAMES = ("tip", "wing_a", "wing_b", "end")  # in no alphabetical order, and a pair that no name betrays
PAIRS = [[1, 2]]
SKELETON = [[1, 2], [1, 3]]
PICTURES = [("u/0.png", "train", "L"), ("v/0.png", "train", "RGB"), ("v/1.jpg", "val", "L")]
INSTANCES: list[tuple[int, list[Any], list[float] | None]] = [
    (1, [5.125, 6.5, 2, 20.0625, 8, 1, 9, 21.75, 2, 0, 0, 0], [3, 4.5, 20, 22.25]),
    (1, [35.2, 6, 2, 50, 8, 2, 39, 21, 2, 44.75, 30, 2], [33, 4, 20, 30]),
    (2, [14, 10.333, 2, 0, 0, 0, 30, 30, 1, 18, 40, 2], [9.5, 8, 28, 36]),
    (3, [10, 11, 2, 25, 11.5, 2, 17, 30, 2, 17, 21, 2], [8, 9, 20, 25]),
]
"""Picture, x, y, v of each keypoint, and the box."""
SIZE = (48, 64)


def write_source(folder: Path, boxed: bool = True) -> Path:
    """A COCO file with everything that it can state, and grey and colour pictures with equal names."""
    for level, (name, _, mode) in enumerate(PICTURES, start=1):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, SIZE[::-1], (60 * level,) * 3 if mode == "RGB" else 60 * level).save(folder / name)
    document = {
        "images": [{"id": i, "file_name": name, "split": part} for i, (name, part, _) in enumerate(PICTURES, start=1)],
        "annotations": [
            {"id": i, "image_id": picture, "category_id": 1, "keypoints": flat, **({"bbox": box} if boxed else {})}
            for i, (picture, flat, box) in enumerate(INSTANCES)
        ],
        "categories": [{"id": 1, "name": "fly", "keypoints": NAMES, "flip_pairs": PAIRS, "skeleton": SKELETON}],
    }
    return put(folder / "labels.json", json.dumps(document))


@dataclass(frozen=True)
class Read:
    """What was read: the labels, and its instances by the grey level of their picture and the place of their tip."""

    file: LabelFile
    flips: FlipPairs
    things: dict[tuple[int, int], Labelled]

    def points(self, key: tuple[int, int]) -> dict[str, tuple[list[float], int]]:
        thing = self.things[key]
        marked = zip(self.file.names, thing.keypoints.tolist(), thing.visibility.tolist(), strict=True)
        return {name: (place, seen) for name, place, seen in marked if seen}


def read(path: Path) -> Read:
    found, reader = find_reader(path)
    file, folder = read_labels(found, reader, Opening())
    file, places = locate_pictures(found, file, folder)
    tip = file.names.index("tip")
    things = {
        (round(float(images.read(place).mean()) / 60), round(float(thing.keypoints[tip, 0]))): thing
        for thing, place in zip(file.things, places, strict=True)
    }
    return Read(file, flips_of(file), things)


def pairs(result: Read) -> set[frozenset[str]]:
    return {frozenset(result.file.names[k] for k in pair) for pair in result.flips.pairs}


@pytest.mark.parametrize("name", WRITERS)
def test_what_a_format_states_comes_back_and_the_rest_is_told(name: str, tmp_path: Path) -> None:
    first = read(write_source(tmp_path / "in"))
    done = convert.convert(tmp_path / "in" / "labels.json", tmp_path / "out", name, Opening())
    again, noun = read(done.file), WRITERS[name].noun
    keeps = WRITERS[name].keeps | WRITERS[name].keeps_whole | WRITERS[name].keeps_boxed
    assert (done.things, done.keypoints, done.pictures) == (4, 14, 3)
    assert again.things.keys() == first.things.keys()
    assert set(again.file.names) == set(NAMES)
    for key, thing in first.things.items():
        before, after = first.points(key), again.points(key)
        assert before.keys() == after.keys()
        assert max(np.abs(np.subtract(before[k][0], after[k][0])).max() for k in before) < 1e-5
        if kinds.OCCLUSION in keeps:
            assert {k: seen for k, (_, seen) in before.items()} == {k: seen for k, (_, seen) in after.items()}
        if kinds.BOXES in keeps:
            assert again.things[key].box == pytest.approx(thing.box, abs=1e-5)
        assert again.things[key].split == (thing.split if kinds.SPLIT in keeps else "")
    told = [note for note in done.notes if note.startswith(f"{noun} cannot")]
    wanted = {
        kinds.BOXES: "boxes, so 4 boxes are not written",
        kinds.SPLIT: "training, validation and test parts, so the data's own split is not written",
        kinds.OCCLUSION: "that a keypoint is occluded, so 2 occluded ones are visible in it",
        kinds.FLIPS: "left/right pairs, which (wing_a,wing_b) are not written; give them again with --flips",
        kinds.EDGES: "a skeleton, so its 2 lines are not written",
        kinds.ORDER: "the order of keypoints, which are read from it by name",
        kinds.CATEGORY: "what an instance is, so 'fly' is not written",
    }
    assert told == [f"{noun} cannot state {text}" for kind, text in wanted.items() if kind not in keeps]
    assert again.file.category == ("fly" if kinds.CATEGORY in keeps else None)
    if kinds.ORDER in keeps:
        assert again.file.names == NAMES
    if kinds.EDGES in keeps:
        assert {tuple(again.file.names[k] for k in edge) for edge in again.file.edges} == {
            ("tip", "wing_a"),
            ("tip", "wing_b"),
        }
    if kinds.FLIPS in keeps:
        assert pairs(again) == {frozenset({"wing_a", "wing_b"})}


@pytest.mark.parametrize("name", WRITERS)
def test_a_second_conversion_changes_nothing(name: str, tmp_path: Path) -> None:
    """The folder that was written is found by itself, and its pictures keep their pixels and colours."""
    convert.convert(write_source(tmp_path / "in"), tmp_path / "out", name, Opening())
    one, two = read(tmp_path / "in" / "labels.json"), read(tmp_path / "out")
    assert {key: sorted(one.points(key)) for key in one.things} == {key: sorted(two.points(key)) for key in two.things}
    convert.convert(tmp_path / "out", tmp_path / "again", name, Opening())
    three = read(tmp_path / "again")
    for key in two.things:
        for part, (place, seen) in two.points(key).items():
            assert three.points(key)[part] == (pytest.approx(place, abs=2e-6), seen)
        assert two.things[key].box == pytest.approx(three.things[key].box, abs=1e-6)


@pytest.mark.parametrize("name", WRITERS)
def test_boxes_are_made_only_where_a_format_needs_them(name: str, tmp_path: Path) -> None:
    done = convert.convert(write_source(tmp_path / "in", boxed=False), tmp_path / "out", name, Opening())
    need = {"always": 4, "several": 2, "never": 0}[WRITERS[name].boxed]
    made = [note for note in done.notes if "theirs are made from their keypoints" in note]
    assert made == ([f"{need} of 4 things have no box; theirs are made from their keypoints"] if need else [])
    again = read(done.file)
    assert again.things.keys() == read(tmp_path / "in" / "labels.json").things.keys()
    if WRITERS[name].boxed != "always":
        assert again.things[3, 10].box is None


def labelled(**more: Any) -> Labelled:
    points = np.array([[1.0, 2], [3, 4], [5, 6], [7, 9]])
    return Labelled("a.png", points, np.array([2, 2, 2, 2], np.uint8), size=(10, 10), **more)


@pytest.mark.parametrize("name", WRITERS)
def test_groups_and_empty_instances_are_told_of(name: str) -> None:
    one = labelled(group="u/clip")
    empty = replace(one, visibility=np.zeros(4, np.uint8))
    file = LabelFile(("a", "b", "c", "d"), [one, empty], flip_pairs=())
    told = " ".join(losses(WRITERS[name], file, flips_of(file)))
    assert ("1 group of pictures is not written; give them again with --groups" in told) == (name != "deeplabcut")
    assert ("cannot state instances without a keypoint, so 1 is not written" in told) == (
        kinds.EMPTY not in WRITERS[name].keeps
    )


def test_groups_become_deeplabcuts_videos_and_come_back(tmp_path: Path) -> None:
    for video in ("p/clip", "q/clip"):  # folders of equal names, with frames of equal names
        (tmp_path / "in" / video).mkdir(parents=True)
        Image.new("L", (32, 32)).save(tmp_path / "in" / video / "0.png")
        put(
            tmp_path / "in" / video / "CollectedData_me.csv",
            f"scorer,me,me\nbodyparts,a,a\ncoords,x,y\n{video}/0.png,{len(video)},3\n",
        )
    rows = "p/clip/0.png,5,3\nq/clip/0.png,6,3\n"
    path = put(tmp_path / "in" / "CollectedData_all.csv", f"scorer,me,me\nbodyparts,a,a\ncoords,x,y\n{rows}")
    done = convert.convert(path, tmp_path / "out", "deeplabcut", Opening())
    source = find_source(done.file)
    assert source.groups is not None
    assert source.groups.tolist() == [0, 1]
    assert source.pictures == ["labeled-data/clip/0.png", "labeled-data/clip-2/0.png"]
    assert next(source.blocks()).keypoints[:, 0, 0].tolist() == [5, 6]


@pytest.mark.parametrize("name", ["coco", "deeplabcut", "labelme"])
def test_pictures_that_a_set_holds_itself_are_written_where_the_format_has_them(name: str, tmp_path: Path) -> None:
    rows = "".join(f"{10 + k},20,{' '.join([str(60 * k + 60)] * 96 * 96)}\n" for k in range(2))
    done = convert.convert(
        put(tmp_path / "training.csv", f"tip_x,tip_y,Image\n{rows}"), tmp_path / name, name, Opening()
    )
    again = read(done.file)
    assert again.things.keys() == {(1, 10), (2, 11)}
    assert sorted(Path(thing.picture).name for thing in again.file.things) == ["000000.png", "000001.png"]


def test_the_setup_of_a_labelling_project_names_all_keypoints(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in")
    convert.convert(source, tmp_path / "ls", "label-studio", Opening())
    text = (tmp_path / "ls" / "setup" / "labeling-config.xml").read_text(encoding="utf-8")
    assert '<Label value="fly" />' in text
    assert all(f'<Label value="{name}" model_index="{k}" />' in text for k, name in enumerate(NAMES))
    convert.convert(source, tmp_path / "cvat", "cvat", Opening())
    skeleton, box = json.loads((tmp_path / "cvat" / "setup" / "labels.json").read_text(encoding="utf-8"))
    assert [part["name"] for part in skeleton["sublabels"]] == list(NAMES)
    assert skeleton["svg"].count("<line ") == 2
    assert (skeleton["name"], box["name"], box["type"]) == ("fly", "box", "rectangle")


def test_a_name_that_xml_cannot_hold_is_refused(tmp_path: Path) -> None:
    file = LabelFile(("a\x01", "b", "c", "d"), [labelled()])
    with pytest.raises(DataError, match=r"xml cannot hold the keypoint's name 'a\\x01'; rename it"):
        CVAT.write(tmp_path, file, flips_of(file))
