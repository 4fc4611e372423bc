"""``kptool predict`` on videos: the drawn video, tracks and smoothed points in csv and JSON, sequences of pictures."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import collage
from films import film, grey
from PIL import Image

from kptool.cli import video_options
from kptool.data.video import Video
from kptool.predict import drawing
from kptool.predict.instances import Instance
from kptool.system.progress import FRAMES

TIMES = (0.0, 0.04, 0.2)
XY, RAW = ("x", "y"), ("x_raw", "y_raw")


def clip(name: str = "clip.mkv") -> list[np.ndarray]:
    """Writes a video of a face that moves to the right by 12 px, at uneven times, with sound, and returns its frames."""
    frames = [np.asarray(collage(240, 200, [(x, 30, 150)])[0].convert("RGB")) for x in (10, 22, 34)]
    film(name, frames, codec="libx264", times=TIMES, sound=True)
    return frames


def test_the_drawn_video_and_the_table(kptool: Any, in_tmp: Path) -> None:
    frames = clip()
    ran = kptool("predict", "clip.mkv", "--out", "drawn.mp4", "--smooth", "--csv")
    assert "kptool: the sound of clip.mkv is not copied to drawn.mp4" in ran.err
    drawn = list(Video("drawn.mp4").frames())
    assert [frame.time for frame in drawn] == pytest.approx(TIMES, abs=1e-6)
    assert [frame.pixels.shape for frame in drawn] == [frame.shape for frame in frames]
    for frame, source in zip(drawn, frames, strict=True):  # the box and the points
        assert (np.abs(frame.pixels.astype(int) - source).max(-1) > 60).sum() > 200
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [(row["frame"], row["time"], row["track"]) for row in rows[::15]] == [
        ("0", "0.0", "0"),
        ("1", "0.04", "0"),
        ("2", "0.2", "0"),
    ]
    smooth, raw = (np.array([[float(row[k]) for k in keys] for row in rows]).reshape(3, 15, 2) for keys in (XY, RAW))
    assert np.array_equal(smooth[0], raw[0])
    assert (raw[1] - raw[0])[:, 0] == pytest.approx(12, abs=3)
    assert 0.1 < (raw[1] - smooth[1])[:, 0].mean() < 10  # it lags a little


def test_pictures_as_a_sequence(kptool: Any, refused: Any, in_tmp: Path) -> None:
    Path("shots").mkdir()
    for number in (10, 9, 2):
        Image.fromarray(np.roll(grey(1)[0], 5 * number, (0, 1))).save(f"shots/p{number}.png")
    arguments = ("predict", "shots", "--no-detect", "--fps", 4, "--out", "drawn.mp4")
    ran = kptool(*arguments, "--smooth", "--coco", "coco.json", "--json")
    images = ran.json()["images"]
    assert [image["file"] for image in images] == ["shots/p2.png", "shots/p9.png", "shots/p10.png"]
    assert [(image["frame"], image["time"]) for image in images] == [(0, 0.0), (1, 0.25), (2, 0.5)]
    (face,) = images[1]["faces"]
    assert face["track"] == 0
    x0, x1 = ([point["x"] for point in images[n]["faces"][0]["keypoints"]] for n in (0, 1))
    raw = [x for x, _ in face["raw"]]
    assert all(min(a, c) <= b <= max(a, c) for a, b, c in zip(x0, x1, raw, strict=True))
    assert not np.allclose(x1, raw)
    assert [frame.time for frame in Video("drawn.mp4").frames()] == [0.0, 0.25, 0.5]
    assert [each["track_id"] for each in json.loads(Path("coco.json").read_text())["annotations"]] == [0, 0, 0]
    assert "needs times, which shots/p10.png has not; --fps" in refused("predict", "shots", "--track")
    assert "writes the frames of one video" in refused("predict", "shots", "--out", "d.mp4")
    written = Path("drawn.mp4").read_bytes()
    Image.new("L", (30, 30)).save("shots/p11.png")
    assert "have one size; got 30x30 after 64x64" in refused(*arguments)
    assert Path("drawn.mp4").read_bytes() == written


def test_what_cannot_be_written(refused: Any, in_tmp: Path) -> None:
    film("a.mp4", grey(2), codec="libx264")
    before = Path("a.mp4").read_bytes()
    assert "is among the files that are read" in refused("predict", "a.mp4", "--out", "./a.mp4")
    assert "videos are written as .mp4" in refused("predict", "a.mp4", "--out", "b.avi")
    assert "a.mp4 has times of its own" in refused("predict", "a.mp4", "--fps", "3")
    assert "writes the frames of one video" in refused("predict", "a.mp4", "a.mp4", "--out", "b.mp4")
    assert Path("a.mp4").read_bytes() == before


def test_a_long_video_without_faces_is_one_line(kptool: Any, in_tmp: Path) -> None:
    film("empty.mp4", grey(7), codec="libx264")
    first, last = kptool("predict", "empty.mp4").out.splitlines()
    assert first == "empty.mp4: 0 faces in 7 frames"
    assert last.startswith("0 faces in 7 frames, by ")


def test_progress_in_lines() -> None:
    told, shown, now = list[str](), list[tuple[Any, ...]](), [0.0]
    report = video_options.with_lines(lambda *given: shown.append(given), told.append, clock=lambda: now[0])
    for number in range(0, 1201, 40):
        report(f"{FRAMES} of a.mp4", number, 1200)
        now[0] += 1.6
    assert told[0] == "frame 280 of 1200 of a.mp4, 25.0 frames/s, 0:37 left"
    assert len(told) == 4
    assert len(shown) == 31
    assert video_options.pace(FRAMES, 5, None, 2) == "frame 5, 2.0 frames/s"
    assert video_options.pace(FRAMES, 0, 9000, 2) == "frame 0 of 9000, 2.0 frames/s, 1:15:00 left"


def test_a_drawn_track_keeps_the_size() -> None:
    points = np.array([[20, 20], [30, 30]], np.float32)
    ones = np.ones(2, np.float32)
    face = Instance((10, 10, 30, 30), points, ones, ones, np.eye(2, 3), track=1)
    image = np.zeros((50, 60, 3), np.uint8)
    assert drawing.draw(image, [face], ["a", "b"]).size == (480, 400)
    plain = np.asarray(drawing.draw(image, [face], ["a", "b"], label=True, enlarge=False))
    assert plain.shape == (50, 60, 3)
    assert (plain == [0x56, 0xB4, 0xE9]).all(-1).sum() > 50
