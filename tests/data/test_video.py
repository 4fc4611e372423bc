"""Videos: frames keep their numbers and times if others are lost, losses are reported, folders are searched."""

from __future__ import annotations

import csv
import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kptool.base.errors import DataError
from kptool.data import avi, pictures, video

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2 = pytest.importorskip("cv2")
COUNT = 30


def film(path: Path, codec: str = "MJPG") -> Path:
    """A video of 30 frames at 25 frames per second, whose grey value is 5 times their number."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), 25, (64, 64))
    noise = np.random.default_rng(0).integers(0, 40, (64, 64, 3))
    for number in range(COUNT):
        writer.write((noise + 5 * number).astype(np.uint8))
    writer.release()
    return path


def holed(path: Path, start: float, end: float) -> Path:
    """Overwrite the file with zeros from one fraction of its length to another."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * start), int(len(data) * end)
    data[first:last] = bytes(last - first)
    path.write_bytes(data)
    return path


def seen(frame: video.VideoFrame) -> int:
    """The frame number that a grey value encodes."""
    return round((float(frame.pixels.mean()) - 19.5) / 5)


def test_frames_have_numbers_and_times(in_tmp: Path) -> None:
    for name, codec in (("a.avi", "MJPG"), ("a.mkv", "MJPG"), ("a.mp4", "mp4v")):
        film(Path(name), codec)
        one = video.Video(name)
        frames = list(one.frames())
        assert [frame.number for frame in frames] == list(range(COUNT))
        assert [frame.time for frame in frames] == pytest.approx([n / 25 for n in range(COUNT)], abs=2e-3)
        assert one.lost == ""


def test_a_cut_video_says_so(in_tmp: Path) -> None:
    data = film(Path("a.avi")).read_bytes()
    Path("cut.avi").write_bytes(data[: len(data) // 2])
    one = video.Video("cut.avi")
    count = len(list(one.frames()))
    assert 5 < count < COUNT - 5
    assert one.lost.startswith(f"{count} of {COUNT} frames could be read")
    assert one.lost.endswith(f"counted from 0: {count} to {COUNT - 1}")
    some = video.Video("cut.avi")
    assert len(list(some.frames(3))) == 3
    assert some.lost == ""  # nothing of what was asked for


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mov"])
def test_frames_behind_a_hole_keep_their_numbers(in_tmp: Path, name: str) -> None:
    holed(film(Path(name)), 0.5, 0.57)
    one = video.Video(name)
    frames = list(one.frames())
    numbers = [frame.number for frame in frames]
    assert COUNT - 6 < len(frames) < COUNT
    assert numbers[-1] == COUNT - 1
    late = [frame for frame in frames if frame.number > COUNT * 2 // 3]
    assert late
    assert all(seen(frame) == frame.number for frame in late)
    assert all(frame.time == pytest.approx(frame.number / 25, abs=2e-3) for frame in late)
    lost = sorted(set(range(COUNT)) - set(numbers))
    assert f"{len(frames)} of {COUNT} frames" in one.lost
    assert str(lost[0]) in one.lost


def test_an_avis_index(in_tmp: Path) -> None:
    path = film(Path("a.avi"))
    assert avi.intact_frames(path) == []
    whole = avi.intact_frames(holed(path, 0.5, 0.57))
    assert 0 < COUNT - len(whole) < 6
    Path("b.avi").write_bytes(b"RIFF")
    Path("c.avi").touch()
    assert (
        avi.intact_frames(Path("b.avi"))
        == avi.intact_frames(Path("c.avi"))
        == avi.intact_frames(Path("none.avi"))
        == []
    )


def test_predict_tells_of_frames(kptool: Any, in_tmp: Path) -> None:
    data = film(Path("a.avi")).read_bytes()
    Path("cut.avi").write_bytes(data[: len(data) // 2])
    ran = kptool("predict", "cut.avi", "--no-detect", "--csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert (rows[15]["file"], rows[15]["frame"], rows[15]["time"]) == ("cut.avi#1", "1", "0.04")
    assert f"kptool: cut.avi: {len(rows) // 15} of 30 frames could be read" in ran.err
    document = kptool("predict", "cut.avi", "--frames", 2, "--no-detect", "--json").json()
    assert [(each["frame"], each["time"]) for each in document["images"]] == [(0, 0.0), (1, 0.04)]
    Image.new("L", (30, 30)).save("p.png")
    (picture,) = kptool("predict", "p.png", "--no-detect", "--json").json()["images"]
    assert picture["frame"] is picture["time"] is None


def test_what_is_no_video(in_tmp: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("a.mp4").write_bytes(b"no video" * 50)
    with pytest.raises(DataError, match=r"a\.mp4 cannot be read as a video"):
        list(video.Video("a.mp4").frames())
    with pytest.raises(DataError, match=r"no video b\.mp4"):
        video.Video("b.mp4")
    with pytest.raises(DataError, match=r"there is no camera:97: .*connect it"):
        video.Video("camera:97")
    with pytest.raises(DataError, match=r"a webcam is camera:0"):
        video.Video("camera:front")
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_folders_videos_and_linked_folders(in_tmp: Path) -> None:
    Path("view/deep").mkdir(parents=True)
    Path("store").mkdir()
    for name in ("view/top.png", "view/deep/in.png", "store/far.png"):
        Image.new("L", (8, 8)).save(name)
    film(Path("store/v.avi"))
    Path("view/day1").symlink_to("../store")
    Path("view/loop").symlink_to("../view")
    Path("view/gone.png").symlink_to("nowhere.png")
    every = ["view/day1/far.png", "view/day1/v.avi", "view/deep/in.png", "view/gone.png", "view/top.png"]
    assert pictures.expand(["view"]) == every
    assert pictures.expand(["vi*"]) == every
    assert pictures.expand(["view/d*"]) == [*every[:2], "view/deep/in.png"]
    read = {picture.name: picture.error for picture in pictures.read(every, frames=1)}
    assert read.pop("view/gone.png") == "there is no picture view/gone.png"
    assert read == dict.fromkeys(["view/day1/far.png", "view/day1/v.avi#0", "view/deep/in.png", "view/top.png"], "")
