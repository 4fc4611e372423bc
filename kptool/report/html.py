"""Self-contained HTML pages: style and pictures are embedded."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from kptool.report.canvas import Figure

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1f2328 }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #d1d9e0; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
td.best { font-weight: 600; color: #1a7f37 }
img { max-width: 100%; height: auto }
figure { display: inline-block; margin: .5rem }
figcaption { font-size: 13px }
"""


def standalone(title: str, parts: Sequence[str]) -> str:
    """A self-contained HTML page; `parts` are HTML already, `title` is text."""
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    body = "\n".join(parts)
    return f'<!doctype html><html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def heading(text: str, level: int = 2) -> str:
    """A heading of text."""
    return f"<h{level}>{html.escape(text)}</h{level}>"


def paragraph(text: str) -> str:
    """A paragraph of text."""
    return f"<p>{html.escape(text)}</p>"


def bullets(lines: Sequence[str]) -> str:
    """A bullet list of text."""
    return f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"


def chart(figure: Figure, alt: str) -> str:
    """A matplotlib figure as an embedded PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f"<p>{_image(buffer, alt)}</p>"


def captioned(picture: Image.Image, caption: str) -> str:
    """A picture as an embedded PNG above its caption."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"<figure>{_image(buffer, caption)}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _image(png: io.BytesIO, alt: str) -> str:
    data = base64.b64encode(png.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], best: Mapping[int, Any] | None = None) -> str:
    """A table of text. `best` maps a column to min or max, which chooses the number to highlight in it."""
    winners = {
        column: choose((row[column] for row in rows), key=lambda cell: float(cell.rstrip("%")))
        for column, choose in (best or {}).items()
    }
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=best' if winners.get(column) == cell else ''}>{html.escape(cell)}</td>"
            for column, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
