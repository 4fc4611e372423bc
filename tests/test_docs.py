"""The documentation is correct: its commands and Python code run, its pages build, its links resolve."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kptool.datasets import synthetic

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer synthetic faces, and a narrow U-Net, unless a page says otherwise: whether commands run is what matters."""
    made, unet = synthetic.DATASET, importlib.import_module("kptool.models.unet")

    def fewer(path: Path | None, *, count: int, **options: Any) -> Any:
        assert made.open is not None
        return made.open(path, count=min(count, 60), **options)

    monkeypatch.setattr(synthetic, "DATASET", replace(made, open=fewer))
    monkeypatch.setattr(unet, "MODEL", replace(unet.MODEL, default_width=4))


@pytest.mark.long
@pytest.mark.parametrize("page", ["guide", "init", "predict", "own-points"])
def test_what_a_page_says_runs(
    page: str, kptool: Any, in_tmp: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run every command and Python block of a page, in order, in an empty folder."""
    blocks = BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text())
    assert blocks
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, page, "exec"), {"__name__": "__main__"})
            continue
        for line in text.strip().splitlines():
            command, arguments, given, taken = parse(line)
            assert command == "kptool", line
            with monkeypatch.context() as patch, given.open() if given else nullcontext() as stdin:
                patch.setattr(sys, "stdin", stdin)
                ran = kptool(*arguments)
            assert ran.code == 0, f"{line}: {ran.err}"
            if taken:
                taken.write_text(ran.out)


def parse(line: str) -> tuple[str, list[str], Path | None, Path | None]:
    """Split a shell line into its command, its arguments, and the files for stdin and stdout."""
    words = shlex.split(line)
    files: dict[str, Path | None] = {"<": None, ">": None}
    for sign in files:
        if sign in words:
            at = words.index(sign)
            files[sign] = Path(words[at + 1])
            del words[at : at + 2]
    return words[0], words[1:], files["<"], files[">"]


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in link and link not in ("commands.md", "settings.md"):
            assert (page.parent / link).exists(), link


def test_the_documentation_builds_with_every_command_in_it(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is part of the docs extra")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "-q",
        "-f",
        str(ROOT / "mkdocs.yml"),
        "-d",
        str(tmp_path / "site"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    page = (tmp_path / "site" / "commands" / "index.html").read_text()
    from kptool.cli.main import app

    names = [command.name for command in app.registered_commands]
    assert len(names) > 10
    assert all(f"kptool {name}" in page for name in names)
    from kptool.base.config import known_settings

    page = (tmp_path / "site" / "settings" / "index.html").read_text()
    assert all(
        f"<code>{key}</code>" in page and each.setting.meaning[:20] in page for key, each in known_settings().items()
    )


def test_every_option_is_explained() -> None:
    from typer.main import get_command

    from kptool.cli.main import app

    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert command.help, name
        for parameter in command.params:
            if parameter.name != "help":
                assert parameter.help, f"{name} {parameter.name}"
