"""Data sets of people: layouts, flip pairs, lines, visibility, boxes and splits of OpenPose, MPII, COCO-WholeBody, Leeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from label_data import pictures, put
from label_tools import save_mat, structs

from kptool.base.errors import DataError
from kptool.data import flips
from kptool.data.annotations import LabelFile
from kptool.data.formats import human, mat_hdf5
from kptool.data.sources import Opening, find_source
from kptool.datasets import coco_wholebody, matlab, mpii, openpose

LAYOUTS = {
    "mpii": human.MPII, "leeds": human.LEEDS, "coco": human.COCO,
    **{f"openpose{len(one)}": one for one in human.OPENPOSE["pose"]},
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_agree_with_what_names_say(name: str) -> None:
    layout = LAYOUTS[name]
    assert layout.pairs == tuple(sorted(flips.infer(layout.names).pairs))
    links = human.edges(layout)
    assert len(links) == len(layout.lines)
    assert {k for link in links for k in link} == set(range(len(layout)))  # every keypoint is connected


def named(file: LabelFile) -> set[tuple[str, str]]:
    """The flip pairs of a file by name."""
    assert file.flip_pairs is not None
    return {(file.names[a], file.names[b]) for a, b in file.flip_pairs}


def write_openpose(path: Path, *people: Any) -> Path:
    return put(path, json.dumps({"version": 1.3, "people": list(people)}))


def test_openpose_joins_parts_and_leaves_nobody_out_in_silence(tmp_path: Path) -> None:
    body = np.tile([3.5, 4.5, 0.9], (25, 1))
    body[4] = 0
    hand = np.tile([7, 8, 0.5], (21, 1)).ravel().tolist()
    whole = {"pose_keypoints_2d": body.ravel().tolist(), "hand_left_keypoints_2d": hand, "pose_keypoints_3d": [1]}
    write_openpose(tmp_path / "clip_000000000001_keypoints.json", whole, {"pose_keypoints_2d": [0] * 75})
    write_openpose(tmp_path / "clip_000000000002_keypoints.json")
    write_openpose(tmp_path / "photo_keypoints.json", {"hand_right_keypoints_2d": hand, "face_keypoints_2d": []})
    file = openpose.read(tmp_path)
    assert len(file.names) == 25 + 21 + 21
    assert [(one.picture, one.group) for one in file.things] == [("clip_000000000001.*", "clip"), ("photo.*", None)]
    assert file.things[0].keypoints[0].tolist() == [3, 4]
    assert file.things[0].visibility.tolist() == [2] * 4 + [0] + [2] * 20 + [1] * 21 + [0] * 21
    assert {("left_eye", "right_eye"), ("left_thumb4", "right_thumb4")} <= {tuple(sorted(pair)) for pair in named(file)}
    assert len(named(file)) == 11 + 21
    assert file.notes == (
        "these are a model's predictions, not labels that people made",
        "42 keypoints with a confidence below 0.6 are read as occluded",
        "1 file without people is not used",
        "1 people without a keypoint of these parts are not used",
        "the 3D keypoints of 1 people are not used",
    )
    assert openpose.read(tmp_path, "hand_right").names[0] == "right_hand_root"
    write_openpose(tmp_path / "odd_keypoints.json", {"pose_keypoints_2d": [1, 2, 0.5] * 18})
    with pytest.raises(DataError, match=r"odd_keypoints\.json, person 0: pose has 18 keypoints, and 25 in other files"):
        openpose.read(tmp_path)


def test_mpii_counts_pixels_from_1_and_has_a_square_around_people(tmp_path: Path) -> None:
    joints = np.full((16, 2), 50.0)
    joints[3] = -1
    flags = [1, 0, *[1] * 14]
    row = {"joints": joints.tolist(), "joints_vis": flags, "image": "a.png", "scale": 0.5, "center": [40, 60]}
    file = mpii.read(put(tmp_path / "train.json", json.dumps([row])))
    assert file.names[:2] == ("right_ankle", "right_knee")
    assert file.things[0].keypoints[0].tolist() == [49, 49]
    assert file.things[0].visibility.tolist() == [2, 0, 2, 0, *[2] * 12]
    assert file.things[0].box == (39 - 50, 59 + 7.5 - 50, 100, 100)
    assert file.notes == (
        "1 joint has a place and a flag that says unlabelled; it is not used",
        "1 joint at -1,-1 or 0,0 is marked as labelled, but taken as missing",
    )


def test_mpii_of_convolutional_pose_machines_has_occlusion_and_a_split(tmp_path: Path) -> None:
    joint_self = [[10, 20, 1], [11, 21, 0], [0, 0, 0], [12, 22, 2], *[[9, 9, 1]] * 12]
    rows = [
        {"img_paths": "a.png", "joint_self": joint_self, "isValidation": k, "joint_others": [[1]], "objpos": [5, 5]}
        for k in (0.0, 1.0)
    ]
    file = mpii.read(put(tmp_path / "mpii_annotations.json", json.dumps(rows)))
    assert [one.split for one in file.things] == ["train", "val"]
    assert file.things[0].visibility[:4].tolist() == [2, 1, 0, 0]
    assert file.things[0].keypoints[:2].tolist() == [[9, 19], [10, 20]]
    assert "the other people stated with 2 persons are not used, as each has an entry of its own" in file.notes


def test_train_and_valid_of_mpii_are_parts_of_one_set(tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    row = {"joints": [[5, 6]] * 16, "joints_vis": [1] * 16}
    for part, name in (("train", "a.png"), ("valid", "b.jpg")):
        put(tmp_path / "annot" / f"{part}.json", json.dumps([{**row, "image": name}]))
    source = find_source(tmp_path / "annot")
    assert source.split is not None
    assert source.split.tolist() == [0, 1]


def wholebody(path: Path) -> Path:
    """Two people: one with all parts, and one without hands and with an invalid face."""
    parts = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
    flat = {key: [10 * k + 1, 20, 1 + (key == "keypoints")] * n for k, (key, n) in enumerate(parts.items())}
    flat["righthand_kpts"] = [41, 20, 2] * 21
    one = {"image_id": 1, "id": 1, "category_id": 1, "bbox": [1, 2, 30, 40], "face_box": [3, 4, 5, 6], **flat}
    none = {"lefthand_kpts": [0] * 63, "face_kpts": [0] * 204, "face_valid": False}
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [one, {**one, "id": 2, **none, "righthand_kpts": [0] * 63}],
        "categories": [{"id": 1, "name": "person", "keypoints": list(human.COCO.names)}],
    }
    return put(path, json.dumps(document))


def test_wholebody_has_133_keypoints_or_a_part(tmp_path: Path) -> None:
    path = wholebody(tmp_path / "w.json")
    file = coco_wholebody.read(path)
    assert len(file.names) == 133
    assert (file.names[17], file.names[23], file.names[91], file.names[132]) == (
        "left_big_toe", "face-0", "left_hand_root", "right_pinky_finger4",
    )  # fmt: skip
    pairs = named(file)
    assert len(pairs) == 8 + 3 + 29 + 21
    assert {("left_heel", "right_heel"), ("face-0", "face-16"), ("left_hand_root", "right_hand_root")} <= pairs
    assert file.things[0].keypoints[[0, 17, 23, 91, 112]].tolist() == [[1, 20], [11, 20], [21, 20], [31, 20], [41, 20]]
    assert file.things[0].visibility[[0, 17, 23, 91, 112]].tolist() == [2, 2, 2, 1, 2]  # the hands tell hidden ones
    assert int((file.things[1].visibility > 0).sum()) == 23
    assert ("left_ankle", "left_heel") in {(file.names[a], file.names[b]) for a, b in file.edges}
    assert "1 part that the file marks as not valid is unlabelled" in file.notes
    assert "no keypoint of feet and face has a visibility of 2, so 1 is read as visible there" in file.notes
    face = coco_wholebody.read(path, "face")
    assert (len(face.things), len(face.names), face.things[0].box) == (1, 68, (2.5, 3.5, 5, 6))
    assert "1 annotation without keypoints of the face is not used" in face.notes
    assert coco_wholebody.read(path, "body").names == human.COCO.names
    with pytest.raises(DataError, match="no part 'person'; choose one of body, feet, face, left-hand, right-hand"):
        coco_wholebody.read(path, "person")


def test_leeds_flags_mean_occluded_and_in_the_extended_set_labelled(tmp_path: Path) -> None:
    joints = np.full((3, 14, 2), 11.0)
    joints[2] = 0
    joints[2, 5, 1] = 1
    file = matlab.read(save_mat(tmp_path / "joints.mat", joints=joints, other=np.eye(2)))
    assert [one.picture for one in file.things] == ["im0001.*", "im0002.*"]
    assert file.things[1].keypoints[0].tolist() == [10, 10]
    assert file.things[1].visibility.tolist() == [2] * 5 + [1] + [2] * 8
    assert file.names[-2:] == ("neck", "head_top")
    assert file.notes == ("1 other variable is not used (other)",)
    extended = matlab.read(save_mat(tmp_path / "joints.mat", joints=joints.transpose(1, 0, 2)))
    assert extended.things[1].picture == "im00002.*"
    assert [int(one.visibility.sum()) for one in extended.things] == [0, 2]
    assert extended.notes == ("27 joints have a place and a flag that says not labelled; they are not used",)
    joints[2, 5, 1] = 7
    with pytest.raises(DataError, match=r"joints\.mat, picture 2: left_ankle has the flag 7, but must have 0 or 1"):
        matlab.read(save_mat(tmp_path / "joints.mat", joints=joints))


def test_the_last_thousand_of_leeds_are_for_testing(tmp_path: Path) -> None:
    file = matlab.read(save_mat(tmp_path / "joints.mat", joints=np.ones((3, 14, 2000))))
    assert [one.split for one in file.things[998:1002]] == ["", "", "test", "test"]
    assert "the last 1000 pictures are for testing, as the data set's authors say" in file.notes


def test_mpiis_own_release(tmp_path: Path) -> None:
    points = structs(
        [
            {"x": 11.0, "y": 21.0, "id": 0.0, "is_visible": "1"},
            {"x": 12.0, "y": 22.0, "id": 8.0},
            {"x": 13.0, "y": 23.0, "id": 15.0, "is_visible": 0.0},
        ]
    )
    place = {"objpos": structs([{"x": 41.0, "y": 61.0}]), "scale": 0.5}
    people = structs([{"annopoints": structs([{"point": points}]), **place}, place])
    annolist = structs(
        [
            {"image": structs([{"name": name}]), "annorect": rect}
            for name, rect in (("a.png", people), ("b.jpg", structs([place])))
        ]
    )
    release = {"annolist": annolist, "img_train": np.array([[1.0, 0.0]]), "version": "12"}
    path = save_mat(tmp_path / "mpii.mat", RELEASE=release)
    assert matlab.matches(path)
    file = matlab.read(path)
    (one,) = file.things
    assert (one.picture, one.box) == ("a.png", (40 - 50, 60 + 7.5 - 50, 100, 100))
    assert one.visibility.tolist() == [2, *[0] * 7, 2, *[0] * 6, 1]
    assert one.keypoints[[0, 8, 15]].tolist() == [[10, 20], [11, 21], [12, 22]]
    assert file.notes[:2] == (
        "2 persons without points are not used",
        "1 picture of the test part has no labels, and is not used",
    )


def test_other_mat_files_are_refused(tmp_path: Path) -> None:
    path = save_mat(tmp_path / "x.mat", joints=np.eye(3), y=np.ones((3, 4, 5)))
    with pytest.raises(DataError, match=r"x\.mat is a file of MATLAB's, which kptool does not read"):
        find_source(path)
    whole = save_mat(tmp_path / "joints.mat", joints=np.ones((3, 4, 5))).read_bytes()
    for place in range(130, len(whole), 9):
        (tmp_path / "joints.mat").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with pytest.raises(DataError):  # its pictures are not there, if not worse
            find_source(tmp_path / "joints.mat", Opening())


def test_version_7_3_has_its_axes_reversed(tmp_path: Path) -> None:
    joints = np.arange(3 * 14 * 2, dtype=float).reshape(3, 14, 2)
    path = tmp_path / "joints.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["joints"] = joints.T
        file["other"] = [1.0]
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
    assert matlab.matches(path)
    assert np.array_equal(mat_hdf5.joints(path), joints)
    assert not mat_hdf5.has(path, b"RELEASE")
    with pytest.raises(DataError, match=r"picture 1: right_ankle has the flag 56"):  # read in a subprocess
        matlab.read(path)
