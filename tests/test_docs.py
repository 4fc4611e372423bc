"""The documentation is correct: its commands and Python code run, its pages build, its links resolve."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import site_links
from conftest import once

from kptool.datasets import synthetic

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
RUN = ("first-model", "guide", "init", "predict", "own-points", "tune", "video")
"""The pages whose commands and code run."""
GENERATED = ("commands.md", "settings.md")
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, timed_once: None) -> None:
    """Fewer synthetic faces, and a narrow U-Net, unless a page says otherwise: whether commands run is what matters."""
    made, unet = synthetic.DATASET, importlib.import_module("kptool.models.unet")

    def fewer(path: Path | None, *, count: int, **options: Any) -> Any:
        assert made.open is not None
        return made.open(path, count=min(count, 60), **options)

    monkeypatch.setattr(synthetic, "DATASET", replace(made, open=fewer))
    recipe = {**unet.MODEL.recipe, "decoder": "argmax"}  # exporting the default one takes three times as long
    monkeypatch.setattr(unet, "MODEL", replace(unet.MODEL, default_width=4, recipe=recipe))


@pytest.mark.long
@pytest.mark.parametrize("page", RUN)
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
        if "://" not in link and link not in GENERATED:
            assert (page.parent / link).exists(), link


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    pytest.importorskip("material", reason="Material for MkDocs is part of the docs extra")

    def make(folder: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "-q",
            "-f",
            str(ROOT / "mkdocs.yml"),
            "-d",
            str(folder / "built"),
        ]
        environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
        ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
        assert ran.returncode == 0, ran.stderr

    return once(tmp_path_factory, "site", make) / "built"


@pytest.mark.long
def test_the_reference_holds_every_command_and_setting(site: Path) -> None:
    page = (site / "commands" / "index.html").read_text()
    from kptool.cli.main import app

    names = [command.name for command in app.registered_commands]
    assert len(names) > 10
    assert all(f"kptool {name}" in page for name in names)
    from kptool.base.config import known_settings

    page = (site / "settings" / "index.html").read_text()
    assert all(
        f"<code>{key}</code>" in page and each.setting.meaning[:20] in page for key, each in known_settings().items()
    )


@pytest.mark.long
def test_the_python_page_documents_what_the_package_offers(site: Path) -> None:
    import kptool

    page = (site / "python" / "index.html").read_text()
    offered = set(kptool.__all__) - {"__version__"}
    assert {name for name in offered if not re.search(rf'id="kptool\.([a-z.]+\.)?{name}"', page)} == set()
    assert 'id="kptool.heatmaps.render"' in page
    assert 'id="kptool.plugins.Model"' in page


@pytest.mark.long
def test_every_link_of_the_site_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    done = site_links.check(site)
    assert done.problems == []
    assert done.pages > 20
    assert done.anchors > 500


def test_pages_name_commands_and_options_that_exist() -> None:
    """In blocks and in the text, also of pages whose commands do not run."""
    from typer.main import get_command

    from kptool.cli.main import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    options = {
        name: {"--help", *(option for each in command.params for option in (*each.opts, *each.secondary_opts))}
        for name, command in commands.items()
    }
    mentioned = 0
    for page in (ROOT / "README.md", *PAGES):
        for name, rest in re.findall(r"(?<![\w/.-])kptool ([a-z][a-z-]*)((?:[ ][^\n`|&;#]*)?)", "\n".join(code(page))):
            assert name in options, f"{page.name}: kptool {name}"
            for option in re.findall(r"(?<=\s)--[a-z][a-z0-9-]*", rest):
                assert option in options[name] or name in ("help", "plugin"), f"{page.name}: kptool {name} {option}"
                mentioned += 1
    assert mentioned > 50


def code(page: Path) -> list[str]:
    """The code of a page, blocks and spans; an output that a block quotes begins with its program's name and a colon."""
    text = page.read_text()
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [*blocks, *re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))]


def test_every_option_is_explained() -> None:
    from typer.main import get_command

    from kptool.cli.main import app

    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert command.help, name
        for parameter in command.params:
            if parameter.name != "help":
                assert parameter.help, f"{name} {parameter.name}"
