"""Comparison with other toolkits: keypoint names, coordinates, matching, the page; the toolkits are stubs."""

from __future__ import annotations

import gc
import sys
import types
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import collage
from PIL import Image

from kptool import Predictor
from kptool.base.errors import ConfigError, DataError
from kptool.data.pictures import InputPicture
from kptool.report import compare, peers


def fake_dlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stub of dlib that finds one face: point i at (i, 2 i)."""
    parts = [types.SimpleNamespace(x=i, y=2 * i) for i in range(68)]
    dlib: Any = types.ModuleType("dlib")
    dlib.get_frontal_face_detector = lambda: lambda image, enlarge: ["box"]
    dlib.shape_predictor = lambda path: lambda image, box: types.SimpleNamespace(parts=lambda: parts)
    models: Any = types.ModuleType("face_recognition_models")
    models.pose_predictor_model_location = lambda: "path"
    monkeypatch.setitem(sys.modules, "dlib", dlib)
    monkeypatch.setitem(sys.modules, "face_recognition_models", models)


def test_dlibs_points_get_kptools_names(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_dlib(monkeypatch)
    (face,) = peers.load("dlib")(np.zeros((200, 200, 3), np.uint8))
    assert face["nose_tip"].tolist() == [30, 60]
    assert face["left_eye_center"].tolist() == [44.5, 89]  # the subject's left: points 42 to 47
    assert len(face) == 15


def test_mediapipes_shares_become_pixel_centres(monkeypatch: pytest.MonkeyPatch) -> None:
    landmark = types.SimpleNamespace(x=0.5, y=0.25)
    found = types.SimpleNamespace(multi_face_landmarks=[types.SimpleNamespace(landmark=[landmark] * 478)])
    mesh = types.SimpleNamespace(process=lambda image: found)
    module: Any = types.ModuleType("mediapipe")
    module.solutions = types.SimpleNamespace(face_mesh=types.SimpleNamespace(FaceMesh=lambda **_: mesh))
    monkeypatch.setitem(sys.modules, "mediapipe", module)
    (face,) = peers.load("mediapipe")(np.zeros((100, 200, 3), np.uint8))
    assert face["nose_tip"].tolist() == [99.5, 24.5]
    found.multi_face_landmarks = None
    assert peers.load("mediapipe")(np.zeros((100, 200, 3), np.uint8)) == []


def test_toolkits_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ConfigError, match="pip install dlib-bin"):
        peers.load("dlib")
    with pytest.raises(ConfigError, match="known: dlib, mediapipe"):
        peers.load("other")


def test_one_picture_is_in_memory_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures come from a generator, and none is kept when the next is requested."""
    fake_dlib(monkeypatch)
    alive = list[weakref.ref[np.ndarray]]()

    def some() -> Iterator[InputPicture]:
        for number in range(4):
            gc.collect()
            assert sum(each() is not None for each in alive) <= 1  # still referenced by the loop variable
            pixels = np.full((64, 64), 40 * number, np.uint8)
            alive.append(weakref.ref(pixels))
            yield InputPicture(f"{number}.png", pixels)
            del pixels
        yield InputPicture("bad.png", None, "cannot be read")

    tallies, _ = compare.compare(Predictor("unet", "cpu"), some(), ["dlib"])
    assert [len(tally.milliseconds) for tally in tallies] == [4, 4]
    with pytest.raises(DataError, match="none of the pictures can be read"):
        compare.compare(Predictor("unet", "cpu"), iter([InputPicture("bad.png", None, "no")]), ["dlib"])


def test_distances_are_shares_of_the_eyes_distance() -> None:
    eyes = {"left_eye_center": np.array([30.0, 0]), "right_eye_center": np.array([10.0, 0])}
    other = {"left_eye_center": np.array([30.0, 5]), "more": np.zeros(2)}
    assert compare.distances(eyes, other) == {"left_eye_center": 0.25}
    assert compare.distances({"a": np.zeros(2)}, other) == {}


def test_the_command_writes_a_page(kptool: Any, refused: Any, in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared with kptool itself, shifted by two pixels to the right."""
    collage(500, 300, [(20, 30, 120), (250, 60, 200)])[0].save("two.png")
    Image.new("L", (80, 80)).save("nobody.png")
    from kptool import Predictor

    predictor = Predictor("unet", "cpu")

    def find(image: Any) -> list[peers.Points]:
        points = [face.keypoints + np.array([2, 0]) for face in predictor.predict(image)]
        return [dict(zip(predictor.names, each, strict=True)) for each in points]

    monkeypatch.setitem(peers.PEERS, "dlib", peers.Peer((), "", lambda: find))
    ran = kptool("compare", "two.png", "nobody.png", "--with", "dlib", "--json")
    assert ran.code == 0, ran.err
    ours, theirs = ran.json()["toolkits"]
    assert (ours["faces"], theirs["faces"], theirs["shared_faces"]) == (2, 2, 2)
    assert ours["mean_distance"] is None
    assert 0 < theirs["mean_distance"] < 0.2
    page = Path("compare.html").read_text()
    assert page.count("data:image/png;base64") == 2
    assert "nose_tip" in page
    assert "dlib: 2 faces" in kptool("compare", "two.png", "--with", "dlib").out
    assert "say what to compare with" in refused("compare", "two.png")
    Path("broken.png").write_bytes(b"")
    assert "nothing to compare" in refused("compare", "broken.png", "--with", "dlib")
