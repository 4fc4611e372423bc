"""kptool's own predictions as labels to be corrected: what labelling tools are given, and where pictures are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from label_data import BOX, HEIGHT, POINTS, SEEN, WIDTH, pictures, put
from label_tools import predicted

from kptool.base.errors import DataError
from kptool.data import convert
from kptool.data.sources import Opening, find_reader, find_source, read_labels

SCORES = [0.9, 0.8, 0.7, 0.25]
MODEL = "runs/unet"


def document(*images: dict[str, Any], **more: Any) -> str:
    return json.dumps({"model": MODEL, "coordinates": "pixels", "images": images, "failed": [], **more})


def write(folder: Path) -> Path:
    """Three pictures: with one instance, with two, and without any."""
    pictures(folder / "photos", ("a.png", "b.png", "c.png"))
    one, two = ((points.tolist(), seen.tolist(), SCORES) for points, seen in zip(POINTS, SEEN, strict=True))
    images = predicted("photos/a.png", [one]), predicted("photos/b.png", [one, two]), predicted("photos/c.png", [])
    return put(folder / "p.json", document(*images, failed=[{"file": "d.png", "error": "it is damaged"}]))


def test_label_studio_gets_predictions_to_correct(tmp_path: Path) -> None:
    done = convert.convert(write(tmp_path), tmp_path / "out", "label-studio", Opening())
    tasks = json.loads(done.file.read_text(encoding="utf-8"))
    assert done.notes[:2] == (
        "these are predictions by runs/unet, not labels; correct them before you train with them",
        "1 picture could not be read and is not used",
    )
    assert [task["data"]["image"] for task in tasks] == [f"/data/local-files/?d=images/{name}.png" for name in "abc"]
    assert [task["annotations"] for task in tasks] == [[], [], []]
    predictions = [task["predictions"][0] for task in tasks]
    assert [each["model_version"] for each in predictions] == [MODEL] * 3
    assert [each.get("score") for each in predictions] == [0.6625, pytest.approx((0.6625 + 0.8) / 2, abs=1e-4), None]
    assert [len(each["result"]) for each in predictions] == [5, 9, 0]
    chin = predictions[0]["result"][-1]
    assert (chin["value"]["keypointlabels"], chin["score"], chin["parentID"]) == (["chin"], 0.25, "1-1")
    assert chin["value"]["x"] == pytest.approx(100 * 52.5 / WIDTH)
    assert chin["value"]["y"] == pytest.approx(100 * 70.5 / HEIGHT)


def test_cvat_gets_shapes_that_a_model_made(tmp_path: Path) -> None:
    done = convert.convert(write(tmp_path), tmp_path / "out", "cvat", Opening())
    images = ElementTree.parse(done.file).getroot().findall("image")
    assert [image.get("name") for image in images] == ["a.png", "b.png", "c.png"]
    assert [len(image.findall("skeleton")) for image in images] == [1, 2, 0]
    assert {shape.get("source") for image in images for shape in image.iter() if shape is not image} == {"auto"}
    outside = [part.get("outside") for part in images[1].findall("skeleton")[1]]
    assert outside == ["0", "0", "0", "1"]


def test_coco_keeps_model_scores_and_empty_pictures_and_is_read_again(tmp_path: Path) -> None:
    done = convert.convert(write(tmp_path), tmp_path / "coco", "coco", Opening())
    assert done.pictures == 3
    path, reader = find_reader(done.file)
    file, _ = read_labels(path, reader, Opening())
    assert file.predicted_by == MODEL
    assert [thing.score for thing in file.things] == [0.6625, 0.6625, 0.8]
    assert [thing.picture for thing in file.empty] == ["c.png"]
    again = convert.convert(done.file, tmp_path / "again", "label-studio", Opening())
    tasks = json.loads(again.file.read_text(encoding="utf-8"))
    assert [len(task["predictions"][0]["result"]) for task in tasks] == [5, 9, 0]
    assert np.array(file.things[0].box) == pytest.approx(np.array(BOX))


@pytest.mark.parametrize("name", ["coco", "yolo", "label-studio", "cvat", "labelme", "csv", "deeplabcut"])
def test_a_picture_without_instances_is_written_or_told_of(name: str, tmp_path: Path) -> None:
    done = convert.convert(write(tmp_path), tmp_path / "out", name, Opening())
    kept = name not in ("csv", "deeplabcut")
    assert any(place.name == "c.png" for place in (tmp_path / "out").rglob("*.png")) == kept
    assert any("cannot state pictures without instances, so 1 is not written" in note for note in done.notes) != kept
    marks = name in ("coco", "label-studio", "cvat")
    assert any("cannot mark predictions, so these look like labels in it" in note for note in done.notes) != marks


def test_training_with_predictions_is_possible_and_told_of(tmp_path: Path) -> None:
    source = find_source(write(tmp_path))
    assert source.total == 3
    assert source.notes[0].startswith("these are predictions by runs/unet, not labels")
    assert source.scenes is not None  # the picture without an instance is one of them
    assert sum(not len(boxes) for block in source.scenes() for boxes in block.boxes) == 1


def test_pictures_are_found_from_the_folder_in_which_they_were_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "here")
    away = put(tmp_path / "away" / "p.json", path.read_text(encoding="utf-8"))
    with pytest.raises(DataError, match=r"2 of 2 pictures are not in .*away.*; say where they are with --images"):
        convert.convert(away, tmp_path / "out", "cvat", Opening())
    monkeypatch.chdir(tmp_path / "here")
    assert convert.convert(away, tmp_path / "one", "cvat", Opening()).pictures == 3
    monkeypatch.chdir(tmp_path)
    assert convert.convert(away, tmp_path / "two", "cvat", Opening(tmp_path / "here" / "photos")).pictures == 3
    outside = put(tmp_path / "away" / "p.json", document(predicted("../here/photos/a.png", [])))
    with pytest.raises(DataError, match="holds no predictions, as nothing was found in its 1 pictures"):
        convert.convert(outside, tmp_path / "three", "cvat", Opening())


def test_frames_of_a_video_are_groups_and_read_from_it(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is an optional extra: keypoint-toolkit[video]")
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "gray"
        for level in (10, 60, 110):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH), level, np.uint8), format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    instance = (POINTS[0].tolist(), SEEN[0].tolist(), SCORES)
    frames = [predicted(f"clip.mkv#{k}", [instance], frame=k, time=k / 10) for k in (0, 2)]
    source = find_source(put(tmp_path / "p.json", document(*frames)), Opening(crop="picture", size=(HEIGHT, WIDTH)))
    assert source.pictures == ["clip/000000.png", "clip/000002.png"]
    assert next(source.blocks()).images[:, 0, 0].tolist() == [10, 110]
    assert source.groups is not None
    assert source.groups.tolist() == [0, 0]
    mixed = put(tmp_path / "p.json", document(*frames, predicted("a.png", [instance])))
    with pytest.raises(DataError, match="predictions for pictures and for videos, which kptool does not read together"):
        find_source(mixed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"faces": [{"keypoints": [{"name": "a", "x": "far", "y": 2}]}]}, "x and y of a must be 2 finite numbers"),
        ({"faces": [{"keypoints": [{"name": "a", "x": 1, "y": None}]}]}, "x and y of a must be 2 finite numbers"),
        ({"faces": [{"keypoints": [{"name": "a"}], "box": [1]}]}, "box must be 4 finite numbers"),
        ({"faces": 3}, "instances must be a list of objects"),
    ],
)
def test_values_that_are_none_are_refused_with_the_picture(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    pictures(tmp_path)
    path = put(tmp_path / "p.json", document({**predicted("a.png", []), **change}))
    with pytest.raises(DataError, match=rf"p\.json, picture 'a\.png': {message}"):
        find_source(path)
