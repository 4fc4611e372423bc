"""mkdocs hook: generates the command reference from the Typer app at build time, so that it always matches the code."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from mkdocs.structure.files import File, Files


def on_files(files: Files, config: Any) -> Files:
    """Add commands.md, the output of `typer utils docs`, to the site's files."""
    command = [
        sys.executable,
        "-m",
        "typer",
        "kptool.cli.main",
        "utils",
        "docs",
        "--name",
        "kptool",
        "--title",
        "Commands",
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    files.append(File.generated(config, "commands.md", content=text))
    return files
