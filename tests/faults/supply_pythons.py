"""Install kptool under an interpreter and use it, for `supply.py`.

``lean`` builds the sdist and omits torch, by far the largest dependency, which prediction does not need; ``full``
builds it and installs everything, as a user does; ``floors`` installs the wheel like ``lean``, with the minimum
version of every dependency in pyproject.toml.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE_TESTS = ["geometry", "heatmaps", "heatmaps_properties", "parse", "files", "metrics"]
Run = Callable[..., str]


def dependencies(kind: str) -> list[str]:
    """kptool's requirements without torch."""
    texts = [text for text in PROJECT["dependencies"] if not text.startswith("torch")]
    return [oldest(Requirement(text)) for text in texts] if kind == "floors" else texts


def oldest(requirement: Requirement) -> str:
    floor = next(part.version for part in requirement.specifier if part.operator == ">=")
    return f"{requirement.name}=={floor}"


def install(python: str, kind: str, built: dict[str, Path], folder: Path, run: Run) -> Path:
    """A virtual environment with kptool; returns its python."""
    run([python, "-m", "venv", folder / "venv"], folder)
    inside = folder / "venv" / "bin" / "python"
    pip = [inside, "-m", "pip", "install", "-q", "--no-compile"]
    pytest = [text for text in PROJECT["optional-dependencies"]["test"] if not text.startswith("keypoint-toolkit")]
    if kind == "full":
        run([*pip, "-c", ROOT / "constraints.txt", built[".gz"], *pytest], folder, CMAKE_BUILD_PARALLEL_LEVEL="1")
        return inside
    # A torch that does not exist: if anything else requires torch, pip stops instead of downloading gigabytes.
    (folder / "lean.txt").write_text("torch==0\n")
    run([*pip, "-c", folder / "lean.txt", *dependencies(kind), *pytest], folder)
    archive = built[".whl" if kind == "floors" else ".gz"]
    run([*pip, "--no-deps", archive], folder, CMAKE_BUILD_PARALLEL_LEVEL="1")
    return inside


def use(inside: Path, folder: Path, run: Run) -> dict[str, Any]:
    """The commands that users try first. Warnings are errors, because a newer Python warns before it breaks."""
    site = run([inside, "-c", "import kptool; print(kptool.__path__[0])"], folder).strip()
    run([inside, "-W", "error", "-m", "compileall", "-q", "-f", site], folder)
    command = [inside, "-W", "error", "-m", "kptool"]
    run([inside.parent / "kptool", "--help"], folder)
    run([*command, "extract", "--count", "12", "--out", "faces", "--force"], folder)
    about = json.loads(run([*command, "info", "--json"], folder))
    text = run([*command, "predict", "faces/images/00000.png", "--json", "--out", "drawn"], folder)
    found = json.loads(text[text.index("{") :])
    faces = found["images"][0]["faces"]
    if len(faces) != 1 or len(faces[0]["keypoints"]) != 15:
        raise RuntimeError(f"predict found {text}")
    names = ("python", "torch", "numpy", "pandas", "h5py", "pillow", "onnxruntime")
    return {name: about[name] for name in names}


def test(inside: Path, folder: Path, run: Run) -> str:
    """The tests that need no torch, run outside the checkout, so that they import the installed kptool."""
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    names = [folder / "tests" / f"test_{name}.py" for name in CORE_TESTS]
    said = run([inside, "-m", "pytest", "-p", "no:cacheprovider", "-o", "addopts=", *names], folder)
    return said.strip().splitlines()[-1].strip("= ")


def try_python(python: str, kind: str, built: dict[str, Path], work: Path, run: Run) -> dict[str, Any]:
    """Install, use and test kptool with one interpreter; raises RuntimeError if something does not work."""
    folder = work / f"python-{kind}-{Path(python).resolve().name}"
    folder.mkdir(parents=True)
    inside = install(python, kind, built, folder, run)
    used = use(inside, folder, run)
    return {"kind": kind, **used, "tests": test(inside, folder, run)}
