"""SLEAP's projects, packages and analysis csv: half pixels, visibility, predictions, videos, embedded colours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from label_files import NAMES, pictures, put, sleap_pictures, sleap_project, sleap_skeleton, write_sleap

from kptool.base.errors import DataError
from kptool.data import images
from kptool.data.annotations import LabelFile
from kptool.data.formats import sleap_h5
from kptool.data.sources import Opening, find_source
from kptool.datasets import sleap
from kptool.system import quarantine

POINTS = np.array([[10.25, 20], [30, 40], [50, 60.5], [70, 80]])
SEEN = np.array([1, 1, 1, 0], np.uint8)
LIST = {"filename": ["a.png", "b.jpg"], "backend": {"type": "ImageVideo"}}


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Open files in this process, as a subprocess for each takes too long; not where a test asks for `isolated`."""

    def extract_pictures(path: Path, dataset: str, frames: list[int], folder: Path) -> dict[int, str]:
        put(folder / "frames.json", json.dumps(frames))
        return dict(zip(frames, sleap_h5.unpack(path, dataset, folder), strict=True))

    def load(path: Path, kind: int) -> dict[str, Any]:
        try:
            return sleap_h5.contents(path, kind)
        except ValueError as error:
            raise DataError(f"{path} cannot be read: {error}") from error

    if "isolated" not in request.fixturenames:
        monkeypatch.setattr(sleap_h5, "load", load)
        monkeypatch.setattr(sleap_h5, "extract_pictures", extract_pictures)


@pytest.fixture
def isolated() -> None:
    """Marks a test that opens files in a subprocess, as kptool does."""


def project(folder: Path, *instances: tuple[int, int, int], video: dict[str, Any] = LIST, **more: Any) -> Path:
    """A project of instances given as (video, frame, kind), all with the same points."""
    pictures(folder)
    return sleap_project(folder / "p.slp", [(*one, POINTS, SEEN) for one in instances], [video], **more)


def film(path: Path, *levels: int) -> None:
    """A grey video with a frame of each level, without loss."""
    av = pytest.importorskip("av", reason="PyAV is an optional extra: keypoint-toolkit[video]")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 100, 90, "gray"
        for level in levels:
            frame = av.VideoFrame.from_ndarray(np.full((90, 100), level, np.uint8), format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def placed(file: LabelFile) -> list[list[float] | None]:
    thing = file.things[0]
    return [point.tolist() if seen else None for point, seen in zip(thing.keypoints, thing.visibility, strict=True)]


def test_a_point_that_is_not_visible_is_unlabelled_and_counted(tmp_path: Path) -> None:
    file = sleap.read(project(tmp_path, (0, 1, 0)))
    assert placed(file) == [[10.25, 20], [30, 40], [50, 60.5], None]
    assert file.things[0].picture == "b.jpg"
    assert file.notes == ("1 point that SLEAP marks as not visible is unlabelled, as in SLEAP's own training",)


def test_before_format_1_1_the_first_pixels_centre_was_one_half(tmp_path: Path) -> None:
    file = sleap.read(project(tmp_path, (0, 0, 0), version=1.0))
    assert placed(file) == [[9.75, 19.5], [29.5, 39.5], [49.5, 60], None]


def test_symmetries_are_flip_pairs_and_edges_are_kept(tmp_path: Path) -> None:
    file = sleap.read(project(tmp_path, (0, 0, 0)))
    assert file.names == NAMES
    assert file.flip_pairs == ((0, 1),)
    assert file.edges == ((2, 3),)


def test_types_of_edges_are_spelt_out_once_and_referred_to_by_number() -> None:
    stated = sleap_skeleton((0, 1, 2), (1, 0, 2), (2, 3, 1), (0, 2, 1))
    assert [link["type"].get("py/id") for link in stated["links"]] == [None, 1, None, 2]
    found = sleap._skeleton(stated, [{"name": name} for name in NAMES])
    assert found.symmetries == ((0, 1),)  # stated in both directions
    assert found.edges == ((2, 3), (0, 2))


def test_nodes_are_in_the_order_of_the_skeleton() -> None:
    stated = {
        "links": [{"source": 3, "target": 2, "type": {}}],
        "nodes": [{"id": k} for k in (3, 1, 2, 0)],
        "graph": {},
    }
    found = sleap._skeleton({"nx_graph": stated}, [{"name": name} for name in "abcd"])
    assert found.names == ("d", "b", "c", "a")
    assert found.edges == ((0, 2),)


def test_what_is_no_label_is_counted(tmp_path: Path) -> None:
    tables = {
        "tracks_json": [b'[0,"a"]', b'[0,"b"]'],
        "suggestions_json": [b"{}"],
        "masks": np.zeros(3),
        "identity__name": np.zeros(2),
    }
    file = sleap.read(project(tmp_path, (0, 0, 0), (0, 0, 1), (0, 1, 1), **tables))
    assert len(file.things) == 1
    assert file.notes[:4] == (
        "2 predicted instances are not used, only what somebody labelled; --category predicted reads them",
        "2 tracks are not used: instances are read one by one",
        "1 suggested frame is not used",
        "3 masks are not used",
    )
    predicted = sleap.read(tmp_path / "p.slp", "predicted")
    assert [thing.picture for thing in predicted.things] == ["a.png", "b.jpg"]
    assert predicted.notes[0] == "1 labelled instance is not used, only predicted ones, as --category says"


@pytest.mark.parametrize(
    ("instances", "category", "message"),
    [
        ([(0, 0, 1)], None, "holds 1 predicted instances and none that somebody labelled.*--category predicted"),
        ([(0, 0, 0)], "predicted", "holds no predicted instances; leave out"),
        ([(0, 0, 0)], "horse", "no instances of a skeleton 'horse'; choose one of face"),
    ],
)
def test_a_file_without_what_is_asked_for_says_so(
    instances: list[tuple[int, int, int]], category: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        sleap.read(project(tmp_path, *instances), category)


@pytest.mark.parametrize(
    ("version", "stated", "swapped"), [(1.3, {}, True), (1.4, {}, False), (1.4, {"channel_order": "BGR"}, True)]
)
def test_embedded_colours_are_in_the_order_that_the_file_states(
    version: float, stated: dict[str, str], swapped: bool, tmp_path: Path
) -> None:
    video = {
        "backend": {"filename": ".", "dataset": "video0/video"},
        "source_video": {"backend": {"filename": "C:\\x\\clip.mp4"}},
    }
    path = project(tmp_path, (0, 5, 0), video=video, version=version)
    colours = np.zeros((90, 100, 3), np.uint8)
    colours[:, :50] = 250, 20, 10
    sleap_pictures(path, "video0", [5], [colours], **stated)
    file = sleap.read(path)
    assert file.things[0].picture == "clip/000005.png"
    assert file.folder is not None
    found = images.read(file.folder / file.things[0].picture)
    assert np.array_equal(found, colours[..., ::-1] if swapped else colours)


def test_a_package_is_read_in_a_subprocess(isolated: None, tmp_path: Path) -> None:
    source = find_source(write_sleap(tmp_path), Opening(size=(90, 100)))
    assert source.pictures == ["video0/000007.png", "video0/000008.png"]
    assert next(source.blocks()).images.shape == (2, 90, 100)


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [(-11, b"", "it is damaged"), (0, b'"it is odd"', "it is odd"), (0, b"{", "it is damaged")],
)
def test_what_the_subprocess_reports_becomes_one_sentence(
    isolated: None, status: int, answer: bytes, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "run_isolated", lambda code, path, *more: (status, answer))
    with pytest.raises(DataError, match=rf"p\.slp cannot be read: {reason}; save it again in SLEAP"):
        sleap.read(project(tmp_path, (0, 0, 0)))


def test_pictures_of_several_videos_are_grouped_by_video(tmp_path: Path) -> None:
    names = [{"backend": {"filename": ".", "dataset": f"video{n}/video"}} for n in (4, 9)]
    rows = [(video, frame, 0, POINTS, SEEN) for video, frame in ((4, 0), (4, 3), (9, 0))]
    path = sleap_project(tmp_path / "p.pkg.slp", rows, names)  # numbered as in the project that it was packed from
    for n in (4, 9):
        sleap_pictures(path, f"video{n}", [0, 3], [np.full((90, 100), n, np.uint8)] * 2)
    source = find_source(path, Opening(crop="picture", size=(90, 100)))
    assert source.groups is not None
    assert source.groups.tolist() == [0, 0, 1]
    assert next(source.blocks()).images[:, 5, 5].tolist() == [4, 4, 9]


def test_frames_come_from_the_video_beside_the_file_or_in_images(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    film(tmp_path / "films" / "clip.mkv", 10, 60, 110, 160)
    video = {"backend": {"filename": "/home/someone/clip.mkv", "grayscale": True}}
    path = project(tmp_path, (0, 1, 0), (0, 3, 0), video=video)
    for opening in (Opening(crop="picture"), Opening(tmp_path / "films", crop="picture")):
        source = find_source(path, opening)
        assert source.pictures == ["clip/000001.png", "clip/000003.png"]
        assert source.channels == 1
        assert next(source.blocks()).images[:, 50, 50].tolist() == [60, 160]
    with pytest.raises(DataError, match="has no frame 4, counted from 0, which is labelled"):
        find_source(project(tmp_path, (0, 4, 0), video=video))
    (tmp_path / "films" / "clip.mkv").unlink()
    with pytest.raises(
        DataError, match=r"names the video '/home/someone/clip\.mkv', which is not in .*\.pkg\.slp holds its"
    ):
        find_source(path)
    table = "track,frame_idx,instance.score,tip.x,tip.y,tip.score\n,1,,3,4,\n"
    with pytest.raises(DataError, match="has no video; name the folder of its video with --images, or"):
        find_source(put(tmp_path / "films" / "t.csv", table))


def test_an_analysis_csv_reads_labels_and_on_request_predictions(tmp_path: Path) -> None:
    film(tmp_path / "clip.mkv", 1, 2, 3)
    film(tmp_path / "other.mkv", 1)
    rows = ",0,nan,3.5,4,,,,\nfly,2,0.9,5,6,.9,7,8.25,.5\n,2,nan,,,,,,\n"
    text = f"track,frame_idx,instance.score,tip.x,tip.y,tip.score,base.x,base.y,base.score\n{rows}"
    path = put(tmp_path / "labels.v001.000_clip.analysis.csv", text)
    source = find_source(path, Opening(crop="picture", size=(90, 100)))
    samples = next(source.blocks())
    assert source.pictures == ["clip/000000.png"]
    assert samples.keypoints.tolist() == [[[3.5, 4], [0, 0]]]
    assert samples.visibility.tolist() == [[2, 0]]
    assert source.notes[:2] == (
        "1 predicted instance is not used, only what somebody labelled; --category predicted reads them",
        "1 track is not used: instances are read one by one",
    )
    predicted = next(find_source(path, Opening(category="predicted", crop="picture", size=(90, 100))).blocks())
    assert predicted.keypoints.tolist() == [[[5, 6], [7, 8.25]]]
    with pytest.raises(DataError, match=r"line 2: tip\.x is 'x', expected a number; export"):
        find_source(put(path, text.replace("3.5", "x")))
    with pytest.raises(DataError, match="has several videos, none called 't'"):
        find_source(put(tmp_path / "t.csv", text))


def test_links_out_of_the_file_and_newer_formats_are_refused(tmp_path: Path) -> None:
    path = project(tmp_path, (0, 0, 0), version=3.0)
    with pytest.raises(DataError, match="its format 3 is newer than kptool knows"):
        sleap.read(path)
    path = project(tmp_path, (0, 0, 0))
    with h5py.File(path, "a") as file:
        del file["points"]
        file["points"] = h5py.ExternalLink("elsewhere.h5", "points")
    with pytest.raises(DataError, match="points is not in it"):
        sleap.read(path)


@pytest.mark.parametrize(
    ("table", "column", "last"), [("frames", "instance_id_end", 3), ("instances", "point_id_end", 9)]
)
def test_rows_that_are_not_there_or_belong_to_another_are_refused(
    table: str, column: str, last: int, tmp_path: Path
) -> None:
    path = project(tmp_path, (0, 0, 0), (0, 1, 0))
    for value in (last, 2**40, -1):
        with h5py.File(path, "a") as file:
            rows = file[table][()]
            rows = rows.astype([(name, "i8" if name == column else rows.dtype[name]) for name in rows.dtype.names])
            rows[column][0] = value
            del file[table]
            file[table] = rows
        with pytest.raises(DataError, match=f"its {table} refer to rows that are not there, or are another's"):
            sleap.read(path)


def test_cut_off_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = write_sleap(tmp_path)
    whole = path.read_bytes()
    for length in range(8, len(whole), len(whole) // 40):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is not laid out as"):
            sleap_h5.contents(path, 0)
