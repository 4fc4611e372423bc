"""Prediction on pictures of every kind, from the command line and from Python, with the shipped weights."""

from __future__ import annotations

import csv
import doctest
import io
import json
import sys
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import collage, synthetic
from films import film
from numpy.typing import NDArray
from PIL import Image

from kptool import Predictor
from kptool.base.errors import CheckpointError, ConfigError, DataError
from kptool.base.geometry import apply_affine
from kptool.data import pictures
from kptool.predict import drawing, predictor

PLACES = [(20, 30, 96.0), (200, 100, 160.0), (420, 40, 200.0)]


@pytest.fixture(scope="module")
def unet() -> Predictor:
    return Predictor("unet", "cpu")


@pytest.fixture
def group(in_tmp: Path) -> Path:
    collage(640, 400, PLACES)[0].convert("RGB").save("group.png")
    return Path("group.png")


def near(faces: list[Any], truth: NDArray[Any]) -> None:
    """The faces of `collage` are found, with the accuracy of a network that never saw a drawn face."""
    assert len(faces) == len(truth)
    for face, expected in zip(faces, truth, strict=True):
        middle = face.keypoints.mean(0)
        assert np.linalg.norm(middle - expected.mean(0)) < 0.2 * face.box[2]
        assert face.keypoints.shape == (15, 2)
        assert (face.radius90 > 0).all()


def test_every_face_of_a_picture(unet: Predictor) -> None:
    picture, truth = collage(640, 400, PLACES)
    near(unet.predict(picture), truth)
    assert unet.backend.name == "onnxruntime"


@pytest.mark.parametrize("angle", [-45, 30])
def test_points_of_a_tilted_head_are_those_of_the_upright_one_rotated(unet: Predictor, angle: int) -> None:
    picture, _ = collage(300, 300, [(90, 90, 120)])
    (upright,) = unet.predict(picture)
    turned = max(
        unet.predict(picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=90)), key=lambda f: f.scores.mean()
    )
    theta = np.deg2rad(angle)
    rotation = np.array([[np.cos(theta), np.sin(theta)], [-np.sin(theta), np.cos(theta)]])
    expected = (upright.keypoints - 149.5) @ rotation.T + 149.5
    assert np.median(np.linalg.norm(turned.keypoints - expected, axis=1)) < 2


def test_a_loose_box_is_cropped_again(unet: Predictor) -> None:
    picture, _ = collage(400, 400, [(100, 100, 180)])
    (face,) = unet.predict(picture)
    x, y, width, height = face.box
    for dx, dy, scale in ((0.15, 0.1, 1.2), (-0.15, -0.1, 0.85), (0.1, -0.15, 1.0)):
        loose = (x + dx * width, y + dy * height, width * scale, height * scale)
        (again,) = unet.predict(picture, boxes=[loose])
        assert again.box == loose
        assert np.median(np.linalg.norm(again.keypoints - face.keypoints, axis=1)) < 0.02 * width


def test_kinds_of_pictures(unet: Predictor, in_tmp: Path) -> None:
    """One picture in every format and mode gives the same points."""
    picture, _ = collage(200, 180, [(50, 40, 110)])
    (expected,) = unet.predict(picture)
    wide = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    alpha = picture.convert("RGBA")
    kinds = {
        "grey.png": picture, "colour.jpg": picture.convert("RGB"), "p.webp": picture.convert("RGB"), "b.bmp": picture,
        "t.tiff": picture, "deep.png": wide, "deep.tiff": wide, "alpha.png": alpha, "palette.gif": picture.convert("P"),
        "cmyk.jpg": picture.convert("CMYK"), "one.png": picture.convert("LA"), "float.tiff": picture.convert("F"),
    }  # fmt: skip
    for name, image in kinds.items():
        image.save(name)
    picture.save("really_a_png.jpg", "PNG")
    for name in (*kinds, "really_a_png.jpg"):
        (face,) = unet.predict(name)
        assert np.abs(face.keypoints - expected.keypoints).max() < 1.5, name


def test_exif_rotation_is_honoured(unet: Predictor, in_tmp: Path) -> None:
    picture, _ = collage(200, 180, [(50, 40, 110)])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise to be upright
    picture.rotate(90, expand=True).save("turned.jpg", exif=exif, quality=95)
    (upright,), (turned,) = unet.predict(picture), unet.predict("turned.jpg")
    assert np.abs(upright.keypoints - turned.keypoints).max() < 1.5


def test_the_cli_finds_faces_and_writes_everything(kptool: Any, group: Path) -> None:
    ran = kptool(
        "predict", group, "--json", "--out", "drawn", "--names", "--coco", "coco.json", "--heatmaps", "maps.h5"
    )
    assert ran.code == 0, ran.err
    document = ran.json()
    assert "integer is a pixel's centre" in document["coordinates"]
    assert document["failed"] == []
    (image,) = document["images"]
    assert (image["width"], image["height"], len(image["faces"])) == (640, 400, 3)
    rows = list(csv.DictReader(Path("drawn/keypoints.csv").read_text().splitlines()))
    points = [point for face in image["faces"] for point in face["keypoints"]]
    assert [float(row["x"]) for row in rows] == [point["x"] for point in points]
    with Image.open("drawn/group.png") as drawing:
        assert drawing.width > 640  # names are drawn next to them
    coco = json.loads(Path("coco.json").read_text())
    assert [len(a["keypoints"]) for a in coco["annotations"]] == [45] * 3
    assert coco["annotations"][0]["keypoints"][:3] == [points[0]["x"], points[0]["y"], 2]
    x, y, width, height = image["faces"][0]["box"]
    assert coco["annotations"][0]["bbox"] == pytest.approx([x + 0.5, y + 0.5, width, height], abs=1e-3)
    assert coco["categories"][0]["keypoints"][0] == "left_eye_center"
    assert "integer" in coco["info"]["coordinates"]


def test_heatmaps_decode_to_the_points_beside_them(kptool: Any, group: Path) -> None:
    assert kptool("predict", group, "--heatmaps", "maps.h5").code == 0
    from kptool import heatmaps
    from kptool.base.geometry import apply_affine, invert_affine

    with h5py.File("maps.h5") as file:
        maps, points, affine = (file[name][:] for name in ("heatmaps", "keypoints", "affine"))
        assert list(file["file"].asstr()) == ["group.png"] * 3
        assert "pixel's centre" in file.attrs["coordinates"]
        size = file.attrs["image_size"]
    assert maps.dtype == np.float16
    stride = size[1] / maps.shape[-1]
    decoded, _ = heatmaps.decode(maps.astype(np.float32))
    found = apply_affine(invert_affine(affine), (decoded + 0.5) * stride - 0.5)
    difference = np.linalg.norm(found - points, axis=-1) * np.sqrt(np.linalg.det(affine[:, :, :2]))[:, None]
    assert np.median(difference) < 2.5  # the labels' offset is not in the maps


def test_folders_globs_and_what_cannot_be_read(kptool: Any, group: Path) -> None:
    Path("more/deep").mkdir(parents=True)
    for name in ("more/a.png", "more/b.jpg", "more/deep/c.png"):
        Image.open(group).save(name)
    Path("more/broken.png").write_bytes(b"no picture")
    Path("more/notes.txt").write_text("not a picture by its name")
    ran = kptool("predict", "more", "*.png", "--json")
    assert ran.code == 2
    document = ran.json()
    assert [image["file"] for image in document["images"]] == [
        "more/a.png",
        "more/b.jpg",
        "more/deep/c.png",
        "group.png",
    ]
    assert [each["file"] for each in document["failed"]] == ["more/broken.png"]
    assert "more/broken.png is not a picture" in ran.err
    assert "Traceback" not in ran.err
    ran = kptool("predict", "more", "--out", "drawn")
    assert sorted(p.name for p in Path("drawn").iterdir()) == ["a.png", "b.png", "c.png", "keypoints.csv"]
    assert "more/a.png: 3 faces" in ran.out


def test_standard_input(kptool: Any, group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(group.read_bytes())))
    ran = kptool("predict", "-", "--json")
    assert len(ran.json()["images"][0]["faces"]) == 3


def test_boxes_on_the_command_line(kptool: Any, refused: Any, group: Path) -> None:
    ran = kptool("predict", group, "--box", "200,100,160,160", "--box", "20,30,96,96", "--json")
    assert [face["box"] for face in ran.json()["images"][0]["faces"]] == [[200, 100, 160, 160], [20, 30, 96, 96]]
    assert "x,y,width,height" in refused("predict", group, "--box", "1,2,3")
    assert "above 0" in refused("predict", group, "--box", "1,2,0,5")
    assert "outside the picture" in refused("predict", group, "--box", "9000,9000,50,50")


def test_what_cannot_be_done_is_said(kptool: Any, refused: Any, group: Path, run_folder: Path) -> None:
    Path("empty").mkdir()
    assert "no pictures in the folder empty" in refused("predict", "empty")
    assert "no file matches nothing*.png" in refused("predict", "nothing*.png")
    assert "choose one" in refused("predict", group, "--csv", "--json")
    assert "there is no weights file" in refused("predict", group, "--model", "no/such/run")
    nobody = Path("nobody.png")
    Image.new("L", (100, 100)).save(nobody)
    assert "nobody.png: no face found" in kptool("predict", nobody).out
    assert kptool("predict", nobody, "--json").json()["images"][0]["faces"] == []


def test_models_of_other_things_do_not_detect_faces(tmp_path: Path) -> None:
    from kptool.base.config import ModelConfig
    from kptool.network.cards import Card
    from kptool.network.checkpoint import save_weights
    from kptool.network.keypoint_model import KeypointModel

    card = Card(ModelConfig("unet", ("tip", "tail"), (), size=(32, 48), width=4), data={"mean_shape": [[1, 2], [3, 4]]})
    save_weights(tmp_path / "model.safetensors", KeypointModel(card.config), card)
    other = Predictor(str(tmp_path), "cpu")
    assert not other.detect
    (face,) = other.predict(np.zeros((64, 64), np.uint8))
    assert face.box == (-0.5, -0.5, 64, 64)
    assert np.isnan(face.radius90).all()
    (boxed,) = other.predict(np.zeros((64, 64), np.uint8), boxes=[(10, 10, 20, 20)])
    assert np.allclose(apply_affine(boxed.affine, np.array([[20.0, 20.0]])), [[23.5, 15.5]])  # middle to middle
    assert np.allclose(boxed.affine[:, :2], np.eye(2) * 32 / 20)  # the aspect ratio is kept
    with pytest.raises(ConfigError, match="cannot find anything"):
        Predictor(str(tmp_path), "cpu", detect=True)


@pytest.mark.parametrize("box", [(1, 2, 3), (0, 0, -1, 5), (float("nan"), 0, 5, 5), (1e9, 0, 5, 5)])
def test_boxes_are_checked(unet: Predictor, box: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="a box is"):
        unet.predict(np.zeros((50, 50), np.uint8), boxes=[box])  # type: ignore[list-item]


def test_threads_may_share_a_predictor(unet: Predictor) -> None:
    images, _ = synthetic(8)
    expected = [unet.predict(image) for image in images]
    found: dict[int, Any] = {}
    workers = [
        threading.Thread(target=lambda i=i: found.update({i: unet.predict(images[i])})) for i in range(len(images))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for i, faces in enumerate(expected):
        assert [face.box for face in found[i]] == [face.box for face in faces]
        assert all(np.array_equal(a.keypoints, b.keypoints) for a, b in zip(found[i], faces, strict=True))


def test_the_docstrings_example_runs() -> None:
    assert doctest.testmod(predictor).failed == 0


def test_nothing_of_torch_is_loaded_for_a_prediction(group: Path) -> None:
    import subprocess

    code = (
        "import sys; from kptool.cli.main import main\n"
        f"try: main(['predict', {str(group)!r}, '--json', '--out', 'drawn'])\n"
        "finally: assert not {'torch', 'pandas', 'matplotlib', 'h5py'} & set(sys.modules), 'heavy'"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert len(json.loads(ran.stdout)["images"][0]["faces"]) == 3


def test_videos_frame_by_frame(kptool: Any, in_tmp: Path) -> None:
    film("clip.avi", [np.asarray(collage(320, 240, [(x, 40, 150)])[0].convert("RGB")) for x in (10, 60, 110)], rate=5)
    images = kptool("predict", "clip.avi", "--json").json()["images"]
    assert [image["file"] for image in images] == ["clip.avi#0", "clip.avi#1", "clip.avi#2"]
    left = [image["faces"][0]["box"][0] for image in images]
    assert np.allclose(np.diff(left), 50, atol=8)
    assert len(kptool("predict", "clip.avi", "--frames", "2", "--json").json()["images"]) == 2
    Path("broken.mp4").write_bytes(b"no video")
    ran = kptool("predict", "broken.mp4", "--json")
    assert ran.code == 2
    assert "cannot be read as a video" in ran.err


def test_videos_without_pyav(refused: Any, in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    Path("clip.mp4").write_bytes(b"")
    assert "keypoint-toolkit[video]" in refused("predict", "clip.mp4")


def test_reading_ahead_keeps_the_order(in_tmp: Path) -> None:
    names = []
    for i in range(80):
        names.append(f"{i}.png")
        Image.new("L", (2, 1), i).save(names[-1])
    read = list(pictures.read(names))
    assert [picture.name for picture in read] == names
    assert [int(picture.pixels[0, 0]) for picture in read if picture.pixels is not None] == list(range(80))


def test_drawings_of_faceless_and_tiny_pictures() -> None:
    names = ("left", "right", "tip")
    assert drawing.draw(np.zeros((1, 2), np.uint8), [], names, label=True).height == 240
    with pytest.raises(CheckpointError):
        Predictor("no-such-model")
