"""Videos: frames keep their numbers and times if others are lost, losses are reported, folders are searched."""

from __future__ import annotations

import csv
import io
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import COUNT, av, film, grey, holed, seen
from PIL import Image

from kptool.base.errors import DataError
from kptool.data import pictures, video
from kptool.data.timeline import Timeline, in_words, spans

UNEVEN = (0.0, 0.033, 0.067, 0.1, 0.15, 0.167, 0.2, 1.7, 1.733, 1.767, 1.85, 1.9)
"""Times of a telephone's video: jitter, and a pause."""


@pytest.mark.parametrize(
    ("name", "codec"), [("a.avi", "mjpeg"), ("a.mkv", "mjpeg"), ("a.mp4", "mpeg4"), ("b.mp4", "libx264")]
)
def test_frames_have_numbers_and_times(in_tmp: Path, name: str, codec: str) -> None:
    film(name, codec=codec, options={"bf": "2"} if codec == "libx264" else None)
    one = video.Video(name)
    frames = list(one.frames())
    assert [frame.number for frame in frames] == [seen(frame.pixels) for frame in frames] == list(range(COUNT))
    assert [frame.time for frame in frames] == pytest.approx([n / 25 for n in range(COUNT)], abs=2e-6)
    assert one.lost == ""


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.webm"])
def test_variable_frame_rate(in_tmp: Path, name: str) -> None:
    codec = "libvpx" if name.endswith("webm") else "libx264"
    film(name, grey(len(UNEVEN)), codec=codec, times=UNEVEN, options={} if codec == "libvpx" else {"bf": "2"})
    one = video.Video(name)
    frames = list(one.frames())
    assert [frame.time for frame in frames] == pytest.approx(UNEVEN, abs=1e-6)
    assert [frame.number for frame in frames] == list(range(len(UNEVEN)))
    assert one.lost == ""


def test_times_count_from_the_first_frame(in_tmp: Path) -> None:
    film("a.mkv", grey(3), times=(2.0, 2.1, 2.3))
    assert [frame.time for frame in video.Video("a.mkv").frames()] == [0.0, 0.1, 0.3]


def test_a_rotated_video_is_upright(in_tmp: Path) -> None:
    still = np.zeros((48, 64, 3), np.uint8)
    still[:, :16] = 255  # the left edge, which a quarter turn counterclockwise makes the lower one
    film("a.mp4", [still], codec="libx264", rotation=90)
    (frame,) = video.Video("a.mp4").frames()
    assert frame.pixels.shape == (64, 48, 3)
    assert frame.pixels[-12:].mean() > 240 > 15 > frame.pixels[:40].mean()


def test_the_range_of_an_edit_list(in_tmp: Path) -> None:
    """A video that was trimmed without being encoded again: packets before the cut are decoded, but not shown."""
    film("a.mp4", codec="libx264", options={"bf": "2"})
    with av.open("a.mp4") as whole, av.open("cut.mp4", "w") as cut:
        stream = cut.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(whole.streams.video[0]):
            if packet.dts is not None:
                packet.pts -= 5 * packet.duration
                packet.dts -= 5 * packet.duration
                packet.stream = stream
                cut.mux(packet)
    one = video.Video("cut.mp4")
    frames = list(one.frames())
    assert [seen(frame.pixels) for frame in frames] == list(range(5, COUNT))
    assert [frame.number for frame in frames] == list(range(COUNT - 5))
    assert [b.time - a.time for a, b in pairwise(frames)] == pytest.approx([0.04] * (COUNT - 6), abs=1e-5)
    assert one.lost == ""


def test_a_cut_video_says_so(in_tmp: Path) -> None:
    data = film("a.avi").read_bytes()
    Path("cut.avi").write_bytes(data[: len(data) // 2])
    one = video.Video("cut.avi")
    count = len(list(one.frames()))
    assert 5 < count < COUNT - 5
    assert one.lost.startswith(f"{count} of {COUNT} frames could be read")
    assert one.lost.endswith(f"counted from 0: {count} to {COUNT - 1}")
    some = video.Video("cut.avi")
    assert len(list(some.frames(3))) == 3
    assert some.lost == ""  # nothing of what was asked for
    data = film("a.mkv", times=[n * n / 500 for n in range(COUNT)]).read_bytes()
    Path("cut.mkv").write_bytes(data[: len(data) // 2])
    one = video.Video("cut.mkv")
    frames = list(one.frames())
    assert [frame.time for frame in frames] == pytest.approx([n * n / 500 for n in range(len(frames))], abs=6e-4)
    assert "frames lost there are not counted, because its frame rate varies; the file ends at 0." in one.lost
    assert one.lost.endswith("of 1.7 s")


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mov"])
def test_frames_behind_a_hole_keep_their_numbers(in_tmp: Path, name: str) -> None:
    holed(film(name), 0.5, 0.57)
    one = video.Video(name)
    frames = list(one.frames())
    numbers = [frame.number for frame in frames]
    assert COUNT - 6 < len(frames) < COUNT
    assert numbers[-1] == COUNT - 1
    late = [frame for frame in frames if frame.number > COUNT * 2 // 3]
    assert late
    assert all(seen(frame.pixels) == frame.number for frame in late)
    assert all(frame.time == pytest.approx(frame.number / 25, abs=2e-3) for frame in late)
    lost = sorted(set(range(COUNT)) - set(numbers))
    assert f"{len(frames)} of {COUNT} frames" in one.lost
    assert str(lost[0]) in one.lost


def test_spans_of_lost_frames_at_any_count() -> None:
    """A damaged header may state any number of frames."""
    line = Timeline(0, Fraction(1, 10), {n: n for n in range(10)}, 4_000_000_000, repeats=frozenset({4}))
    assert line.missing([0, 1, 3, 5, 9], to_end=False) == (
        "5 of 9 frames could be read, and keep their numbers; missing, counted from 0: 2, 6 to 8"
    )
    assert line.missing([0, 9], to_end=True).endswith("counted from 0: 1 to 3, 5 to 8, 10 to 3999999999")
    assert line.place(7, 0) == (7, 0.7)
    assert line.place(None, 8) == (8, 0.8)
    assert in_words(spans(range(0, 20, 2))) == "0, 2, 4, 6, 8 and 5 more gaps"


def test_predict_tells_of_frames(kptool: Any, in_tmp: Path) -> None:
    data = film("a.avi").read_bytes()
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
    film("real.avi", grey(2))
    Path("list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nreal.avi\n#EXT-X-ENDLIST\n")
    Path("other.mp4").write_text("ffconcat version 1.0\nfile real.avi\n")
    for name in ("list.mp4", "other.mp4"):  # a video that makes FFmpeg open other files
        with pytest.raises(DataError, match="cannot be read as a video"):
            video.Video(name)
    assert capfd.readouterr().err == ""


def test_a_webcam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_device", lambda number: (f"testsrc=size=64x48:rate={number}", "lavfi", {}))
    frames = list(video.Video("camera:50").frames(4))
    assert [(frame.number, frame.time, frame.pixels.shape) for frame in frames] == [
        (n, n / 50, (48, 64, 3)) for n in range(4)
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_folders_videos_and_linked_folders(in_tmp: Path) -> None:
    Path("view/deep").mkdir(parents=True)
    Path("store").mkdir()
    for name in ("view/top.png", "view/deep/in.png", "store/far.png"):
        Image.new("L", (8, 8)).save(name)
    film("store/v.avi", grey(2))
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
