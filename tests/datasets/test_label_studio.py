"""Label Studio exports: which keypoints form one object, where the picture is named, and what is reported as unused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from label_files import HEIGHT, WIDTH, pictures, put

from kptool.base.errors import DataError
from kptool.data.annotations import LabelFile
from kptool.data.sources import Opening, find_reader, read_labels

SIZE = {"original_width": WIDTH, "original_height": HEIGHT}


def point(label: str, x: float, y: float, **more: object) -> dict[str, Any]:
    """A keypoint at a pixel's centre."""
    value = {"x": 100 * (x + 0.5) / WIDTH, "y": 100 * (y + 0.5) / HEIGHT, "keypointlabels": [label]}
    return {"id": f"{label}{x:g}", "type": "keypointlabels", "value": value, **SIZE, **more}


def rectangle(name: str, left: float, top: float, wide: float, high: float, **more: object) -> dict[str, Any]:
    """A rectangle, in pixels from the picture's edges."""
    sides = {
        "x": 100 * left / WIDTH,
        "y": 100 * top / HEIGHT,
        "width": 100 * wide / WIDTH,
        "height": 100 * high / HEIGHT,
    }
    return {"id": name, "type": "rectanglelabels", "value": {**sides, "rectanglelabels": [name[0]], **more}, **SIZE}


def relation(one: str, other: str) -> dict[str, Any]:
    return {"type": "relation", "from_id": one, "to_id": other, "direction": "right"}


def task(*results: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"id": 5, "data": {"image": "a.png"}, "annotations": [{"result": list(results)}], **more}


def read(folder: Path, *tasks: dict[str, Any], category: str | None = None) -> LabelFile:
    pictures(folder)
    found, reader = find_reader(put(folder / "export.json", json.dumps(tasks)))
    return read_labels(found, reader, Opening(category=category))[0]


def things(file: LabelFile) -> list[tuple[tuple[float, ...] | None, dict[str, tuple[float, ...]]]]:
    """Each object's box, and its keypoints by name, rounded to tenths of a pixel."""

    def labelled(thing: Any) -> dict[str, tuple[float, ...]]:
        pairs = zip(file.names, thing.keypoints, thing.visibility, strict=True)
        return {name: tuple(place.round(1).tolist()) for name, place, seen in pairs if seen}

    boxes = [None if thing.box is None else tuple(round(side, 1) for side in thing.box) for thing in file.things]
    return list(zip(boxes, map(labelled, file.things), strict=True))


TWO = (rectangle("m1", 0, 0, 40, 80), rectangle("m2", 50, 0, 40, 80))
ONE, OTHER = (-0.5, -0.5, 40.0, 80.0), (49.5, -0.5, 40.0, 80.0)


def test_points_belong_to_the_rectangle_they_lie_in(tmp_path: Path) -> None:
    file = read(
        tmp_path, task(point("nose", 10, 10), point("tail", 70, 60), *TWO, point("nose", 60, 10), point("tail", 20, 50))
    )
    assert things(file) == [
        (ONE, {"nose": (10, 10), "tail": (20, 50)}),
        (OTHER, {"nose": (60, 10), "tail": (70, 60)}),
    ]
    assert file.notes == ()


@pytest.mark.parametrize("turned", [False, True])
def test_relations_and_parents_go_before_where_points_lie(turned: bool, tmp_path: Path) -> None:
    ties = [("nose60", "m1"), ("tail20", "nose60")]  # the second through the first
    tied = [relation(*(pair[::-1] if turned else pair)) for pair in ties]
    file = read(
        tmp_path,
        task(
            point("nose", 60, 10), point("tail", 20, 50, parentID=None), *TWO, point("ear", 5, 5, parentID="m2"), *tied
        ),
    )
    assert things(file) == [(ONE, {"nose": (60, 10), "tail": (20, 50)}), (OTHER, {"ear": (5, 5)})]


def test_of_overlapping_rectangles_the_one_that_lacks_the_label_has_a_point(tmp_path: Path) -> None:
    boxes = (rectangle("m1", 0, 0, 60, 80), rectangle("m2", 40, 0, 50, 80))
    file = read(tmp_path, task(*boxes, point("nose", 50, 10), point("nose", 70, 10)))
    assert [places for _, places in things(file)] == [{"nose": (50, 10)}, {"nose": (70, 10)}]
    with pytest.raises(DataError, match=r"task 5: nose lies in 2 rectangles; tie it to its own with a relation"):
        read(tmp_path, task(*boxes, point("nose", 50, 10)))
    with pytest.raises(DataError, match=r"task 5: a keypoint is tied to 2 rectangles; remove the relations"):
        read(tmp_path, task(*boxes, point("nose", 50, 10), relation("nose50", "m1"), relation("m2", "nose50")))


def test_the_only_rectangle_has_all_points_and_loose_ones_are_counted(tmp_path: Path) -> None:
    file = read(tmp_path, task(TWO[0], point("nose", 10, 10), point("tail", 45, 10)))
    assert things(file) == [(ONE, {"nose": (10, 10), "tail": (45, 10)})]
    file = read(tmp_path, task(*TWO, point("nose", 10, 10), point("tail", 95, 10)))
    assert things(file) == [(ONE, {"nose": (10, 10)}), (None, {"tail": (95, 10)})]
    assert set(file.notes) == {
        "1 keypoint in no rectangle is read as one more instance in each picture",
        "1 rectangle without keypoints is not used",
    }


def test_a_turned_rectangle_holds_what_lies_in_it(tmp_path: Path) -> None:
    turned = rectangle("m1", 60, 10, 40, 20, rotation=90)  # its first corner is fixed, so x 40..60, y 10..50
    file = read(tmp_path, task(turned, rectangle("m2", 70, 0, 10, 10), point("nose", 45, 45), point("nose", 75, 5)))
    assert things(file)[0] == ((39.5, 9.5, 20.0, 40.0), {"nose": (45, 45)})


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"url": "https://x.example/b.jpg?sig=abc"}, "b.jpg"),
        ({"scan": "/data/local-files/?d=ds%2Fb.jpg", "text": "of b", "id": 3}, "ds/b.jpg"),
        ({"page": "s3://bucket/b.JPG", "sound": "b.mp3"}, "b.JPG"),
        ({"image": "https://x.example/show?id=7", "thumb": "b.jpg"}, "b.jpg"),
        ({"image": "b"}, "b"),
    ],
)
def test_any_key_may_hold_the_picture(data: dict[str, Any], name: str, tmp_path: Path) -> None:
    assert read(tmp_path, task(point("nose", 1, 1), data=data)).things[0].picture == name


def test_what_names_no_picture_or_several_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"task 5: its data name no picture"):
        read(tmp_path, task(point("nose", 1, 1), data={"note": "hello"}))
    with pytest.raises(
        DataError, match=r"task 5: its data name several pictures, left, right; name the labelled one 'image'"
    ):
        read(tmp_path, task(point("nose", 1, 1), data={"left": "a.png", "right": "b.jpg"}))


def test_what_is_not_used_is_counted(tmp_path: Path) -> None:
    first, second = {"result": [point("nose", 1, 1)]}, {"result": [point("nose", 2, 2)]}
    file = read(
        tmp_path,
        task(annotations=[{"was_cancelled": True, "result": [point("nose", 9, 9)]}, first, second]),
        task(data={"image": "b.jpg"}, annotations=[], predictions=[first]),
        task(point("nose", 1, 1), data={"video": "b.mp4"}),
        task(
            *TWO[:1],
            {"type": "choices", "id": "x", "value": {"choices": ["x"]}},
            rectangle("q", 0, 0, 9, 9),
            point("nose", 5, 5),
            point("ear", 30, 30),
        ),
        category="m",
    )
    assert [places for _, places in things(file)] == [{"nose": (1, 1)}, {"nose": (5, 5), "ear": (30, 30)}]
    assert set(file.notes) == {
        "1 task of videos, sounds or texts is not used",
        "1 task with predictions and no annotation is not used",
        "1 cancelled annotation is not used",
        "1 further annotation of tasks that several people labelled is not used, only the first of each",
        "1 label of other types is not used (choices 1)",
    }


def test_points_in_rectangles_of_other_labels_are_counted(tmp_path: Path) -> None:
    file = read(
        tmp_path, task(TWO[0], rectangle("q", 50, 0, 40, 80), point("nose", 5, 5), point("nose", 70, 30)), category="m"
    )
    assert things(file) == [(ONE, {"nose": (5, 5)})]
    assert file.notes == ("1 keypoint in rectangles with other labels than m is not used",)


def test_an_export_of_videos_alone_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no keypointlabels \(2 tasks of videos, sounds or texts are not used\)"):
        read(tmp_path, *[task(point("nose", 1, 1), data={"video": "b.mp4"})] * 2)


def test_shares_are_refused_with_what_makes_them_percent(tmp_path: Path) -> None:
    def share(label: str, x: float, y: float) -> dict[str, Any]:
        return point(label, x / 100 * WIDTH - 0.5, y / 100 * HEIGHT - 0.5)

    shares = [task(share("tip", 0.31 + i / 50, 0.72), share("base", 0.55, 0.23 + i / 50)) for i in range(3)]
    with pytest.raises(DataError, match=r"are 0 to 1, as fractions are, .* multiply them by 100"):
        read(tmp_path, *shares)
