"""mkdocs hook: pages that are made from something else at build time, so that they match it.

commands.md and settings.md come from the code, benchmarks.md from benchmarks/RESULTS.md, notebook.md from notebook.ipynb with
its output. Links in the other pages name the files of the repository; on the site they lead to these pages.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from kptool.cli.settings import markdown

ROOT = Path(__file__).parent.parent
LINKS = {"../benchmarks/RESULTS.md": "benchmarks.md", "notebook.ipynb": "notebook.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages to the site's files, and drop the notebook's source."""
    pages = {
        "commands.md": commands(),
        "settings.md": markdown(),
        "benchmarks.md": (ROOT / "benchmarks" / "RESULTS.md").read_text(),
        "notebook.md": notebook(ROOT / "docs" / "notebook.ipynb"),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    source = files.get_file_from_path("notebook.ipynb")
    if source is not None:
        files.remove(source)
    return files


def on_page_markdown(text: str, **_: Any) -> str:
    """Let links lead to the generated pages."""
    for path, page in LINKS.items():
        text = text.replace(f"]({path}", f"]({page}")
    return text


def commands() -> str:
    """Every command with its options, the output of `typer utils docs`."""
    call = ["-m", "typer", "kptool.cli.main", "utils", "docs", "--name", "kptool", "--title", "Commands"]
    return subprocess.run([sys.executable, *call], capture_output=True, text=True, check=True).stdout


def notebook(path: Path) -> str:
    """A notebook as a page: its text, its code and what the code displayed, pictures included."""
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        else:
            parts += [f"```python\n{source}\n```", *(shown(output) for output in cell["outputs"])]
    return "\n\n".join(part for part in parts if part)


def shown(output: dict[str, Any]) -> str:
    """The richest form of a cell's output."""
    data = output.get("data", {})
    if "image/png" in data:
        png = "".join(data["image/png"]).strip()
        return f'<img alt="output of the cell above" src="data:image/png;base64,{png}">'
    if "text/html" in data:
        inner = re.sub(r"\n\s*\n", "\n", "".join(data["text/html"]))
        return f'<div class="output">{inner}</div>' if inner else ""
    text = "".join(data.get("text/plain", output.get("text", [])))
    return f"<pre>{html.escape(text)}</pre>" if text else ""
