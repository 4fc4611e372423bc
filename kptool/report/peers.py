"""Other toolkits that find faces and their keypoints, brought to kptool's names and pixels, to be compared with.

Each is used as its own documentation shows, with its own face detector, and only where it is installed. What they
call a point is not always what kptool's labels call it; differences of convention are part of what is compared.
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

Points = dict[str, NDArray[np.float64]]
Find = Callable[[NDArray[np.uint8]], list[Points]]
"""A picture uint8 (H, W, 3) -> for each face, points (2,) by name, in its pixels, an integer a pixel's centre."""

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
"""Which vertices of MediaPipe's face mesh a name is the mean of."""


@dataclass(frozen=True)
class Peer:
    """A toolkit: the modules it needs, how to install them, and what makes its finder."""

    modules: tuple[str, ...]
    install: str
    load: Callable[[], Find]


def _mean(points: NDArray[np.float64], scheme: Mapping[str, tuple[int, ...]]) -> Points:
    return {name: points[list(indices)].mean(0) for name, indices in scheme.items()}


def _load_dlib() -> Find:
    dlib, models = importlib.import_module("dlib"), importlib.import_module("face_recognition_models")
    detect = dlib.get_frontal_face_detector()
    predict = dlib.shape_predictor(models.pose_predictor_model_location())

    def find(image: NDArray[np.uint8]) -> list[Points]:
        shapes = [predict(image, box) for box in detect(image, 1)]  # enlarged once, as it misses faces below 80 pixels
        points = [np.array([(p.x, p.y) for p in shape.parts()], np.float64) for shape in shapes]
        return [_mean(each, face68.PARTS) for each in points]

    return find


def _load_mediapipe() -> Find:
    mediapipe: Any = importlib.import_module("mediapipe")
    mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=10)

    def find(image: NDArray[np.uint8]) -> list[Points]:
        found = mesh.process(image).multi_face_landmarks or []
        size = np.array([image.shape[1], image.shape[0]])
        points = [np.array([(p.x, p.y) for p in face.landmark], np.float64) * size - 0.5 for face in found]
        return [_mean(each, _MESH) for each in points]

    return find


PEERS = {
    "dlib": Peer(("dlib", "face_recognition_models"), "dlib-bin face_recognition_models 'setuptools<80'", _load_dlib),
    "mediapipe": Peer(("mediapipe",), "mediapipe==0.10.21", _load_mediapipe),
}


def known(name: str) -> Peer:
    """The toolkit of that name. Raises ConfigError where there is no such one."""
    if name not in PEERS:
        raise ConfigError(f"there is no toolkit {name!r} to compare with; known: {', '.join(PEERS)}")
    return PEERS[name]


def load(name: str) -> Find:
    """The finder of a toolkit. Raises ConfigError where there is no such one, or it is not installed."""
    peer = known(name)
    try:
        return peer.load()
    except ImportError as error:
        raise ConfigError(f"{name} is not installed ({error}): pip install {peer.install}") from error
