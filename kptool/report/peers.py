"""Adapters of other face keypoint toolkits, dlib and MediaPipe, to kptool's names and pixel convention.

Each toolkit is optional and used as its documentation shows, with its own face detector. Their definitions of a keypoint
differ from those of kptool's labels in places, so measured distances include differences of convention.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base import face68
from kptool.base.errors import ConfigError
from kptool.base.geometry import from_edges

Points = dict[str, NDArray[np.float64]]
Find = Callable[[NDArray[np.uint8]], list[Points]]
"""Picture uint8 (H, W, 3) -> for each face, points (2,) by name, in pixels; an integer is a pixel's centre."""

_MESH: Mapping[str, tuple[int, ...]] = {
    "left_eye_center": (263, 387, 385, 362, 380, 373),
    "right_eye_center": (33, 160, 158, 133, 153, 144),
    "left_eye_inner_corner": (362,),
    "left_eye_outer_corner": (263,),
    "right_eye_inner_corner": (133,),
    "right_eye_outer_corner": (33,),
    "left_eyebrow_inner_end": (336, 285),
    "left_eyebrow_outer_end": (300, 276),
    "right_eyebrow_inner_end": (107, 55),
    "right_eyebrow_outer_end": (70, 46),
    "nose_tip": (1,),
    "mouth_left_corner": (291,),
    "mouth_right_corner": (61,),
    "mouth_center_top_lip": (0,),
    "mouth_center_bottom_lip": (17,),
}
"""For each keypoint, the vertices of MediaPipe's face mesh whose mean it is."""


@dataclass(frozen=True)
class Peer:
    """A toolkit: the modules it needs, the arguments of pip to install them, and a function that loads it."""

    modules: tuple[str, ...]
    install: str
    load: Callable[[], Find]


def _mean(points: NDArray[np.float64], scheme: Mapping[str, tuple[int, ...]]) -> Points:
    """Each keypoint as the mean of the points that `scheme` lists for it."""
    return {name: points[list(indices)].mean(0) for name, indices in scheme.items()}


def _load_dlib() -> Find:
    dlib, models = importlib.import_module("dlib"), importlib.import_module("face_recognition_models")
    detect = dlib.get_frontal_face_detector()
    predict = dlib.shape_predictor(models.pose_predictor_model_location())

    def find(image: NDArray[np.uint8]) -> list[Points]:
        shapes = [predict(image, box) for box in detect(image, 1)]  # upsampled once: it misses faces below 80 pixels
        points = [np.array([(p.x, p.y) for p in shape.parts()], np.float64) for shape in shapes]
        return [_mean(each, face68.PARTS) for each in points]

    return find


def _load_mediapipe() -> Find:
    mediapipe: Any = importlib.import_module("mediapipe")
    mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=10)

    def find(image: NDArray[np.uint8]) -> list[Points]:
        found = mesh.process(image).multi_face_landmarks or []
        size = np.array([image.shape[1], image.shape[0]])
        shares = [np.array([(p.x, p.y) for p in face.landmark], np.float64) for face in found]
        return [_mean(np.asarray(from_edges(each * size), np.float64), _MESH) for each in shares]

    return find


PEERS = {
    "dlib": Peer(("dlib", "face_recognition_models"), "dlib-bin face_recognition_models 'setuptools<80'", _load_dlib),
    "mediapipe": Peer(("mediapipe",), "mediapipe==0.10.21", _load_mediapipe),
}


def known(name: str) -> Peer:
    """The toolkit called `name`. Raises ConfigError if it is unknown."""
    if name not in PEERS:
        raise ConfigError(f"unknown toolkit {name!r} to compare with; known: {', '.join(PEERS)}")
    return PEERS[name]


def load(name: str) -> Find:
    """Load a toolkit. Raises ConfigError if it is unknown or not installed."""
    peer = known(name)
    try:
        return peer.load()
    except ImportError as error:
        raise ConfigError(f"{name} is not installed ({error}): pip install {peer.install}") from error
