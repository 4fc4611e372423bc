"""Fuzz the C++ core: python tests/faults/fuzz_core.py [parse] [decode] [render] [--seconds 60] [--corpus FOLDER].

Builds each harness of `fuzz_core/` with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer (needs clang++), and
runs it for --seconds, starting from the inputs in `fuzz_core/NAME.zip` and those of earlier runs in --corpus. Prints a
JSON report; the exit code is 1 if anything was found, and the inputs are then in --corpus. --minimize afterwards packs
the smallest inputs with full coverage into `fuzz_core/NAME.zip`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "fuzz_core"
CORE = Path(__file__).parents[2] / "csrc"
TARGETS = {
    "parse": ("parse.cpp", "pixels.cpp"),
    "decode": ("decode.cpp", "fit.cpp", "locate.cpp", "peak.cpp"),
    "render": ("render.cpp", "gaussian.cpp", "outer.cpp", "stream.cpp"),
}
# Float to integer is not part of "undefined", but the core promises to convert only values in range.
SANITIZERS = "fuzzer,address,undefined,float-cast-overflow"
FLAGS = ["-std=c++17", "-O2", "-g", "-fno-omit-frame-pointer", "-ffp-contract=off", "-fno-math-errno"]
FLAGS += [f"-fsanitize={SANITIZERS}", "-fno-sanitize-recover=all", "-DKPTOOL_CACHE_BYTES=16384"]
FINDINGS = ("crash-*", "leak-*", "timeout-*", "oom-*")


def build(name: str, folder: Path) -> Path:
    program = folder / f"{name}.fuzzer"
    sources = [HERE / f"{name}.cpp", *(CORE / source for source in TARGETS[name])]
    subprocess.run(["clang++", *FLAGS, f"-I{CORE}", *map(str, sources), "-o", str(program), "-pthread"], check=True)
    return program


def unpack(name: str, folder: Path) -> None:
    archive = HERE / f"{name}.zip"
    folder.mkdir(parents=True, exist_ok=True)
    if archive.exists():
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)


def fuzz(name: str, program: Path, corpus: Path, seconds: int) -> dict[str, Any]:
    """Run one harness; findings are saved in `corpus`/NAME.found."""
    inputs, found = corpus / name, corpus / f"{name}.found"
    unpack(name, inputs)
    found.mkdir(exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={found}/", "-max_len=4096", "-timeout=10"]
    log = corpus / f"{name}.log"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("w") as file:
        ran = subprocess.run([program, *options, "-print_final_stats=1", inputs], stderr=file, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = log.read_text(errors="replace")
    return {
        "seconds": seconds,
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime),
        "executions": int(re.findall(r"number_of_executed_units: (\d+)", text)[-1]),
        "coverage": int(re.findall(r"cov: (\d+)", text)[-1]),
        "inputs": len(list(inputs.iterdir())),
        "exit_code": ran.returncode,
        "findings": [str(path) for pattern in FINDINGS for path in found.glob(pattern)],
    }


def minimize(name: str, program: Path, corpus: Path) -> None:
    """Pack the smallest inputs with the same coverage; fixed order and no times make the zip reproducible."""
    smallest = corpus / f"{name}.small"
    shutil.rmtree(smallest, ignore_errors=True)
    smallest.mkdir()
    subprocess.run([program, "-merge=1", smallest, corpus / name], check=True, stderr=subprocess.DEVNULL)
    with zipfile.ZipFile(HERE / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for number, path in enumerate(sorted(smallest.iterdir())):
            packed.writestr(zipfile.ZipInfo(f"{number:03}"), path.read_bytes(), zipfile.ZIP_DEFLATED)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], default=[])
    parser.add_argument("--seconds", type=int, default=60, help="for each harness")
    parser.add_argument("--corpus", type=Path, help="keeps the inputs; else they are gone unless something was found")
    parser.add_argument("--minimize", action="store_true")
    options = parser.parse_args()
    corpus = options.corpus or Path(tempfile.mkdtemp(prefix="kptool-fuzz-"))
    corpus.mkdir(parents=True, exist_ok=True)
    os.environ["UBSAN_OPTIONS"] = "print_stacktrace=1"
    report = {}
    for name in options.targets or TARGETS:
        program = build(name, corpus)
        report[name] = fuzz(name, program, corpus, options.seconds)
        if options.minimize:
            minimize(name, program, corpus)
    print(json.dumps(report, indent=2))
    bad = any(ran["findings"] or ran["exit_code"] for ran in report.values())
    if not bad and options.corpus is None:
        shutil.rmtree(corpus)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
