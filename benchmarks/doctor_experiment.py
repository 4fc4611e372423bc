"""Measure `kptool doctor` on data with known errors: planted wrong labels, and near-duplicates of known people.

    python benchmarks/doctor_experiment.py data/faces/dataset.h5 --seeds 0 1 2

Labels: in a copy of the labels, 50 images get an error: a point moved by 8 to 20 px, two points swapped, all left and
right points swapped, or another image's points. Reports how many of them are among the first 100 suspects. People:
compares near-duplicates with the groups of the cache (`extract --groups`). Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import swap_order
from kptool.cache.store import Cache
from kptool.data import gradients, similar
from kptool.data.splits import merge_groups
from kptool.diagnosis import suspects

KINDS = ("moved", "two exchanged", "sides exchanged", "another image's")
PLANTED, FIRST = 50, 100


def planted(
    points: NDArray[np.float32], order: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Plant errors in a copy of `points` (N, K, 2), in pixels; `order` (K,) swaps left and right.

    Returns the changed points and the indices (PLANTED,) of the changed samples; entry i has kind `KINDS[i % 4]`.
    """
    changed, wrong = points.copy(), rng.permutation(len(points))[:PLANTED]
    count = points.shape[1]
    for number, sample in enumerate(wrong):
        kind = KINDS[number % len(KINDS)]
        if kind == "moved":
            angle = rng.uniform(0, 2 * np.pi)
            changed[sample, rng.integers(count)] += rng.uniform(8, 20) * np.array([np.cos(angle), np.sin(angle)])
        elif kind == "two exchanged":
            a, b = rng.permutation(count)[:2]
            changed[sample, [a, b]] = changed[sample, [b, a]]
        elif kind == "sides exchanged":
            changed[sample] = changed[sample, order]
        else:
            changed[sample] = points[rng.integers(len(points))]
    return changed, wrong


def labels(cache: Cache, clusters: NDArray[np.int64], seeds: list[int]) -> dict[str, Any]:
    """Count the planted errors among the first suspects, in total and by kind, averaged over seeds."""
    started = time.perf_counter()
    seen = gradients.features(cache.blocks("images"))
    looked = time.perf_counter() - started
    points, labelled = cache.read("keypoints"), cache.read("visibility") > 0
    order = np.array(swap_order(points.shape[1], cache.info.flip_pairs))
    found = []
    started = time.perf_counter()
    for seed in seeds:
        changed, wrong = planted(points, order, np.random.default_rng(seed))
        first = suspects.linear(seen, changed, labelled, clusters).ranking()[:FIRST]
        hit = np.isin(wrong, first)
        found.append([hit.sum(), *(hit[k :: len(KINDS)].sum() for k in range(len(KINDS)))])
    return {
        "planted": PLANTED,
        "looked_at": FIRST,
        "found": float(np.mean(found, axis=0)[0]),
        "found_by_seed": [int(row[0]) for row in found],
        "by_kind": {
            kind: f"{np.mean(found, axis=0)[1 + k]:.1f} of {len(range(k, PLANTED, len(KINDS)))}"
            for k, kind in enumerate(KINDS)
        },
        "seconds": {"features": looked, "a_fit": (time.perf_counter() - started) / len(seeds)},
    }


def people(groups: NDArray[np.int64], clusters: NDArray[np.int64], found: similar.Pairs) -> dict[str, Any]:
    """Precision and recall of near-duplicate pairs, and of the pairs implied by clusters, with respect to the groups."""
    same = np.triu(groups[:, None] == groups, 1)
    together = np.triu((clusters[:, None] == clusters) & (clusters >= 0)[:, None], 1)
    held = clusters >= 0
    return {
        "images": len(groups),
        "groups": len(np.unique(groups)),
        "pairs": {"count": len(found.a), "precision": float((groups[found.a] == groups[found.b]).mean())},
        "clusters": {
            "count": int(clusters.max() + 1),
            "largest": int(np.bincount(clusters[held]).max()),
            "precision": float((same & together).sum() / together.sum()),
            "recall": float((same & together).sum() / same.sum()),
            "images_in_one": float(held.mean()),
            "groups_with_one": len(np.unique(groups[held])),
        },
    }


def main() -> None:
    """Run both experiments and print the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    with Cache(given.cache) as cache:
        started = time.perf_counter()
        looks = similar.Descriptors.of(cache.blocks("images"))
        found = similar.pairs(looks)
        seconds = time.perf_counter() - started
        clusters = similar.components(len(cache), found.a, found.b)
        groups = cache.read("group")
        document = {"people": people(groups, clusters, found) if (groups >= 0).all() else None}
        document["labels"] = labels(cache, merge_groups(np.full(len(cache), -1), clusters), given.seeds)
        document["labels_told_groups"] = labels(cache, merge_groups(groups, clusters), given.seeds)
    print(json.dumps({**document, "near_duplicate_seconds": seconds}, indent=1))


if __name__ == "__main__":
    main()
