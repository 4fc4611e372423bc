"""Numbers and times of a video's frames, and which of them are lost.

The container is scanned once without decoding. A frame's number is the rank of its presentation timestamp among those of
all packets, so it is right for variable frame rates and for frames that do not decode. Where lost packets leave no trace
(Matroska, WebM, MPEG), an even spacing of the others gives the rank. AVI has no timestamps; its index gives the rank by the
place of a packet in the file.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_REORDERED = 64
"""Packets read beyond the last frame that is wanted: frames are stored out of order, by less than this."""
_EVEN_SHARE, _OFF_GRID = 0.95, 0.2
"""The share of steps that even spacing needs, and the largest deviation from the grid, in frames."""
_AVI_HEADER = 8
"""Bytes of an AVI chunk's header: FFmpeg's index points at the header, the position of a packet behind it."""
_MOV = "mov,mp4,m4a,3gp,3g2,mj2"
"""FFmpeg's name of the format of mp4 and QuickTime files."""
_MOST_SPANS = 5


@dataclass(frozen=True)
class Timeline:
    """The frames that a file should have, found by `scan`.

    start: timestamp of the first frame, in units of `base` seconds. numbers: the number of the frame of each timestamp.
    count: how many frames there should be, also those that cannot be decoded. repeats: the numbers of those that only repeat the
    frame before, and are not stored. remarks: sentences on a file that
    ends before its header says, or whose lost frames cannot be counted. indexed: timestamps count packets, and say nothing
    of lost ones.
    """

    start: int
    base: Fraction
    numbers: dict[int, int]
    count: int
    remarks: tuple[str, ...] = ()
    indexed: bool = False
    repeats: frozenset[int] = frozenset()

    def place(self, stamp: int | None, least: int) -> tuple[int, float]:
        """The number of the frame with a timestamp, at least `least`, and its time in seconds from the first, rounded to 1e-6.

        An unknown timestamp gives `least`, and the time that is likely at an even rate.
        """
        known = self.numbers.get(stamp) if stamp is not None else None
        number = least if known is None else max(known, least)
        if stamp is None or known is None:
            return number, round(float(number * self._mean_step() * self.base), 6)
        ticks = number if self.indexed else stamp - self.start
        return number, max(0.0, round(float(ticks * self.base), 6))

    def _mean_step(self) -> Fraction:
        last = max(self.numbers.values(), default=0)
        return Fraction(max(self.numbers) - self.start, last) if last and not self.indexed else Fraction(1)

    def missing(self, got: Sequence[int], *, to_end: bool) -> str:
        """What should be there but is not among `got`, up to the last of these or, with `to_end`, the end; "" for nothing."""
        end = max(got, default=-1) + 1
        there = sorted({-1, *got, *self.repeats, max(end, self.count) if to_end else end})
        lost = [
            (a + 1, b - 1) for a, b in itertools.pairwise(there) if b - a > 1
        ]  # spans: a header may state any count
        told = list(self.remarks) if to_end else []
        if lost:
            whole = len(set(got)) + sum(b - a + 1 for a, b in lost)
            what = f"{len(set(got))} of {whole} frames could be read, and keep their numbers"
            told.insert(0, f"{what}; missing, counted from 0: {in_words(lost)}")
        return "; ".join(told)


def spans(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """The runs of ascending numbers, each as its first and last."""
    runs = list[tuple[int, int]]()
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def in_words(runs: Sequence[tuple[int, int]]) -> str:
    """Runs as "3, 7 to 9", at most `_MOST_SPANS` of them and how many more there are."""
    text = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in runs[:_MOST_SPANS])
    return text if len(runs) <= _MOST_SPANS else f"{text} and {len(runs) - _MOST_SPANS} more gaps"


def scan(container: Any, stream: Any, most: int | None = None) -> Timeline:
    """The timeline of a PyAV `stream`, whose packets it reads; of the first frames only if at most `most` are wanted."""
    limit = None if most is None else most + _REORDERED
    stamps, places, damage = _packets(container, stream, limit)
    whole = limit is None or len(stamps) < limit
    base, kind = Fraction(stream.time_base), str(container.format.name)
    ordered = sorted(set(stamps))
    if not ordered:
        return Timeline(0, base, {}, 0)
    if kind == "avi" and not stream.codec_context.has_b_frames and (index := _by_index(stream, stamps, places)):
        numbers, repeats = index
        count = len(stream.index_entries) if whole else max(numbers.values()) + 1
        return Timeline(ordered[0], base, numbers, count, indexed=True, repeats=repeats)
    numbers = {stamp: number for number, stamp in enumerate(ordered)}
    if traceless := kind not in ("avi", _MOV):
        step = _step(ordered)
        numbers = {stamp: round((stamp - ordered[0]) / step) for stamp in ordered} if step else numbers
        traceless = step is None
    count = max(numbers.values()) + 1
    stated = max(count, _stated(stream, kind)) if whole else count
    remarks = [_DAMAGED.format(damage)] * (traceless and bool(damage))
    if whole and stated == count:
        remarks += _ends_early(container, stream, ordered, base)
    return Timeline(ordered[0], base, numbers, stated, tuple(remarks))


_DAMAGED = "the file is damaged ({}), and frames lost there are not counted, because its frame rate varies"


def _packets(container: Any, stream: Any, most: int | None) -> tuple[list[int], list[int | None], str]:
    """Timestamps and positions of the packets that are shown, and the demuxer's first error; fewer if reading fails."""
    import av

    stamps, places = list[int](), list[int | None]()
    before = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as logs:
            for packet in container.demux(stream):
                stamp = packet.dts if packet.pts is None else packet.pts
                if (
                    packet.size and not packet.is_discard and stamp is not None
                ):  # an edit list discards what it leaves out
                    stamps.append(stamp)
                    places.append(packet.pos)
                if most is not None and len(stamps) >= most:
                    break
    except av.FFmpegError:
        pass
    finally:
        av.logging.set_level(before)
    errors = (text.strip() for _, source, text in logs if source == container.format.name)
    return stamps, places, next(errors, "")


def _by_index(
    stream: Any, stamps: Sequence[int], places: Sequence[int | None]
) -> tuple[dict[int, int], frozenset[int]] | None:
    """The numbers of an AVI's packets by its index, and those of frames that repeat the one before; None without an index."""
    index = list(stream.index_entries)
    rank = {entry.pos + _AVI_HEADER: number for number, entry in enumerate(index)}
    found = [rank.get(-1 if place is None else place) for place in places]
    numbers = {stamp: number for stamp, number in zip(stamps, found, strict=True) if number is not None}
    if len(numbers) < len(stamps) or len(index) < stream.frames:  # a cut file has lost its index
        return None
    return numbers, frozenset(number for number, entry in enumerate(index) if not entry.size)  # empty chunks


def _step(ordered: Sequence[int]) -> Fraction | None:
    """The distance of evenly spaced timestamps, some of which may be missing; None if they are not evenly spaced."""
    steps = sorted(b - a for a, b in itertools.pairwise(ordered))
    if len(steps) < 2:
        return None
    middle = steps[len(steps) // 2]
    single = [step for step in steps if abs(step - middle) <= max(1, _OFF_GRID * middle)]
    step = Fraction(sum(single), len(single))  # the mean: timestamps may be rounded to milliseconds
    off = (abs(each / step - round(each / step)) for each in (stamp - ordered[0] for stamp in ordered))
    return step if len(single) >= _EVEN_SHARE * len(steps) and max(off) < _OFF_GRID else None


def _stated(stream: Any, kind: str) -> int:
    """The number of shown frames that the file's header or index states; 0 if it states none."""
    if kind != _MOV:
        return int(stream.frames)
    return sum(not entry.is_discard for entry in stream.index_entries)


def _ends_early(container: Any, stream: Any, ordered: Sequence[int], base: Fraction) -> list[str]:
    """A sentence if the stream's stated duration is longer than its frames, by more than 2 frames and 2 per cent."""
    text = re.fullmatch(r"([0-9]+):([0-9]+):([0-9]+(?:\.[0-9]*)?)", stream.metadata.get("DURATION", ""))  # Matroska
    if text is not None:
        stated = 3600 * int(text[1]) + 60 * int(text[2]) + float(text[3])
    elif stream.duration is None and len(container.streams) == 1 and container.duration:
        stated = container.duration / 1e6
    else:
        return []
    step = float((ordered[-1] - ordered[0]) * base) / max(len(ordered) - 1, 1)
    end = float(ordered[-1] * base) + step
    return [f"the file ends at {end:.1f} of {stated:.1f} s"] if stated - end > max(2 * step, 0.02 * stated) else []
