"""Makes the page of commands from the code, when the documentation is built: nobody writes it, so it cannot be wrong."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from mkdocs.structure.files import File, Files


def on_files(files: Files, config: Any) -> Files:
    """Add commands.md, as typer writes it."""
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
