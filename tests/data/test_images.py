"""Pictures that are not 8-bit: the scaling rule, what is reported, and that all ways to read a picture agree."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kptool import Predictor
from kptool.base.errors import DataError
from kptool.data import images, intensity

RAMP = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
"""8-bit values from 0 to 252."""


def saved(path: Path, array: NDArray[Any]) -> Path:
    Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (RAMP.astype(np.uint16) << 8, "up to 16 bits"),
        (RAMP.astype(np.uint16) << 4, "up to 12 bits"),
        (RAMP.astype(np.uint16) << 2, "up to 10 bits"),
        (RAMP.astype(np.uint16), "none above 255"),
        (RAMP.astype(np.int32), "none above 255"),
        (RAMP.astype(np.int32) << 6, "up to 14 bits"),
        ((RAMP / 255).astype(np.float32), "from 0 to 1"),
        ((RAMP / 127.5 - 1).astype(np.float32), "from -1 to 1"),
        (RAMP.astype(np.float32), "floating-point numbers up to 255"),
        (RAMP.astype(np.float32) * 256, "floating-point numbers up to 65535"),
        (RAMP.astype(np.int32) * 100_000 - 7_000_000, "no usual range"),
        (RAMP.astype(np.float32) / 50, "no usual range"),
    ],
)
def test_one_rule_for_files_pillow_and_arrays(tmp_path: Path, array: NDArray[Any], kind: str) -> None:
    path = saved(tmp_path / "a.tif", array)
    stretched = "usual" in kind
    expected = np.rint(RAMP / 252 * 255) if stretched else RAMP
    for decoded in (
        images.decode(path),
        images.as_pixels(Image.open(path)),
        images.as_pixels(array),
        images.as_pixels(str(path)),
    ):
        assert decoded.pixels.dtype == np.uint8
        assert np.array_equal(decoded.pixels, expected)
        (remark,) = decoded.remarks
        assert kind in remark


def test_a_16_bit_png_of_12_bits(tmp_path: Path) -> None:
    decoded = images.decode(saved(tmp_path / "a.png", RAMP.astype(np.uint16) * 16))
    assert np.array_equal(decoded.pixels, RAMP)


def test_bands_share_one_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rows are dark: by themselves they would look like 10 bits instead of 16."""
    dark = np.linspace(0, 65535, 64 * 64).reshape(64, 64)
    for array in (dark.astype(np.uint16), dark.astype(np.float32)):
        whole = images.as_pixels(array).pixels
        monkeypatch.setattr(images, "_BAND", 256)
        assert np.array_equal(images.as_pixels(array).pixels, whole)
        assert np.array_equal(images.as_pixels(Image.fromarray(array)).pixels, whole)
        monkeypatch.undo()
        assert whole.min() == 0
        assert whole.max() == 255


def test_pixels_that_are_no_numbers_are_black_and_told(tmp_path: Path) -> None:
    array = (RAMP / 255).astype(np.float32)
    array[0, 10:13] = np.nan, np.inf, -np.inf
    decoded = images.decode(saved(tmp_path / "nan.tif", array))
    assert decoded.pixels[0, 10:13].tolist() == [0, 0, 0]
    assert np.array_equal(decoded.pixels[1:], RAMP[1:])
    assert intensity.NOT_FINITE in decoded.remarks
    nothing = images.as_pixels(np.full((8, 8), np.nan))
    assert not nothing.pixels.any()
    assert nothing.remarks == (intensity.NOT_FINITE, intensity.FLAT)


def test_overshoot_of_resampling_is_clipped() -> None:
    array = (RAMP / 255).astype(np.float64)
    array[0, 0], array[0, -1] = -0.02, 1.03
    pixels = images.as_pixels(array).pixels
    assert pixels[0, 0] == 0
    assert pixels[0, -1] == 255
    assert np.array_equal(pixels[1:], RAMP[1:])


def test_colour_and_bool_arrays() -> None:
    colour = np.stack([RAMP, RAMP[::-1], 252 - RAMP], -1)
    assert np.array_equal(images.as_pixels(colour / 255).pixels, colour)
    assert np.array_equal(images.as_pixels((RAMP > 100)[:, :, None]).pixels, (RAMP > 100) * np.uint8(255))


def test_flat_pictures() -> None:
    spot = np.zeros((200, 200), np.uint8)
    spot[3, 4] = 255
    assert intensity.is_flat(np.full((9, 9, 3), 7, np.uint8))
    assert intensity.is_flat(spot)
    assert intensity.is_flat(RAMP // 18)  # 0 to 14
    spot[100:110, 100:110] = 255
    assert not intensity.is_flat(spot)
    assert not intensity.is_flat(RAMP)
    assert images.as_pixels(spot).remarks == ()


def test_sentences_count_and_name_the_first() -> None:
    told = intensity.remark_notes(
        [("a.png", (intensity.FLAT,)), ("b.png", (intensity.FLAT, "x")), ("a.png", (intensity.FLAT,))]
    )
    assert told == (f"a.png and 1 more: {intensity.FLAT}", "b.png: x")


def test_arrays_that_are_no_pictures_are_refused() -> None:
    for wrong in (np.zeros((0, 4)), np.zeros((3, 8, 8)), np.zeros((8, 8), complex), np.array([["a"]]), [1, 2], None):
        with pytest.raises(DataError, match="expected a path, a Pillow image, or an array"):
            images.as_pixels(wrong)


def test_a_predictor_takes_deep_arrays_as_files(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (60, 60), np.uint8)
    predictor = Predictor("unet", "cpu", detect=False)
    expected = predictor.predict(picture)[0].keypoints
    with caplog.at_level(logging.INFO):
        for deep in (picture.astype(np.uint16) * 16, picture / 255, picture.astype(np.int64)):
            assert np.array_equal(predictor.predict(deep)[0].keypoints, expected)
    assert "picture 0: whole numbers of up to 12 bits" in caplog.text
    caplog.clear()
    predictor.predict(np.zeros((30, 30)))
    assert "picture 0: constant or nearly so" in caplog.text


def test_boxes_for_every_picture_or_none() -> None:
    predictor = Predictor("unet", "cpu")
    with pytest.raises(DataError, match="boxes are given for 1 of 2 pictures"):
        predictor.predict_many([RAMP, RAMP], boxes=[[(0, 0, 40, 40)]])


def test_predict_tells_how_it_read_pictures(kptool: Any, in_tmp: Path) -> None:
    saved(Path("a.tif"), (RAMP / 255).astype(np.float32))
    saved(Path("b.tif"), (RAMP / 510).astype(np.float32))
    saved(Path("flat.png"), np.full((40, 40), 9, np.uint8))
    ran = kptool("predict", "a.tif", "b.tif", "flat.png", "--no-detect", "--json")
    assert ran.code == 0
    notes = ["a.tif and 1 more: numbers from 0 to 1, which are multiplied by 255", f"flat.png: {intensity.FLAT}"]
    assert ran.json()["notes"] == notes
    assert all(f"kptool: {note}" in ran.err for note in notes)


def test_extract_tells_how_it_read_pictures(kptool: Any, in_tmp: Path) -> None:
    saved(Path("a.tif"), (RAMP / 255).astype(np.float32))
    saved(Path("b.png"), RAMP.astype(np.uint16) * 16)
    saved(Path("flat.png"), np.full((48, 64), 9, np.uint8))
    points = "10,10,20,10,15,20"
    rows = "".join(f"{name},{points}\n" for name in ("a.tif", "b.png", "flat.png"))
    Path("labels.csv").write_text("image,a_x,a_y,b_x,b_y,c_x,c_y\n" + rows)
    ran = kptool("extract", "labels.csv", "--crop", "picture", "--size", "48,64", "--json")
    assert ran.code == 0, ran.err
    notes = ran.json()["notes"]
    assert "a.tif: numbers from 0 to 1, which are multiplied by 255" in notes
    assert "b.png: whole numbers of up to 12 bits, of which the upper 8 are used" in notes
    assert f"flat.png: {intensity.FLAT}" in notes
    for number in (0, 1):  # both equal the 8-bit picture
        assert np.array_equal(images.read(Path(f"data/faces/images/0000{number}.png")), RAMP)
