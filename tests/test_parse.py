"""The C++ parser of csv rows with pixels: against Python's own, cut anywhere, and on hostile bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kptool import _core

Rows = list[tuple[list[float | None], list[int]]]


def parse(data: bytes, columns: int = 3, pixels: int = 4, *, column: int = 2, capacity: int = 64, final: bool = True):
    floats = np.full((capacity, columns), -1.0)
    images = np.full((capacity, pixels), 99, np.uint8)
    done, used, error = _core.parse_rows(data, columns, column, pixels, floats, images, final)
    return floats[:done], images[:done], used, error


def text(rows: Rows, newline: str = "\n", quote: str = "") -> bytes:
    lines = (
        ",".join([*("" if v is None else repr(v) for v in values), quote + " ".join(map(str, image)) + quote])
        for values, image in rows
    )
    return "".join(line + newline for line in lines).encode()


cells = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-1000, 1000).map(float))
row = st.tuples(st.lists(cells, min_size=2, max_size=2), st.lists(st.integers(0, 255), min_size=4, max_size=4))
tables = st.lists(row, min_size=1, max_size=6)


@given(tables, st.sampled_from(["\n", "\r\n", "\n\n"]), st.sampled_from(["", '"']))
def test_it_reads_what_was_written(rows: Rows, newline: str, quote: str) -> None:
    data = text(rows, newline, quote)
    floats, images, used, error = parse(data)
    assert (used, error) == (len(data), None)
    expected = [[np.nan if v is None else v for v in values] + [np.nan] for values, _ in rows]
    assert np.array_equal(floats, expected, equal_nan=True)
    assert images.tolist() == [image for _, image in rows]


@settings(max_examples=25)
@given(tables)
def test_a_buffer_may_be_cut_at_any_byte(rows: Rows) -> None:
    data = text(rows)
    for cut in range(len(data) + 1):
        floats, images, used, error = parse(data[:cut], final=False)
        assert error is None
        assert used <= cut
        rest_floats, rest_images, _, error = parse(data[used:])
        assert error is None
        assert [*images.tolist(), *rest_images.tolist()] == [image for _, image in rows]
        assert len(floats) + len(rest_floats) == len(rows)


def test_the_last_line_needs_no_newline() -> None:
    data = text([([1.0, 2.0], [1, 2, 3, 4])])[:-1]
    assert len(parse(data)[0]) == 1
    assert parse(data, final=False)[2:] == (0, None)


def test_capacity_is_kept() -> None:
    data = text([([1.0, 2.0], [1, 2, 3, 4])] * 5)
    floats, _, used, error = parse(data, capacity=2)
    assert (len(floats), used, error) == (2, len(data) // 5 * 2, None)


def test_a_table_without_pixels() -> None:
    floats, _, _, error = parse(b"1,2\n3,\n", 2, 0, column=-1)
    assert error is None
    assert np.array_equal(floats, [[1, 2], [3, np.nan]], equal_nan=True)


@pytest.mark.parametrize(
    ("line", "column", "code", "detail"),
    [
        ("1,2", 1, "too-few-columns", 2),
        ("1,2,1 2 3 4,5", 2, "too-many-columns", 3),
        ("1,x,1 2 3 4", 1, "not-a-number", None),
        ("1,nan,1 2 3 4", 1, "not-a-number", None),
        ("inf,2,1 2 3 4", 0, "not-a-number", None),
        ("1,1e999,1 2 3 4", 1, "not-a-number", None),
        ("1,2 3,1 2 3 4", 1, "not-a-number", None),
        ("1,2,1 2 3", 2, "too-few-pixels", 3),
        ("1,2,", 2, "too-few-pixels", 0),
        ("1,2,1 2 3 4 5", 2, "too-many-pixels", None),
        ("1,2,1 2 256 4", 2, "pixel-out-of-range", None),
        ("1,2,1 2 99999999999999999999 4", 2, "pixel-out-of-range", None),
        ("1,2,1 2 -3 4", 2, "pixel-not-a-number", None),
        ("1,2,1 2 3.5 4", 2, "pixel-not-a-number", None),
        ("1,2,1 2 \x00 4", 2, "pixel-not-a-number", None),
    ],
)
def test_errors_say_where(line: str, column: int, code: str, detail: int | None) -> None:
    good = text([([1.0, 2.0], [1, 2, 3, 4])])
    floats, _, used, error = parse(good * 2 + line.encode() + b"\n" + good)
    assert len(floats) == 2
    assert used == 2 * len(good)
    assert error is not None
    assert error[:3] == (2, column, code)
    assert detail is None or error[3] == detail


@settings(max_examples=300)
@given(st.binary(max_size=200), st.booleans())
def test_hostile_bytes_are_harmless(data: bytes, final: bool) -> None:
    floats, _, used, error = parse(data, final=final, capacity=8)
    assert 0 <= used <= len(data)
    assert len(floats) <= 8
    assert error is None or error[0] == len(floats)


@settings(max_examples=200)
@given(st.text(alphabet='0123456789 ,."\n\r-+e', max_size=120))
def test_almost_csv_is_harmless(data: str) -> None:
    floats, images, used, _ = parse(data.encode(), capacity=4)
    assert used <= len(data)
    assert images.shape == (len(floats), 4)


def test_arguments_are_checked() -> None:
    floats, images = np.zeros((2, 3)), np.zeros((2, 4), np.uint8)
    with pytest.raises(ValueError, match="floats"):
        _core.parse_rows(b"", 4, 2, 4, floats, images, True)
    with pytest.raises(ValueError, match="images"):
        _core.parse_rows(b"", 3, 2, 5, floats, images, True)
    with pytest.raises(ValueError, match="pixel_column"):
        _core.parse_rows(b"", 3, 3, 4, floats, images, True)
    with pytest.raises(TypeError):
        _core.parse_rows(b"", 3, 2, 4, floats.astype(np.float32), images, True)
    images.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        _core.parse_rows(b"", 3, 2, 4, floats, images, True)
