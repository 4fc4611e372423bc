"""Written videos: times, sizes and colours come back; a failure leaves what was there."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from films import av

from kptool.base.errors import ConfigError, DataError
from kptool.data import video_writer
from kptool.data.video import Video
from kptool.data.video_writer import Source, rational, writing

UNEVEN = (0.0, 0.033, 0.067, 0.1, 0.167, 1.7, 1.733, 1.85)


def patch(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A frame of one colour for each number."""
    return np.full((height, width, 3), [20 + 25 * number, 220 - 25 * number, 128], np.uint8)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "h264"), ("a.mkv", "h264"), ("a.webm", "vp9")])
def test_times_and_colours_come_back(in_tmp: Path, name: str, codec: str) -> None:
    with writing(Path(name), Source(Fraction(1, 1000))) as writer:
        for number, time in enumerate(UNEVEN):
            writer.add(patch(number), time)
    assert writer.notes == []
    frames = list(Video(name).frames())
    assert [frame.time for frame in frames] == pytest.approx(UNEVEN, abs=1e-6)
    assert all(np.abs(frame.pixels.astype(int) - patch(frame.number)).max() <= 6 for frame in frames)
    with av.open(name) as container:
        assert container.streams.video[0].codec_context.name.replace("libdav1d", "") == codec
    assert [path.name for path in Path().iterdir()] == [name]


def test_an_even_rate_stays_even(in_tmp: Path) -> None:
    rate = rational(29.97)
    assert (rate, rational(25), rational(23.976), rational(0.5)) == (
        Fraction(30000, 1001),
        25,
        Fraction(24000, 1001),
        Fraction(1, 2),
    )
    with writing(Path("a.mp4"), Source(1 / rate, rate, Fraction(4, 3))) as writer:
        for number in range(8):
            writer.add(patch(number), round(number * 1001 / 30000, 6))
    with av.open("a.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.frames, stream.sample_aspect_ratio) == (rate, 8, Fraction(4, 3))
        stamps = sorted(packet.pts for packet in container.demux(stream) if packet.size)
        assert len({b - a for a, b in pairwise(stamps)}) == 1


def test_odd_sizes_and_mpeg4(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_writer, "_OTHERS", (("none_such", {}), ("mpeg4", {})))
    with writing(Path("a.mp4")) as writer:
        writer.add(patch(1, 47, 63), 0.0)
        with pytest.raises(DataError, match="have one size; got 64x48 after 63x47 pixels"):
            writer.add(patch(1), 0.1)
    assert writer.notes[0].endswith("here 64x48")
    assert "MPEG-4 Part 2" in writer.notes[1]
    (frame,) = Video("a.mp4").frames()
    assert frame.pixels.shape == (48, 64, 3)


def test_what_is_there_stays_if_writing_fails(in_tmp: Path) -> None:
    Path("a.mp4").write_text("before")

    def interrupted() -> None:
        with writing(Path("a.mp4")) as writer:
            writer.add(patch(0), 0.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(DataError, match="no frames"), writing(Path("a.mp4")):
        pass
    with pytest.raises(ConfigError, match=r"videos are written as .mp4, .*; got a\.avi"), writing(Path("a.avi")):
        pass
    assert [(path.name, path.read_text()) for path in Path().iterdir()] == [("a.mp4", "before")]
