"""Kill kptool at random moments and check the result: python tests/faults/kill.py [WORK...] [--times 200] [--seed 0].

After every SIGKILL each file must be intact, either the old or the new one, and a later run must remove all temporary
files of earlier ones. Training that is killed and resumed repeatedly must end bit-identical to an uninterrupted run:
weights, averages, optimizer, history. Every third stop is Ctrl-C or SIGTERM instead, which must exit with 128 plus the
signal's number and one sentence. Prints a JSON report; the exit code is 1 if anything was wrong.
"""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import forked
from rounds import EXTRACT, PREDICT, SMALL, TRAIN, Rounds, differences, fingerprints, litter, main, same, state

_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)


def stop(rounds: Rounds, arguments: list[str], after: float, number: int) -> None:
    """Run kptool and stop it after `after` seconds, by each kind of signal in turn."""
    kind = _SIGNALS[number % len(_SIGNALS)]
    ended = forked.run(arguments, rounds.folder, rounds.folder / "log", after=after, number=kind)
    rounds.ends[ended.code] += 1
    # Before kptool handles signals, or after, one ends the process itself; a shell sees the same code.
    if ended.code not in (0, -kind, 128 + kind):
        rounds.wrong.append(f"{arguments[0]} {number}: exit code {ended.code} after {kind.name}: {ended.err[-300:]}")
    elif ended.code > 0 and (f"stopped by {kind.name}" not in ended.err or "Traceback" in ended.err):
        rounds.wrong.append(f"{arguments[0]} {number}: it said {ended.err[-300:]!r}")


def stop_extract(rounds: Rounds, times: int) -> None:
    """Replace one extraction with another and back, with stops in between."""
    out, states, longest = rounds.folder / "out", {}, 0.0
    for seed in ("1", "2"):
        longest = rounds.whole([*EXTRACT, "--seed", seed])
        states[seed] = fingerprints(out)
    for number in range(times):
        before, after = ("2", "1") if number % 2 == 0 else ("1", "2")
        stop(rounds, [*EXTRACT, "--seed", after], rounds.rng.uniform(0, 1.1 * longest), number)
        for name in differences(fingerprints(out), states[before], states[after]):
            rounds.wrong.append(f"extract {number}: {name} is neither the old nor the new one")
        rounds.whole([*EXTRACT, "--seed", after])
        rounds.expect(fingerprints(out) == states[after], f"extract {number}: the next run did not repair it")
        rounds.expect(not litter(out), f"extract {number}: left {litter(out)}")


def stop_predict(rounds: Rounds, times: int) -> None:
    """Replace heatmaps, drawings and a csv with those of another prediction and back, with stops in between."""
    if not (rounds.folder / "out").exists():
        rounds.whole([*EXTRACT, "--seed", "1"])
    seen, states, longest = rounds.folder / "seen", {}, 0.0
    modes: tuple[list[str], list[str]] = ([], ["--tta"])
    for flip in (1, 0):
        longest = rounds.whole([*PREDICT, *modes[flip]])
        states[flip] = fingerprints(seen)
    for number in range(times):
        before, after = (0, 1) if number % 2 == 0 else (1, 0)
        stop(rounds, [*PREDICT, *modes[after]], rounds.rng.uniform(0, 1.1 * longest), number)
        for name in differences(fingerprints(seen), states[before], states[after]):
            rounds.wrong.append(f"predict {number}: {name} is neither the old nor the new one")
        rounds.whole([*PREDICT, *modes[after]])
        rounds.expect(fingerprints(seen) == states[after], f"predict {number}: the next run did not repair it")
        rounds.expect(not litter(seen), f"predict {number}: left {litter(seen)}")


def stop_train(rounds: Rounds, times: int) -> None:
    """Train, stopped and resumed until finished, compare with an undisturbed run, and repeat."""
    rounds.whole(SMALL)
    run = rounds.folder / "run"
    longest = rounds.whole([*TRAIN, "--force"])
    undisturbed, stops = state(run), 0
    while stops < times:
        shutil.rmtree(run)
        while True:
            mode = "--resume" if (run / "last.ckpt").exists() else "--force"
            if stops >= times:
                rounds.whole([*TRAIN, mode])
                break
            stop(rounds, [*TRAIN, mode], rounds.rng.uniform(0.02, 0.4) * longest, stops)
            stops += 1
            if (run / "last.ckpt").exists() and same(state(run), undisturbed):
                break
        rounds.expect(same(state(run), undisturbed), f"train, after {stops} stops: not the undisturbed run")
        rounds.whole([*TRAIN, "--resume"])  # the next run, which removes temporary files of the last one
        rounds.expect(not litter(run), f"train, after {stops} stops: left {litter(run)}")


WORKS: dict[str, Callable[[Rounds, int], None]] = {
    "extract": stop_extract,
    "predict": stop_predict,
    "train": stop_train,
}


if __name__ == "__main__":
    sys.exit(main(__doc__, WORKS, 200))
