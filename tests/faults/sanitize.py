"""Run the core's tests under sanitizers: python tests/faults/sanitize.py [address] [thread] [--keep build/sanitize].

Builds the core with AddressSanitizer and UndefinedBehaviorSanitizer, then with ThreadSanitizer (needs g++, cmake, and
what `pip install '.[test]' pybind11` installs), puts a copy of the package around each, and runs the tests on it.
Prints a JSON report; the exit code is 1 if a sanitizer reported anything or a test failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pybind11

ROOT = Path(__file__).parents[2]
TESTS = ["tests/heatmaps/test_parse.py", "tests/faults/test_core_corpus.py"]
TESTS += sorted(f"tests/heatmaps/{path.name}" for path in (ROOT / "tests" / "heatmaps").glob("test_heatmaps*.py"))
# Float to integer is not part of "undefined", but the core promises to convert only values in range.
FLAGS = {"address": "address,undefined,float-cast-overflow", "thread": "thread"}
RUNTIMES = {"address": ["libasan.so", "libstdc++.so.6"], "thread": ["libtsan.so", "libstdc++.so.6"]}
LEFT_OUT = {
    "address": {"what_no_memory_holds": "the sanitizers' operator new ends the process instead of throwing bad_alloc"},
    "thread": {
        "what_no_memory_holds": "the sanitizers' operator new ends the process instead of throwing bad_alloc",
        "32_bit_number": "needs several times its memory, and has one thread",
        "change_while_they_are_decoded": "is a data race on purpose; what must hold is that it stays inside the arrays",
    },
}

# Runs before the tests import anything: the copied package takes precedence over an editable installation.
SITE = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in type(finder).__module__]
"""
# Leaks are checked while Python is still alive: what it owns is then reachable, and not a leak.
PLUGIN = """
import ctypes, gc
import hypothesis
hypothesis.settings.register_profile("slow", deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
hypothesis.settings.load_profile("slow")

def pytest_sessionfinish():
    from kptool import _core
    _core.clear_pool()
    gc.collect()
    check = getattr(ctypes.CDLL(None), "__lsan_do_recoverable_leak_check", None)
    if check is not None:
        check()
"""


def build(kind: str, folder: Path) -> None:
    """A package `folder`/kptool with an instrumented core."""
    made = folder / "cmake"
    options = [f"-DKPTOOL_SANITIZE={FLAGS[kind]}", f"-DPython_EXECUTABLE={sys.executable}"]
    options += [f"-Dpybind11_DIR={pybind11.get_cmake_dir()}", "-DCMAKE_CXX_COMPILER=g++"]
    for command in (["cmake", "-S", ROOT, "-B", made, *options], ["cmake", "--build", made]):
        subprocess.run(command, check=True, stdout=sys.stderr)
    shutil.rmtree(folder / "kptool", ignore_errors=True)
    shutil.copytree(
        ROOT / "kptool", folder / "kptool", ignore=shutil.ignore_patterns("_core*.so", "weights", "__pycache__")
    )
    (core,) = made.glob("_core*.so")
    shutil.copy(core, folder / "kptool")
    (folder / "sitecustomize.py").write_text(SITE)
    (folder / "sanitized.py").write_text(PLUGIN)


def runtime(name: str) -> str:
    return subprocess.run(
        ["g++", f"-print-file-name={name}"], check=True, capture_output=True, text=True
    ).stdout.strip()


def environment(kind: str, folder: Path) -> dict[str, str]:
    log = f"log_path={folder}/reports/report"
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(map(runtime, RUNTIMES[kind])),
        "PYTHONPATH": str(folder),
        "PYTHONSAFEPATH": "1",  # not the sources in the current folder
        "PYTHONMALLOC": "malloc",
        "OMP_NUM_THREADS": "1",
        "ASAN_OPTIONS": f"{log}:leak_check_at_exit=0:allocator_may_return_null=1:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": f"{log}:print_stacktrace=1",
        "TSAN_OPTIONS": f"{log}:die_after_fork=0:ignore_noninstrumented_modules=1:exitcode=0",
    }


def own_reports(folder: Path) -> tuple[list[str], int]:
    """The reports, and the number of leaks without the core in their stack, which are Python's and NumPy's."""
    reports, foreign = [], 0
    for path in sorted((folder / "reports").iterdir()):
        for part in re.split(
            r"(?m)^(?=(?:Direct|Indirect) leak of|==\d+==ERROR|WARNING: ThreadS|.*runtime error:)", path.read_text()
        ):
            if re.match(r"(Direct|Indirect) leak of", part):
                if "kptool/_core" in part:
                    reports.append(part)
                foreign += "kptool/_core" not in part
            elif re.match(r"==\d+==ERROR: Add|WARNING: ThreadS|.*runtime error:", part):
                reports.append(part)
    return reports, foreign


def check(kind: str, folder: Path) -> dict[str, Any]:
    shutil.rmtree(folder / "reports", ignore_errors=True)
    (folder / "reports").mkdir(parents=True)
    variables = environment(kind, folder)
    # ThreadSanitizer needs a fixed address-space layout.
    python = [*(["setarch", "-R"] if kind == "thread" else []), sys.executable]
    where = "import kptool._core; print(kptool._core.__file__)"
    found = subprocess.run([*python, "-c", where], env=variables, cwd=ROOT, check=True, capture_output=True, text=True)
    assert Path(found.stdout.strip()).parent == folder / "kptool", found
    chosen = " and ".join(f"not {name}" for name in [*LEFT_OUT[kind], "slow"])
    options = ["-p", "sanitized", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=0", "-k", chosen]
    ran = subprocess.run(
        [*python, "-m", "pytest", *options, *TESTS],
        env=variables,
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    sys.stderr.write(ran.stdout + ran.stderr)
    reports, foreign = own_reports(folder)
    closing = ran.stdout.strip().splitlines()[-1] if ran.stdout.strip() else ""
    counts = {
        word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error|skipped|deselected)", closing)
    }
    left_out = LEFT_OUT[kind]
    return {**counts, "exit_code": ran.returncode, "reports": reports, "leaks_elsewhere": foreign, "left_out": left_out}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=[*FLAGS, []], default=[])
    parser.add_argument("--keep", type=Path, help="a folder for the builds, which are made only once there")
    options = parser.parse_args()
    report = {}
    with tempfile.TemporaryDirectory(prefix="kptool-sanitize-") as temporary:
        for kind in options.kinds or FLAGS:
            folder = (options.keep or Path(temporary)).resolve() / kind
            build(kind, folder)
            report[kind] = check(kind, folder)
    print(json.dumps(report, indent=2))
    return int(any(ran["exit_code"] or ran["reports"] for ran in report.values()))


if __name__ == "__main__":
    sys.exit(main())
