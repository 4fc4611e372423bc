"""Mutation testing of kptool: python tests/faults/mutants.py [MODULE...].

A mutant is one change by an operator of mutmut (pip install "mutmut==3.*"), or one statement removed, in a module of
`mutants.toml`. It replaces its module in a forked process that runs the tests named there; a test that fails, or takes
a minute of processor time, kills it. Annotations and the texts of exceptions are not mutated. Survivors that no test
can distinguish from the original are listed in `mutants.toml`, each with its reason.

Prints a JSON report; the exit code is 1 if a mutant survived that is not listed, or a listed one was killed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "KPTOOL_THREADS"):
    os.environ[_name] = "1"

import hypothesis
import libcst as cst
import pytest
from _pytest.main import pytest_runtestloop
from libcst import matchers as m
from mutmut.mutation.file_mutation import deep_replace
from mutmut.mutation.mutators import mutation_operators, operator_string

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_SECONDS, _BYTES = 60, 4 << 30
_QUIET = hypothesis.settings(
    derandomize=True, database=None, deadline=None, max_examples=50, phases=[hypothesis.Phase.generate]
)


@dataclass(frozen=True)
class Mutant:
    """One change: the module's file, the line number, the statement before and after, and the whole mutated source."""

    module: str
    line: int
    before: str
    after: str
    code: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Its key in `mutants.toml`, which has no line numbers because they change."""
        return self.module, self.before, self.after

    def row(self) -> dict[str, Any]:
        """For the report."""
        return {"module": self.module, "line": self.line, "before": self.before, "after": self.after}


class _Changes(cst.CSTVisitor):
    """Collects (node, replacement) pairs for every change in one statement that is worth testing."""

    def __init__(self) -> None:
        self.found: list[tuple[cst.CSTNode, cst.CSTNode]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Annotation | cst.Decorator | cst.Import | cst.ImportFrom):
            return False
        if m.matches(node, _STATEMENT):
            self.found.append((node, cst.SimpleStatementLine([cst.Pass()])))
        if m.matches(node, m.Raise() | _DOCSTRING | _EXPORTS):
            return False
        for kind, operator in mutation_operators:
            if isinstance(node, kind):
                changed = list(operator(node))
                changed = changed[:1] if operator is operator_string else changed  # not its case as well
                self.found += [(node, other) for other in changed]
        return True


_DOCSTRING = m.SimpleStatementLine([m.Expr(m.SimpleString())])
_EXPORTS = m.Assign([m.AssignTarget(m.Name("__all__"))])
_STATEMENT = m.SimpleStatementLine([m.Expr(m.Call()) | m.Raise() | m.AugAssign()])


def mutants(path: Path) -> Iterator[Mutant]:
    """All mutants of a module."""
    text = path.read_text(encoding="utf-8")
    module, seen = cst.parse_module(text), {text}
    parts = [module.code_for_node(statement) for statement in module.body]
    before = text.removesuffix("".join(parts))  # comments above the first statement
    for i, statement in enumerate(module.body):
        changes = _Changes()
        statement.visit(changes)
        for node, other in changes.found:
            changed = module.code_for_node(cast(cst.CSTNode, deep_replace(statement, node, other)))
            code = "".join([before, *parts[:i], changed, *parts[i + 1 :]])
            if code not in seen and _compiles(code):
                seen.add(code)
                yield Mutant(path.stem, *_difference(text.splitlines(), code.splitlines()), code)


def _compiles(code: str) -> bool:
    try:
        compile(code, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _difference(old: list[str], new: list[str]) -> tuple[int, str, str]:
    """The number of the first line that differs, and the differing lines before and after."""
    first = next(i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    last = next(i for i, (a, b) in enumerate(zip(old[::-1], new[::-1], strict=False)) if a != b)
    last = min(last, len(old) - first - 1, len(new) - first - 1)
    parts = (lines[first : len(lines) - last] for lines in (old, new))
    before, after = (" ".join(line.strip() for line in part) for part in parts)
    return first + 1, before, after


def install(module: ModuleType, code: str) -> None:
    """Execute a mutant in place of its module, and update everything that imported names from it.

    Classes keep their identity and get new attributes, because the tests already hold instances.
    """
    old = dict(vars(module))
    exec(compile(code, str(module.__file__), "exec"), vars(module))
    for name, new in list(vars(module).items()):
        if isinstance(new, type) and new.__module__ == module.__name__ and new is not old.get(name):
            for attribute, value in vars(new).items():
                if attribute not in ("__dict__", "__weakref__"):
                    setattr(old[name], attribute, value)
            setattr(module, name, old[name])
    for other_name, other in list(sys.modules.items()):
        if other_name.startswith(("kptool", "test_", "conftest")):
            for name, value in list(vars(other).items()):
                if name in old and value is old[name]:
                    setattr(other, name, getattr(module, name))


class Examiner:
    """A pytest plugin that collects the tests once, and runs them in a forked process for every mutant."""

    def __init__(self, module: ModuleType, chosen: list[Mutant]) -> None:
        self.module, self.chosen = module, chosen
        self.survivors, self.done = list[Mutant](), False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Replaces pytest's own loop."""
        if session.testsfailed or not self.survives(session, Path(str(self.module.__file__)).read_text("utf-8")):
            return True
        for number, mutant in enumerate(self.chosen, 1):
            if self.survives(session, mutant.code):
                self.survivors.append(mutant)
            if sys.stderr.isatty() or number % 50 == 0 or number == len(self.chosen):
                print(f"{number} of {len(self.chosen)}, {len(self.survivors)} survived", file=sys.stderr)
        self.done = True
        return True

    def survives(self, session: pytest.Session, code: str) -> bool:
        """Whether the tests pass with `code` in place of the module."""
        child = os.fork()
        if child == 0:
            self._become(session, code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def _become(self, session: pytest.Session, code: str) -> None:
        failed = 1
        try:
            os.setpgid(0, 0)
            signal.alarm(10 * _SECONDS)  # wall-clock limit for tests that wait; generous because of machine load
            resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
            resource.setrlimit(resource.RLIMIT_DATA, (_BYTES, _BYTES))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            install(self.module, code)
            pytest_runtestloop(session)
            failed = session.testsfailed
        finally:  # whatever happened, the child must not continue as this process
            os._exit(int(failed > 0))


def examine(settings: dict[str, Any], chosen: list[Mutant]) -> dict[str, Any]:
    """Test the mutants of one module and summarise the outcome."""
    path = _ROOT / settings["path"]
    examiner = Examiner(importlib.import_module(f"kptool.{path.stem}"), chosen)
    with tempfile.TemporaryDirectory() as folder:
        options = ["-x", "-s", "-q", "--no-header", "--assert=plain", f"--basetemp={folder}/tests"]
        options += ["-p", "no:cacheprovider", "-p", "no:cov"]
        with contextlib.redirect_stdout(sys.stderr):
            pytest.main([*options, *settings["tests"]], [examiner])
    if not examiner.done:
        raise SystemExit(f"the tests of {path} do not pass as they are, or were not found")
    left = examiner.survivors
    listed = {(path.stem, one["before"], one["after"]) for one in settings.get("equivalent", ())}
    return {
        "mutants": len(chosen),
        "killed": len(chosen) - len(left),
        "equivalent": sum(mutant.key in listed for mutant in left),
        "survived": [mutant.row() for mutant in left if mutant.key not in listed],
        "listed but killed": [one.row() for one in chosen if one.key in listed and one not in left],
    }


def choose(path: Path, options: argparse.Namespace) -> list[Mutant]:
    """The mutants of a module that are to be tested."""
    found = list(mutants(path))
    if options.again:
        report = json.loads(options.again.read_text())
        keys = {(r["module"], r["before"], r["after"]) for m in report["modules"].values() for r in m["survived"]}
        found = [mutant for mutant in found if mutant.key in keys]
    if options.sample and options.sample < len(found):
        found = random.Random(options.seed).sample(found, options.sample)
    return found


def main() -> int:
    """Mutate, test, report."""
    with (_HERE / "mutants.toml").open("rb") as file:
        settings = tomllib.load(file)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(settings)}; all without")
    parser.add_argument("--sample", type=int, default=0, help="only so many mutants of each module, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", type=Path, help="only what survived according to this report")
    options = parser.parse_args()
    started, report = time.perf_counter(), {}
    os.chdir(_ROOT)
    hypothesis.settings.register_profile("mutants", _QUIET)
    hypothesis.settings.load_profile("mutants")
    for name in options.modules or settings:
        report[name] = examine(settings[name], choose(_ROOT / settings[name]["path"], options))
    print(json.dumps({"modules": report, "seconds": round(time.perf_counter() - started)}, indent=1))
    return int(any(r["survived"] or r["listed but killed"] for r in report.values()))


if __name__ == "__main__":
    sys.exit(main())
