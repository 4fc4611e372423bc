"""mkdocs hook: generates the references of commands and settings from the code at build time, so that they match it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from mkdocs.structure.files import File, Files

from kptool.cli.settings import markdown


def on_files(files: Files, config: Any) -> Files:
    """Add commands.md, the output of `typer utils docs`, and settings.md to the site's files."""
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
    files.append(File.generated(config, "settings.md", content=markdown()))
    return files
