"""Write sbom.cdx.json, a CycloneDX bill of materials: `.ci/relock` runs it, in an environment that holds what lock.txt holds.

Nothing in it depends on when or where it is written, so a difference between two of them is one in what they list.
Scope: required is what `pip install keypoint-toolkit` brings (and pybind11, which is compiled into the core), optional is an
extra that adds a feature, excluded is what tests, documentation and checks use.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import sys
import tomllib
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import fixup_id
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WEIGHTS = ROOT / "kptool" / "weights"
COMPILED_IN = ["pybind11"]
FEATURES = ["export", "formats", "tensorboard", "tune", "video"]
_SPDX = {  # classifiers that mean one licence; "BSD License", say, means several
    "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}


def locked() -> dict[str, str]:
    """The versions in lock.txt, by canonical name."""
    lines = (ROOT / ".ci" / "lock.txt").read_text().splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pins}


def needs(name: str, extra: str = "") -> list[Requirement]:
    """What an installed package asks for on this machine, by its metadata."""
    asked = [Requirement(text) for text in importlib.metadata.requires(name) or []]
    return [one for one in asked if one.marker is None or one.marker.evaluate({"extra": extra})]


def closure(requirements: Iterable[str]) -> set[str]:
    """The names of everything that requirements bring, directly or not."""
    found: set[tuple[str, str]] = set()
    todo = [Requirement(text) for text in requirements]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {extra for known, extra in found if known == name}:
            found.add((name, extra))
            todo += needs(name, extra)
    return {name for name, _ in found}


def licence(name: str) -> License:
    """What a package's metadata says of its licence: an SPDX expression where it has one, else the name it gives."""
    data = importlib.metadata.metadata(name)
    classifiers = [c.split(" :: ")[-1] for c in data.get_all("Classifier") or [] if c.startswith("License :: ")]
    lines = (data.get("License") or "").strip().splitlines()
    short = lines[0].strip() if lines and re.match(r"\w", lines[0]) and not lines[0].startswith("Copyright") else ""
    candidates = [data.get("License-Expression"), fixup_id(short), *map(_SPDX.get, classifiers), short, *classifiers]
    known = [text for text in candidates if text and text != "UNKNOWN"]
    if not known:
        raise SystemExit(f"the metadata of {name} names no licence")
    return LicenseFactory().make_from_string(known[0])


def package(name: str, version: str, scope: ComponentScope) -> Component:
    """One locked package. The licence is that of the version installed here, which must be the one locked."""
    installed = importlib.metadata.version(name).split("+")[0]
    if installed != version:
        raise SystemExit(f"{name} {installed} is installed, {version} is locked: run .ci/relock")
    purl = PackageURL("pypi", None, name, version)
    return Component(name=name, version=version, scope=scope, purl=purl, bom_ref=str(purl), licenses=[licence(name)])


def weights(path: Path) -> Component:
    """One file of weights that ships, with its hash. YuNet is the only one that others trained; see YUNET.md."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Component(
        name=f"kptool/weights/{path.name}",
        type=ComponentType.MACHINE_LEARNING_MODEL,
        scope=ComponentScope.REQUIRED,
        bom_ref=f"weights:{path.name}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
        licenses=[LicenseFactory().make_from_string("MIT")],
        copyright="2021, Shenzhen Institute of Artificial Intelligence and Robotics for Society"
        if path.name == "yunet.onnx"
        else None,
        description="YuNet face detector of the OpenCV Zoo" if path.name == "yunet.onnx" else "kptool's own training",
    )


def bill() -> Bom:
    """kptool, what it depends on, and the weights in it."""
    project, pins = PROJECT["project"], locked()
    required = closure(project["dependencies"]) | set(COMPILED_IN)
    optional = closure(text for extra in FEATURES for text in project["optional-dependencies"][extra])
    scopes = dict.fromkeys(optional, ComponentScope.OPTIONAL) | dict.fromkeys(required, ComponentScope.REQUIRED)
    packages = [package(name, pin, scopes.get(name, ComponentScope.EXCLUDED)) for name, pin in pins.items()]
    models = [weights(path) for path in sorted(WEIGHTS.iterdir()) if path.suffix in {".onnx", ".safetensors"}]
    purl = PackageURL("pypi", None, project["name"], project["version"])
    root = Component(
        name=project["name"],
        version=project["version"],
        type=ComponentType.APPLICATION,
        purl=purl,
        bom_ref=str(purl),
        licenses=[LicenseFactory().make_from_string(project["license"])],
    )
    # CycloneDX wants a time and an id: the time of the build backend's archives, and an id made of what is listed.
    listed = "\n".join(f"{part.bom_ref} {[h.content for h in part.hashes]}" for part in [root, *packages, *models])
    bom = Bom(
        components=[*packages, *models],
        metadata=BomMetaData(component=root, timestamp=datetime.fromtimestamp(1667997441, UTC)),
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, listed),
    )
    direct = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]} | set(COMPILED_IN)
    parts = {part.name: part for part in packages}
    bom.register_dependency(root, [*(parts[name] for name in sorted(direct)), *models])
    for name, part in parts.items():
        names = {canonicalize_name(requirement.name) for requirement in needs(name)}
        bom.register_dependency(part, [parts[other] for other in sorted(names)])
    return bom


def main() -> int:
    (ROOT / "sbom.cdx.json").write_text(JsonV1Dot6(bill()).output_as_string(indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
