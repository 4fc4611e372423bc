"""HTML pages that need nothing else: pictures and style are inside them."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

from matplotlib.figure import Figure

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1f2328 }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #d1d9e0; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
td.best { font-weight: 600; color: #1a7f37 }
img { max-width: 100%; height: auto }
"""


def standalone(title: str, parts: Sequence[str]) -> str:
    """An HTML page that needs nothing else, of parts that are HTML already."""
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    body = "\n".join(parts)
    return f'<!doctype html><html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def picture_tag(figure: Figure, alt: str) -> str:
    """A figure as an HTML image that holds itself."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<p><img alt="{html.escape(alt)}" src="data:image/png;base64,{data}"></p>'
