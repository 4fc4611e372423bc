"""The lock file and the bill of materials agree with pyproject.toml and with what ships.

Checks that take longer, such as builds and other Python versions, are in tests/faults/supply.py.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kptool.base.version import DISTRIBUTION

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WEIGHTS = ROOT / "kptool" / "weights"


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (ROOT / ".ci" / "lock.txt").read_text().splitlines()
    found = dict(line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in found.items()}


@pytest.fixture(scope="module")
def bill() -> Any:
    return json.loads((ROOT / "sbom.cdx.json").read_text())


def requirements() -> Iterator[str]:
    """Everything required by kptool, its extras, its build and its checks."""
    yield from PROJECT["build-system"]["requires"]
    yield from PROJECT["project"]["dependencies"]
    for extra in PROJECT["project"]["optional-dependencies"].values():
        yield from (text for text in extra if not text.startswith(f"{DISTRIBUTION}["))
    for name in (".ci/requirements.txt", "constraints.txt"):
        yield from (line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#"))


@pytest.mark.parametrize("text", list(requirements()))
def test_the_lock_satisfies_every_requirement(text: str, pins: dict[str, str]) -> None:
    requirement = Requirement(text)
    version = pins.get(canonicalize_name(requirement.name))
    assert version is not None, "run .ci/relock"
    assert requirement.specifier.contains(version), f"{version} is locked; run .ci/relock"


def test_the_lock_is_complete(pins: dict[str, str]) -> None:
    """Requirements of locked packages are locked, as far as the locked version is installed here."""
    for name, version in pins.items():
        try:
            here = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if here.version.split("+")[0] == version:
            for inner in map(Requirement, here.requires or []):
                if inner.marker is None or inner.marker.evaluate({"extra": ""}):
                    assert inner.specifier.contains(pins[canonicalize_name(inner.name)]), f"{name} needs {inner}"


def test_the_lock_names_no_place(pins: dict[str, str]) -> None:
    """Only versions: no index, no file of the machine that wrote it, no build for one platform."""
    text = (ROOT / ".ci" / "lock.txt").read_text()
    assert not [sign for sign in ("://", "@", "--index", "--find-links") if sign in text]
    assert not [version for version in pins.values() if "+" in version]


def test_the_bill_lists_what_is_locked(pins: dict[str, str], bill: Any) -> None:
    root = bill["metadata"]["component"]
    assert (root["name"], root["version"]) == (PROJECT["project"]["name"], PROJECT["project"]["version"])
    listed = {part["name"]: part["version"] for part in bill["components"] if part["type"] == "library"}
    assert listed == pins, "run .ci/relock"
    assert all(part["licenses"] for part in bill["components"])


def test_the_bill_knows_what_kptool_needs(bill: Any) -> None:
    direct = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]}
    scopes = {part["name"]: part["scope"] for part in bill["components"]}
    assert {scopes[name] for name in direct} == {"required"}
    assert scopes["pybind11"] == "required"
    assert scopes["av"] == "optional"
    assert scopes["pytest"] == "excluded"
    asked = next(entry for entry in bill["dependencies"] if entry["ref"] == bill["metadata"]["component"]["bom-ref"])
    refs = {part["bom-ref"]: part["name"] for part in bill["components"]}
    assert direct <= {refs[ref] for ref in asked["dependsOn"]}


def test_the_bill_has_the_hash_of_every_file_of_weights(bill: Any) -> None:
    listed = {part["name"]: part["hashes"][0] for part in bill["components"] if "hashes" in part}
    files = [path for path in WEIGHTS.iterdir() if path.suffix in {".onnx", ".safetensors"}]
    assert len(files) == len(listed) >= 3
    for path in files:
        found = listed[f"kptool/weights/{path.name}"]
        assert found == {"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}, "run .ci/relock"


def test_nobody_is_told_to_install_the_other_project_called_kptool() -> None:
    """On the package index, kptool is an unrelated project; ours has another name there."""
    assert PROJECT["project"]["name"] == DISTRIBUTION
    places = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.*"), *(ROOT / "kptool").rglob("*.py")]
    wrong = re.compile(r"kptool\[|pip install '?kptool\b")
    assert not [
        path for path in places if path.suffix in {".md", ".py", ".ipynb"} and wrong.search(path.read_text("utf-8"))
    ]


def test_every_file_of_the_package_is_shipped() -> None:
    """What no pattern of the source archive names is missing from every wheel, and from a clone's own installation."""
    (override,) = PROJECT["tool"]["scikit-build"]["overrides"]
    included = override["sdist"]["include"]
    patterns = [form for each in included for form in (each, each.replace("**/", ""))]
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "kptool").rglob("*") if path.is_file()]
    built = (".pyc", ".so", ".pyd")
    missing = [name for name in files if not name.endswith(built) and not any(fnmatch(name, each) for each in patterns)]
    assert not missing
