"""Self-contained HTML pages: style, pictures, charts and the script that sorts tables are embedded, and nothing is loaded.

Pages follow the reader's colour scheme, fit any window (wide tables scroll within themselves), list their contents, and are
complete without the script. Everything that is passed as text is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from PIL import Image

from kptool.report import svg
from kptool.report.canvas import Figure
from kptool.report.tiles import Key, Tile

_STYLE_FILE, _SCRIPT_FILE = "page.css", "page.js"


def standalone(title: str, parts: Sequence[str]) -> str:
    """A self-contained HTML page; `parts` are HTML already, `title` is text."""
    script, style = _file(_SCRIPT_FILE), _variables() + _file(_STYLE_FILE)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta HTTP-EQUIV="Content-Security-Policy" content="{policy}">'
        f"<title>{html.escape(title)}</title><style>{style}</style>"
    )
    contents, body = _contents("\n".join(parts))
    body = f"{contents}<main>\n{body}\n</main>\n<script>{script}</script>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8").strip()


def _variables() -> str:
    """The colours as variables, for light and for dark pages."""
    light, dark = ("".join(f"--{name}:{pair[i]};" for name, pair in svg.VARIABLES.items()) for i in (0, 1))
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"


def _contents(body: str) -> tuple[str, str]:
    """The table of contents, and the body with an id for each of its second-level headings."""
    titles: list[str] = []

    def number(found: re.Match[str]) -> str:
        titles.append(found[1])
        return f'<h2 id="part-{len(titles)}">{found[1]}</h2>'

    body = re.sub(r"<h2>(.*?)</h2>", number, body)
    if len(titles) < 2:
        return "", body
    items = "".join(f'<li><a href="#part-{i}">{text}</a></li>' for i, text in enumerate(titles, 1))
    return f'<nav aria-label="Contents"><p>Contents</p><ol>{items}</ol></nav>\n', body


def heading(text: str, level: int = 2) -> str:
    """A heading of text; those of level 2 are listed in the page's contents."""
    return f"<h{level}>{html.escape(text)}</h{level}>"


def paragraph(text: str) -> str:
    """A paragraph of text; what stands between backticks is set as code."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
    return f"<p>{marked}</p>"


def bullets(lines: Sequence[str]) -> str:
    """A bullet list of text."""
    return f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"


def chart(figure: Figure, alt: str) -> str:
    """A matplotlib figure of lines and bars as vector graphics, above its note."""
    return f'<figure class="chart">{svg.chart(figure, alt)}{_caption(figure.small_print)}</figure>'


def side_by_side(charts: Sequence[str]) -> str:
    """Charts beside each other where the window is wide enough."""
    return f'<div class="charts">{"".join(charts)}</div>'


def picture(figure: Figure, alt: str) -> str:
    """A matplotlib figure of images as an embedded PNG without background, for light and dark pages, above its title and note."""
    buffer, bare = io.BytesIO(), figure.without_note()
    title = bare.get_suptitle()
    bare.suptitle("")
    bare.savefig(buffer, format="png", dpi=110, transparent=True)
    about = ". ".join(text for text in (title[:1].upper() + title[1:], figure.small_print) if text)
    return f'<figure class="picture">{_image(buffer, alt)}{_caption(about)}</figure>'


def tiles(drawn: Sequence[Tile], keys: Sequence[Key], note: str = "") -> str:
    """Tiles in as many columns as fit, above their legend and a note."""
    each = "".join(
        f"<figure>{svg.tile(one)}<figcaption>{html.escape(one.caption)}</figcaption></figure>" for one in drawn
    )
    small = f'<p class="note">{html.escape(note)}</p>' if note else ""
    return f'{svg.legend(list(keys))}<div class="tiles">{each}</div>{small}'


def captioned(shown: Image.Image, caption: str) -> str:
    """A picture as an embedded PNG above its caption."""
    buffer = io.BytesIO()
    shown.save(buffer, "PNG")
    return f"<figure>{_image(buffer, caption)}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _caption(note: str) -> str:
    return f"<figcaption>{html.escape(note)}</figcaption>" if note else ""


def _image(png: io.BytesIO, alt: str) -> str:
    data = base64.b64encode(png.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], best: Mapping[int, Any] | None = None, *, first: int = 0
) -> str:
    """A table of text. `best` maps a column to min or max, which chooses the number to highlight in it, among the rows from
    `first` on, unless they are all the same."""
    winners = {
        column: choose((row[column] for row in rows[first:]), key=lambda cell: float(cell.rstrip("%")))
        for column, choose in (best or {}).items()
        if len({row[column] for row in rows[first:]}) > 1
    }
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=best' if number >= first and winners.get(column) == cell else ''}>{html.escape(cell)}</td>"
            for column, cell in enumerate(row)
        )
        + "</tr>"
        for number, row in enumerate(rows)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def wide_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    what: str,
    best: Mapping[int, Any] | None = None,
    *,
    first: int = 0,
) -> str:
    """A `table` that scrolls where the window is too narrow, and that readers can sort by a column. `what` describes it."""
    made = table(heads, rows, best, first=first)
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(what)}">{made}</div>'
