"""Tables as text: separators, decimal commas, encodings, headers, rows that end early."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from label_files import MORE, put
from test_tables import read, seen

from kptool.base import recipes
from kptool.base.errors import DataError, KptoolError
from kptool.data.sources import find_reader, find_source
from kptool.data.splits import read_groups
from kptool.datasets import table
from kptool.kaggle.submit import read_lookup
from kptool.system import text


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_separators_blank_lines_and_decimal_commas(tmp_path: Path, ending: str) -> None:
    text = "\nimage;a_x;a_y\n\n;;\na.png;1,5;2\n  \nb.jpg;3;4,25\n"
    place = tmp_path / "t.csv"
    place.write_bytes(text.replace("\n", ending).encode())
    file = table.read(place)
    assert [thing.keypoints.tolist() for thing in file.things] == [[[1.5, 2]], [[3, 4.25]]]
    file = read(tmp_path, "sep=\t\nimage\ta_x\ta_y\na.png\t1.5\t2\n")
    assert file.things[0].keypoints.tolist() == [[1.5, 2]]
    with pytest.raises(DataError, match=r"line 6: a_x is 'no'"):
        read(tmp_path, "\n\nimage,a_x,a_y\n\na.png,1,2\nb.jpg,no,2\n")


def test_rows_that_end_early_are_counted_and_a_last_one_without_its_end_is_refused(tmp_path: Path) -> None:
    file = read(tmp_path, "image,a_x,a_y,b_x,b_y\na.png,1,2\nb.jpg,1,2,3,4\n")
    assert seen(file) == [[2, 0], [2, 2]]
    assert file.notes == ("1 row ends early, in line 2; missing cells are read as empty",)
    with pytest.raises(DataError, match=r"line 3: 3 of 5 columns and no end of line; the file may be cut off"):
        read(tmp_path, "image,a_x,a_y,b_x,b_y\na.png,1,2,3,4\nb.jpg,1,2")


MARKS = {
    "utf-8-sig": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
}


@pytest.mark.parametrize("encoding", MARKS)
@pytest.mark.parametrize("name", MORE)
def test_every_text_format_is_read_in_the_encoding_that_its_mark_tells(
    name: str, encoding: str, tmp_path: Path
) -> None:
    path = MORE[name](tmp_path)
    _, reader = find_reader(path)
    assert reader.read is not None
    plain = reader.read(path, None)
    for place in [p for p in tmp_path.rglob("*") if p.suffix in (".csv", ".json", ".yaml", ".txt", ".xml", ".pts")]:
        place.write_bytes(MARKS[encoding] + place.read_text(encoding="utf-8").encode(encoding))
    _, again = find_reader(path)
    assert again is reader
    marked = reader.read(path, None)
    assert marked.names == plain.names
    for one, other in zip(plain.things, marked.things, strict=True):
        assert np.array_equal(one.keypoints, other.keypoints, equal_nan=True)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("image,a_x,a_y\nä.png,1,2\n".encode("latin-1"), r"t\.csv, line 2: not text in UTF-8; save it as UTF-8"),
        ("image,a_x,a_y\na.png,1,2\n".encode("utf-16-le"), r"t\.csv has zero bytes in it.*save it as UTF-8"),
        (codecs.BOM_UTF16_LE + b"a\0\x00\xd8", r"t\.csv, line 1: not text in UTF-16; save it as UTF-8"),
    ],
)
def test_other_encodings_are_refused_in_plain_words(data: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(DataError, match=says):
        table.read(tmp_path / "t.csv")


def test_kaggle_in_another_encoding_is_refused_with_the_fix(tmp_path: Path) -> None:
    place = tmp_path / "training.csv"
    place.write_bytes("a_x,a_y,Image\n1,2,0 0 0 0\n".encode("utf-16"))
    with pytest.raises(DataError, match="is not text in UTF-8; save it as UTF-8"):
        find_source(place)


def test_a_separator_is_what_the_first_line_has_most_of(tmp_path: Path) -> None:
    rows, separator = text.read_rows(put(tmp_path / "t.csv", "a;b,c;d\n1;2;3\n"), 1 << 10)
    assert (rows, separator) == ([(1, ["a", "b,c", "d"]), (2, ["1", "2", "3"])], ";")
    assert text.first_line(put(tmp_path / "t.csv", "\n \nsep=;\nimage;a\n")) == "image;a"


@pytest.mark.parametrize(
    ("name", "reader"), [("groups", read_groups), ("lookup", read_lookup), ("recipe", recipes.read)]
)
def test_other_files_in_another_encoding_are_refused_in_plain_words(
    name: str, reader: Callable[[Path], object], tmp_path: Path
) -> None:
    place = tmp_path / name
    place.write_bytes("row,group\n0,1\n".encode("utf-16"))
    with pytest.raises(KptoolError, match=r"is not (text in UTF-8|UTF-8 text).*save it as UTF-8"):
        reader(place)


@pytest.mark.parametrize("cells", ["13,24,35,40", "13.5,24.5,35.5,40.5", "13,13,13,40"])
def test_a_table_without_a_header_is_refused(cells: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"has no header, its first line is that of a picture; add one: image, and NAME_x,NAME_y"
    ):
        read(tmp_path, f"a.png,{cells}\nb.png,14,25,36,41\n")


def test_a_cell_that_is_not_available_is_empty(tmp_path: Path) -> None:
    assert seen(read(tmp_path, "image,tip_x,tip_y\na.png,N/A,n/a\nb.jpg,1,2\n")) == [[0], [2]]
