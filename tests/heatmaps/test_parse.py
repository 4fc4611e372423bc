"""The core's csv parser against a pure Python parser, with input split anywhere, and arbitrary bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kptool import _core

SETTINGS = settings(max_examples=150, deadline=None)
Error = tuple[int, int, str, int]
Row = tuple[list[float], list[int]]


def run(
    data: Any, columns: int, pixel_column: int, pixels: int, *, rows: int = 50, final: bool = True
) -> tuple[list[Row], int, Error | None]:
    floats = np.full((rows, columns), -7.0)
    images = np.full((rows, pixels), 77, dtype=np.uint8)
    done, used, error = _core.parse_rows(data, columns, pixel_column, pixels, floats, images, final)
    parsed = [(floats[i].tolist(), images[i].tolist() if pixel_column >= 0 else []) for i in range(done)]
    return parsed, used, error


class WrongError(Exception):
    """Column, code and detail of an error."""


def slow_line(line: str, columns: int, pixel_column: int, pixels: int) -> Row:
    """Parse one line without quotes in the obvious way."""
    cells = line.split(",")
    numbers: list[float] = []
    image: list[int] = []
    for column, cell in enumerate(cells[:columns]):
        if column == pixel_column:
            image = slow_pixels(cell, column, pixels)
            numbers.append(math.nan)
            continue
        try:
            value = float(cell.strip(" \t")) if cell.strip(" \t") else math.nan
        except ValueError as error:
            raise WrongError(column, "not-a-number", column) from error
        numbers.append(value)
    if len(cells) < columns:
        raise WrongError(len(cells), "too-few-columns", len(cells))
    if len(cells) > columns:
        raise WrongError(columns, "too-many-columns", columns)
    return numbers, image


def slow_pixels(cell: str, column: int, pixels: int) -> list[int]:
    image: list[int] = []
    for token in cell.split(" "):
        if not token:
            continue
        if len(image) == pixels:
            raise WrongError(column, "too-many-pixels", pixels)
        value = 0
        for c in token:
            if c not in "0123456789":
                raise WrongError(column, "pixel-not-a-number", len(image))
            value = 10 * value + int(c)
            if value > 255:
                raise WrongError(column, "pixel-out-of-range", len(image))
        image.append(value)
    if len(image) < pixels:
        raise WrongError(column, "too-few-pixels", len(image))
    return image


def slow(text: str, columns: int, pixel_column: int, pixels: int) -> tuple[list[Row], Error | None]:
    rows: list[Row] = []
    for line in text.split("\n"):
        bare = line.removesuffix("\r")
        if not bare:
            continue
        try:
            rows.append(slow_line(bare, columns, pixel_column, pixels))
        except WrongError as wrong:
            column, code, detail = wrong.args
            return rows, (len(rows), column, code, detail)
    return rows, None


def same(first: list[Row], second: list[Row]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(a[0], b[0], equal_nan=True) and a[1] == b[1] for a, b in zip(first, second, strict=True)
    )


def test_a_small_table() -> None:
    rows, used, error = run(b'1.5,,0 255 7\r\n\n"-2e1"," 3 ","1 2 3"\n4,5,6 7 8', 3, 2, 3)
    assert error is None
    assert used == 45
    assert same(
        rows,
        [
            ([1.5, math.nan, math.nan], [0, 255, 7]),
            ([-20, 3, math.nan], [1, 2, 3]),
            ([4, 5, math.nan], [6, 7, 8]),
        ],
    )


def test_a_cut_off_line_waits_for_its_rest() -> None:
    rows, used, error = run(b"1,2\n3,4", 2, -1, 0, final=False)
    assert (len(rows), used, error) == (1, 4, None)


def test_no_more_rows_than_there_is_room_for() -> None:
    rows, used, error = run(b"1\n2\n3\n", 1, -1, 0, rows=2)
    assert (len(rows), used, error) == (2, 4, None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"1,2", (2, "too-few-columns", 2)),
        (b"1,2,3 4,5", (3, "too-many-columns", 3)),
        (b"1,x,3 4", (1, "not-a-number", 1)),
        (b"1,nan,3 4", (1, "not-a-number", 1)),
        (b"inf,1,3 4", (0, "not-a-number", 0)),
        (b"1e999,1,3 4", (0, "not-a-number", 0)),
        (b"1,1 2,3 4", (1, "not-a-number", 1)),
        (b"1,0x1,3 4", (1, "not-a-number", 1)),
        (b"1,+-1,3 4", (1, "not-a-number", 1)),
        (b'1,"2,3 4', (1, "not-a-number", 1)),
        (b'1,"2"x,3 4', (1, "not-a-number", 1)),
        (b'1,2,"3 4', (2, "pixel-not-a-number", 0)),
        (b"1,2,3", (2, "too-few-pixels", 1)),
        (b"1,2,", (2, "too-few-pixels", 0)),
        (b"1,2,3 4 5", (2, "too-many-pixels", 2)),
        (b"1,2,3 256", (2, "pixel-out-of-range", 1)),
        (b"1,2,3 99999999999999999999", (2, "pixel-out-of-range", 1)),
        (b"1,2,3 -4", (2, "pixel-not-a-number", 1)),
        (b"1,2,3.0 4", (2, "pixel-not-a-number", 0)),
        (b"1,2,3\t4", (2, "pixel-not-a-number", 0)),
        (b"1,2,3 \x00", (2, "pixel-not-a-number", 1)),
        (b"1,2,3 \xb24", (2, "pixel-not-a-number", 1)),
    ],
)
def test_errors_name_row_column_and_cause(line: bytes, expected: tuple[int, str, int]) -> None:
    rows, used, error = run(b"9,8,7 6\n" + line + b"\n", 3, 2, 2)
    assert same(rows, [([9, 8, math.nan], [7, 6])])
    assert used == 8
    assert error == (1, *expected)


NUMBERS = st.one_of(
    st.just(""),
    st.integers(-(10**18), 10**18).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
PADDED = st.tuples(st.sampled_from(["", " "]), NUMBERS, st.sampled_from(["", " ", "\t"])).map("".join)


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, int, int, int]:
    """Mostly valid lines: text, columns, pixel column, pixels."""
    columns = draw(st.integers(1, 4))
    pixel_column = draw(st.integers(-1, columns - 1))
    pixels = draw(st.sampled_from([1, 3, 16, 50]))
    pixel = st.integers(0, draw(st.sampled_from([9, 255, 255, 258]))).map(str)
    lines = []
    for _ in range(draw(st.integers(0, 4))):
        cells = [draw(PADDED) for _ in range(columns + draw(st.sampled_from([0, 0, 0, 0, 0, 1, -1])))]
        if 0 <= pixel_column < len(cells):
            count = max(0, pixels + draw(st.sampled_from([0, 0, 0, 0, 0, 1, -1])))
            values = draw(st.lists(pixel, min_size=count, max_size=count))
            cells[pixel_column] = draw(st.sampled_from([" ", " ", " ", "  "])).join(values)
        lines.append(",".join(cells))
    end = draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
    return end.join(lines) + draw(st.sampled_from(["", end])), columns, pixel_column, pixels


@SETTINGS
@given(tables())
def test_equals_a_parser_in_python(table: tuple[str, int, int, int]) -> None:
    text, *shape = table
    expected, wrong = slow(text, *shape)
    rows, used, error = run(text.encode(), *shape)
    assert error == wrong
    assert same(rows, expected)
    assert error is not None or used == len(text)


@settings(max_examples=30, deadline=None)
@given(tables())
def test_a_cut_at_any_byte_changes_nothing(table: tuple[str, int, int, int]) -> None:
    text, *shape = table
    data = text.encode()
    expected, _, wrong = run(data, *shape)
    for cut in range(0, len(data) + 1, max(1, len(data) // 300)):
        rows, used, error = run(data[:cut], *shape, final=False)
        assert used <= cut
        if error is None:
            more, _, error = run(data[used:], *shape)
            error = error and (error[0] + len(rows), *error[1:])
            rows += more
        assert error == wrong
        assert same(rows, expected)


ALPHABET = st.sampled_from(list(b'0123456789 ,"\r\n.-+eE\t\x00\xff;nai'))


@SETTINGS
@given(st.lists(ALPHABET, max_size=400).map(bytes), st.integers(1, 3), st.integers(0, 20), st.booleans())
@example(b"", 1, 0, True)
@example(b" ", 1, 0, True)
@example(b"0 " * 64, 1, 20, True)
@example(b'"', 1, 1, True)
def test_any_bytes_are_survived(data: bytes, columns: int, pixels: int, final: bool) -> None:
    """Rows and bytes stay within bounds, and nothing is written after the faulty row."""
    for pixel_column in range(-1, columns):
        floats, images = np.full((5, columns), -7.0), np.full((5, pixels), 77, dtype=np.uint8)
        done, used, error = _core.parse_rows(data, columns, pixel_column, pixels, floats, images, final)
        assert 0 <= done <= 5
        assert 0 <= used <= len(data)
        assert error is None or error[0] == done
        assert np.isfinite(floats[~np.isnan(floats)]).all()
        assert (floats[done + 1 :] == -7).all()
        assert (images[done + 1 :] == 77).all()


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_long_images_of_all_lengths_of_numbers(digits: int) -> None:
    """Enough pixels to reach every step of a loop that reads many bytes at once, at every alignment."""
    rng = np.random.default_rng(digits)
    low, high = {1: (0, 10), 2: (0, 100), 3: (0, 256)}[digits]
    for pixels in (*range(1, 140), 9216):
        values = rng.integers(low, high, pixels).tolist()
        text = "0.5," + " ".join(map(str, values)) + "\n"
        for lead in ("", "1,1\n"[: digits + 1]):
            data = memoryview(b"x" * len(lead) + text.encode())[len(lead) :]
            rows, _, error = run(data, 2, 1, pixels, rows=1)
            assert error is None
            assert rows[0][1] == values


def test_takes_any_contiguous_buffer_and_refuses_others() -> None:
    assert run(bytearray(b"1\n"), 1, -1, 0)[0] == [([1.0], [])]
    assert run(np.frombuffer(b"1\n", dtype=np.uint8), 1, -1, 0)[0] == [([1.0], [])]
    with pytest.raises(ValueError, match="not bytes"):
        run(memoryview(b"1 2 3 \n")[::2], 1, -1, 0)
    with pytest.raises(TypeError):
        run("1\n", 1, -1, 0)


@pytest.mark.parametrize(
    ("floats", "images"),
    [
        (np.empty((2, 3), np.float32), np.empty((2, 4), np.uint8)),
        (np.empty((2, 2)), np.empty((2, 4), np.uint8)),
        (np.empty((2, 6))[:, ::2], np.empty((2, 4), np.uint8)),
        (np.empty((2, 3)), np.empty((1, 4), np.uint8)),
        (np.empty((2, 3)), np.empty((2, 5), np.uint8)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(floats: Any, images: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        _core.parse_rows(b"", 3, 0, 4, floats, images, True)
