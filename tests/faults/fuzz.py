"""Coverage-guided fuzzing of the Python readers: python tests/faults/fuzz.py [--seconds 100] [TARGET...].

Needs atheris (pip install atheris). Each target of `targets.py` is fuzzed in a subprocess, so that a crash is a finding
like any other. Anything but KptoolError is a finding: it is saved in --work with its traceback, once per place of
origin. Prints a JSON report; --corpus keeps a small set of inputs with the same coverage as all of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "KPTOOL_THREADS"):
    os.environ[_name] = "1"
_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parent)]
_CORPUS = _HERE / "corpus"
_LIMITS = ["-timeout=10", "-rss_limit_mb=1500", "-max_len=60000", "-print_final_stats=1", "-verbosity=1"]
_MOST, _LARGEST = 40, 4096
"""Limits of the corpus: files per target, and bytes per file."""


def fuzz(name: str, work: Path, arguments: list[str]) -> None:
    """Fuzz one target in this process, which does not return."""
    import atheris

    with atheris.instrument_imports(include=["kptool", "yaml", "zipfile", "csv", "tomllib"]):
        from targets import TARGETS
    from kptool.base.errors import KptoolError

    place, found = work / "place", work / "findings"
    found.mkdir(exist_ok=True)

    def one(data: bytes) -> None:
        try:
            TARGETS[name](data, place)
        except KptoolError:
            return
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            mark = hashlib.sha256(f"{type(error)} {frame.filename} {frame.lineno}".encode()).hexdigest()[:12]
            if not (found / mark).exists():
                (found / mark).write_bytes(data)
                (found / f"{mark}.txt").write_text(traceback.format_exc())

    again = f"{sys.executable} {__file__} {name} --work {work} --inside"  # libFuzzer's restart command
    atheris.Setup([again, *arguments], one)
    atheris.Fuzz()


def run(name: str, seconds: int, work: Path) -> dict[str, Any]:
    """Fuzz one target in a subprocess for `seconds`, restarting it after each crash; returns a summary."""
    deaths, executed, started = [], 0, time.monotonic()
    while (left := seconds - int(time.monotonic() - started)) > 0:
        done = _libfuzzer(
            name, work, [*_LIMITS, f"-max_total_time={left}", f"-artifact_prefix={work}/", str(work / "corpus")]
        )
        units = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
        counts = [int(n) for n in re.findall(r"^#(\d+)\s", done.stderr, re.M)]
        executed += int(units[1]) if units else max(counts, default=0)
        if done.returncode:
            deaths.append(f"exit code {done.returncode}: {done.stderr[-1500:]}")
            if len(deaths) >= 5:
                break
    findings = sorted((work / "findings").glob("*.txt")) if (work / "findings").is_dir() else []
    return {
        "seconds": round(time.monotonic() - started),
        "executions": executed,
        "findings": [path.read_text()[-600:] for path in findings],
        "deaths": deaths,
    }


def minimise(name: str, work: Path) -> int:
    """Copy a minimal set of small inputs with the same coverage into the repository; returns their number."""
    merged = work / "merged"
    merged.mkdir(exist_ok=True)
    _libfuzzer(name, work, ["-merge=1", "-timeout=10", str(merged), str(work / "corpus")])
    kept = sorted(
        (p for p in merged.iterdir() if p.stat().st_size <= _LARGEST), key=lambda p: (p.stat().st_size, p.name)
    )
    shutil.rmtree(_CORPUS / name, ignore_errors=True)
    (_CORPUS / name).mkdir(parents=True)
    step = max(1, -(-len(kept) // _MOST))
    for path in kept[::step]:
        shutil.copy(path, _CORPUS / name / path.name[:16])
    return len(kept[::step])


def _libfuzzer(name: str, work: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, __file__, name, "--work", str(work), "--inside", *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def _seed(work: Path, names: list[str]) -> None:
    """Seed inputs: valid ones, and those kept earlier."""
    from inputs import inputs
    from targets import seeds

    with tempfile.TemporaryDirectory() as folder:
        list(inputs(Path(folder)))
        for name, valid in seeds(Path(folder)).items():
            if name in names:
                (work / name / "corpus").mkdir(parents=True, exist_ok=True)
                earlier = [p.read_bytes() for p in (_CORPUS / name).glob("*")]
                for data in [*valid, *earlier]:
                    (work / name / "corpus" / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def main() -> int:
    """Fuzz one target after another and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=100, help="for each target")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "kptool-fuzz")
    parser.add_argument("--corpus", action="store_true", help="replace the corpus in the repository")
    parser.add_argument("--inside", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is not None:
        fuzz(options.targets[0], options.work, options.inside)
    from targets import TARGETS

    report, names = {}, options.targets or list(TARGETS)
    _seed(options.work, names)
    for name in names:
        report[name] = run(name, options.seconds, options.work / name)
        if options.corpus:
            report[name]["corpus"] = minimise(name, options.work / name)
        print(f"{name}: {report[name]['executions']} executions", file=sys.stderr)
        (options.work / "report.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report, indent=1))
    return int(any(one["findings"] or one["deaths"] for one in report.values()))


if __name__ == "__main__":
    sys.exit(main())
