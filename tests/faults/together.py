"""Start kptool twice at once on the same files, at many offsets: python tests/faults/together.py [--times 20].

Two extracts into one folder, an extract under a training that reads its cache, two trainings into one folder: one of
them is refused in a sentence, or both do their work, and what lies there afterwards is whole and of one of them. Prints a
JSON report; the exit code is 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import forked
import kill

_EXTRACT, _TRAIN = kill._EXTRACT, [*kill._TRAIN, "--epochs", "2"]


def both(bench: kill.Bench, first: list[str], second: list[str], longest: float) -> tuple[forked.Ended, forked.Ended]:
    """Run two commands, the second one a random while after the first."""
    logs = [bench.folder / "log" / name for name in ("first", "second")]
    started = time.perf_counter()
    children = [forked.start(first, bench.folder, logs[0])]
    time.sleep(bench.rng.uniform(0, longest))
    children.append(forked.start(second, bench.folder, logs[1]))
    one, two = (forked.finish(child, log, started) for child, log in zip(children, logs, strict=True))
    bench.ends[one.code] += 1
    bench.ends[two.code] += 1
    return one, two


def judge(bench: kill.Bench, ended: tuple[forked.Ended, forked.Ended], what: str, refused: tuple[str, ...]) -> None:
    """At least one did its work; whoever did not was refused in a sentence."""
    bench.expect(any(one.code == 0 for one in ended), f"{what}: neither did its work")
    for one in ended:
        if one.code != 0:
            said = one.err.strip().splitlines()[-1:]
            good = one.code == 2 and said and any(text in said[0] for text in refused) and "Traceback" not in one.err
            bench.expect(bool(good), f"{what}: exit code {one.code}, {one.err[-300:]!r}")


def extract_twice(bench: kill.Bench, times: int) -> None:
    """Into one folder; what lies there is one extraction's, no file of the other's."""
    commands, states, longest = [[*_EXTRACT, "--seed", seed] for seed in "12"], [], 0.0
    for command in commands:
        longest = bench.whole(command)
        states.append(kill.fingerprints(bench.folder / "out"))
    for number in range(times):
        ended = both(bench, commands[0], commands[1], longest)
        judge(bench, ended, f"extract {number}", ("another kptool is writing to",))
        bench.expect(kill.fingerprints(bench.folder / "out") in states, f"extract {number}: two are mixed")
        bench.expect(not kill.litter(bench.folder / "out"), f"extract {number}: left something")


def train_while_extracting(bench: kill.Bench, times: int) -> None:
    """The training reads one cache from its beginning to its end, whichever; its run says which."""
    commands, ends, longest = (
        [["extract", "--count", count, "--out", "small", "--force"] for count in ("40", "60")],
        [],
        0.0,
    )
    for command in commands:
        bench.whole(command)
        longest = bench.whole([*_TRAIN, "--force"])
        ends.append(kill.state(bench.folder / "run"))
    for number in range(times):
        shutil.rmtree(bench.folder / "run")
        order = commands if number % 2 else commands[::-1]
        bench.whole(order[0])
        ended = both(bench, [*_TRAIN, "--force"], order[1], longest)
        judge(bench, ended, f"train and extract {number}", ())
        state = kill.state(bench.folder / "run")
        bench.expect(any(kill.same(state, end) for end in ends), f"train and extract {number}: two caches are mixed")


def train_twice(bench: kill.Bench, times: int) -> None:
    """Into one folder; the run that lies there is one's alone."""
    bench.whole(["extract", "--count", "40", "--out", "small", "--force"])
    commands, ends, longest = [[*_TRAIN, "--force", "--seed", seed] for seed in "12"], [], 0.0
    for command in commands:
        longest = bench.whole(command)
        ends.append(kill.state(bench.folder / "run"))
    for number in range(times):
        ended = both(bench, commands[0], commands[1], longest)
        judge(bench, ended, f"train {number}", ("another kptool is writing to",))
        state = kill.state(bench.folder / "run")
        bench.expect(any(kill.same(state, end) for end in ends), f"train {number}: two are mixed")
        bench.expect(not kill.litter(bench.folder / "run"), f"train {number}: left something")


WORKS: dict[str, Callable[[kill.Bench, int], None]] = {
    "extract-extract": extract_twice,
    "train-extract": train_while_extracting,
    "train-train": train_twice,
}


def main() -> int:
    """Start, look, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)}; all without it")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    forked.load_everything()
    report = {}
    for work in options.works or WORKS:
        with tempfile.TemporaryDirectory() as folder:
            bench = kill.Bench(Path(folder), random.Random(options.seed), [], Counter())
            WORKS[work](bench, options.times)
            codes = {str(code): count for code, count in sorted(bench.ends.items())}
            report[work] = {"pairs": options.times, "exit codes": codes, "wrong": bench.wrong}
    print(json.dumps(report, indent=1))
    return int(any(entry["wrong"] for entry in report.values()))


if __name__ == "__main__":
    sys.exit(main())
