"""Pages: complete in themselves, escaped, with contents, and charts whose parts do not mix."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from kptool.base import palette
from kptool.report import charts, html, svg
from kptool.report.canvas import Figure
from kptool.report.tiles import FILLED, HOLLOW, Key, Tile

EVIL = '<script>alert("x")</script>&'


@pytest.fixture(scope="module")
def page() -> str:
    nme = np.array([0.01, 0.02, 0.3])
    bars = charts.keypoint_bars({EVIL: {EVIL: 1.0, "b": None}}, {EVIL: 2.0, "b": 1.0}, note=EVIL)
    parts = [
        html.heading(EVIL, level=1),
        html.heading("Errors & more"),
        html.chart(charts.cumulative({EVIL: nme, "b": nme / 2}, nme), EVIL),
        html.chart(bars, "bars"),
        html.heading(EVIL),
        html.wide_table(("model", "RMSE"), [(EVIL, "0.5"), ("b", "2.5")], EVIL),
        html.tiles([tile(EVIL)], [Key(EVIL, palette.LEFT)], EVIL),
    ]
    return html.standalone(EVIL, parts)


def tile(text: str) -> Tile:
    points = np.array([[1.0, 2], [3, 4], [np.nan, 0], [5, 5]])
    levels, tints = np.array([FILLED, HOLLOW, FILLED, 0]), [palette.LEFT, palette.RIGHT, palette.MIDDLE, palette.LEFT]
    truth = np.array([[1.5, 2], [np.nan, np.nan], [1, 1], [2, 2]])
    return Tile(np.zeros((8, 12), np.uint8), text, points, levels, tints, [text] * 4, truth, [((1, 2), (3.0, 3.0))])


def test_text_from_files_is_escaped_everywhere(page: str) -> None:
    """In headings, contents, tables, charts, tiles, captions and attributes."""
    assert page.count("<script>") == 1
    assert "alert(&quot;x&quot;)" in page
    assert 'alert("x")' not in re.sub(r"<text.*?</text>", "", page, flags=re.DOTALL)
    assert page.count("&lt;script&gt;") >= 9


def test_a_page_loads_nothing_and_runs_only_its_own_script(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    assert policy[1].startswith("default-src 'none'")
    assert "script-src 'sha256-" in policy[1]
    assert "://" not in page
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page


def test_every_section_is_in_the_contents(page: str) -> None:
    links = re.findall(r'<a href="#([^"]+)">', page)
    assert links == ["part-1", "part-2"]
    assert all(f'<h2 id="{link}">' in page for link in links)
    assert "<nav" not in html.standalone("t", [html.heading("only one")])


def test_charts_are_vectors_in_the_pages_colours_with_ids_of_their_own(page: str) -> None:
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([0-9a-f]{8}-[^"]+)"', page))
    assert {a or b for a, b in used} <= set(ids)
    inline = "".join(re.findall(r'<figure class="chart">.*?</figure>', page, flags=re.DOTALL))
    assert palette.INK not in inline
    assert "var(--baseline)" in inline
    assert "DejaVu" not in inline
    assert "<image" not in inline


def test_the_same_chart_is_the_same_text() -> None:
    nme = np.array([0.01, 0.02])
    assert svg.chart(charts.cumulative({"a": nme}), "a") == svg.chart(charts.cumulative({"a": nme}), "a")


def test_a_tile_has_a_mark_for_each_point_and_a_line_for_each_known_error() -> None:
    drawn = svg.tile(tile("x"))
    assert 'viewBox="0 0 12 8"' in drawn
    assert drawn.count("<title>") == 2  # one is not known, one not drawn
    assert drawn.count("<line") == 2 * 2  # an error and a way to an expected position, each in two widths
    assert 'cx="1.50" cy="2.50"' in drawn  # an integer is a pixel's centre
    assert f'stroke="{palette.RIGHT}"' in drawn  # hollow
    assert f'fill="{palette.LEFT}"' in drawn


def test_the_mean_shape_is_never_the_best() -> None:
    rows = [("mean shape", "0.1"), ("a", "3.0"), ("b", "2.0")]
    assert "<td class=best>2.0</td>" in html.table(("", ""), rows, {1: min}, first=1)
    assert "<td class=best>0.1</td>" in html.table(("", ""), rows, {1: min})
    assert "best" not in html.table(("", ""), [("mean shape", "0.1"), ("a", "3.0"), ("b", "3.0")], {1: min}, first=1)


def test_commands_in_a_paragraph_are_code_and_the_rest_is_text() -> None:
    assert html.paragraph("run `kptool show <x>`, a < b") == "<p>run <code>kptool show &lt;x&gt;</code>, a &lt; b</p>"


def test_a_picture_has_no_background_and_its_title_is_text() -> None:
    figure = Figure(figsize=(1, 1), note="Of two.")
    figure.suptitle("heatmaps, sigma 2")
    page = html.picture(figure, "maps")
    assert "<figcaption>Heatmaps, sigma 2. Of two.</figcaption>" in page
    found = re.search(r"base64,([^\"]+)", page)
    assert found is not None
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGBA"))
    assert not pixels[..., 3].any()


def test_large_ratios_are_written_out() -> None:
    texts = [text.get_text() for text in charts.bars([("a", 748.3), ("b", 17.36), ("c", 0.091)]).axes[0].texts]
    assert texts == ["748x", "17x", "0.091x"]
