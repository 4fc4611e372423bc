"""Start kptool twice at once on the same files, with random offsets: python tests/faults/together.py [--times 20].

Two extractions into one folder, an extraction during a training that reads its cache, two trainings into one folder:
either one of them is refused in one sentence, or both succeed, and the resulting files are intact and come from only
one of them. Prints a JSON report; the exit code is 1 if anything was wrong.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import forked
from rounds import EXTRACT, SMALL, TRAIN, Rounds, fingerprints, litter, main, same, state

_TRAIN = [*TRAIN, "--epochs", "2"]


def both(rounds: Rounds, first: list[str], second: list[str], longest: float) -> tuple[forked.Ended, forked.Ended]:
    """Run two commands, the second after a random delay."""
    logs = [rounds.folder / "log" / name for name in ("first", "second")]
    started = time.perf_counter()
    children = [forked.start(first, rounds.folder, logs[0])]
    time.sleep(rounds.rng.uniform(0, longest))
    children.append(forked.start(second, rounds.folder, logs[1]))
    one, two = (forked.finish(child, log, started) for child, log in zip(children, logs, strict=True))
    rounds.ends[one.code] += 1
    rounds.ends[two.code] += 1
    return one, two


def judge(rounds: Rounds, ended: tuple[forked.Ended, forked.Ended], what: str, refused: tuple[str, ...]) -> None:
    """At least one succeeded; any other was refused in one sentence."""
    rounds.expect(any(one.code == 0 for one in ended), f"{what}: neither did its work")
    for one in ended:
        if one.code != 0:
            said = one.err.strip().splitlines()[-1:]
            good = one.code == 2 and said and any(text in said[0] for text in refused) and "Traceback" not in one.err
            rounds.expect(bool(good), f"{what}: exit code {one.code}, {one.err[-300:]!r}")


def extract_twice(rounds: Rounds, times: int) -> None:
    """Two extractions into one folder: the result is from one of them, without files of the other."""
    commands, states, longest = [[*EXTRACT, "--seed", seed] for seed in "12"], [], 0.0
    for command in commands:
        longest = rounds.whole(command)
        states.append(fingerprints(rounds.folder / "out"))
    for number in range(times):
        ended = both(rounds, commands[0], commands[1], longest)
        judge(rounds, ended, f"extract {number}", ("another kptool is writing to",))
        rounds.expect(fingerprints(rounds.folder / "out") in states, f"extract {number}: two are mixed")
        rounds.expect(not litter(rounds.folder / "out"), f"extract {number}: left something")


def train_while_extracting(rounds: Rounds, times: int) -> None:
    """The training reads one version of the cache from start to end; its run says which."""
    commands = [[*SMALL, "--count", count] for count in ("40", "60")]
    ends, longest = [], 0.0
    for command in commands:
        rounds.whole(command)
        longest = rounds.whole([*_TRAIN, "--force"])
        ends.append(state(rounds.folder / "run"))
    for number in range(times):
        shutil.rmtree(rounds.folder / "run")
        order = commands if number % 2 else commands[::-1]
        rounds.whole(order[0])
        ended = both(rounds, [*_TRAIN, "--force"], order[1], longest)
        judge(rounds, ended, f"train and extract {number}", ())
        found = state(rounds.folder / "run")
        rounds.expect(any(same(found, end) for end in ends), f"train and extract {number}: two caches are mixed")


def train_twice(rounds: Rounds, times: int) -> None:
    """Two trainings into one folder: the resulting run is from one of them."""
    rounds.whole(SMALL)
    commands, ends, longest = [[*_TRAIN, "--force", "--seed", seed] for seed in "12"], [], 0.0
    for command in commands:
        longest = rounds.whole(command)
        ends.append(state(rounds.folder / "run"))
    for number in range(times):
        ended = both(rounds, commands[0], commands[1], longest)
        judge(rounds, ended, f"train {number}", ("another kptool is writing to",))
        found = state(rounds.folder / "run")
        rounds.expect(any(same(found, end) for end in ends), f"train {number}: two are mixed")
        rounds.expect(not litter(rounds.folder / "run"), f"train {number}: left something")


WORKS: dict[str, Callable[[Rounds, int], None]] = {
    "extract-extract": extract_twice,
    "train-extract": train_while_extracting,
    "train-train": train_twice,
}


if __name__ == "__main__":
    sys.exit(main(__doc__, WORKS, 20))
