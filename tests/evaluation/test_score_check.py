"""How reliable scores are on a cache: what counts, what is reported, and where there is nothing to report."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from graphs import ODDS

from kptool.base.config import ModelConfig
from kptool.base.skeleton import FACE15
from kptool.cache.store import Cache
from kptool.evaluation.score_check import check_scores
from kptool.network import cards, checkpoint
from kptool.network.presence import Presence

PRESENCE = {"presence": {"scale": 2.0, "shift": ODDS}}


@pytest.fixture(scope="module")
def gaps(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of faces without a fifth of its labels, at random."""
    path = tmp_path_factory.mktemp("gaps") / "dataset.h5"
    shutil.copy(faces, path)
    with h5py.File(path, "r+") as file:
        flags = file["visibility"][:]
        flags[np.random.default_rng(0).random(flags.shape) < 0.2] = 0
        file["visibility"][:] = flags
    return path


def card(cache: Cache, **metrics: Any) -> cards.Card:
    rows = cache.read("row", cache.index("val")).tolist()
    data = {"val_rows": rows, "source_sha256": cache.info.source_sha256}
    return cards.Card(ModelConfig("unet", FACE15.names, FACE15.flip_pairs), data=data, metrics=metrics)


def test_scores_are_measured_against_the_labels_of_calibrated_keypoints(gaps: Path) -> None:
    with Cache(gaps) as cache:
        val = cache.index("val")
        there = cache.read("visibility", val) > 0
        heights = np.where(there, 0.9, 0.01).astype(np.float32)
        found = check_scores(cache, "val", heights, card(cache, **PRESENCE))
        whole = check_scores(cache, "all", np.ones((len(cache), 15), np.float32), card(cache, **PRESENCE))
        other = dataclasses.replace(card(cache, **PRESENCE), data={})
        unknown = check_scores(cache, "val", heights, other)
    assert found is not None
    counted = there[:, :14]  # the last one is not calibrated
    assert (found.there, found.absent) == (counted.sum(), (~counted).sum())
    scores = 1 / (1 + np.exp(-(2 * np.log(heights[:, :14].astype(float)) + np.array(ODDS[:14], float))))
    document = found.to_dict()
    assert document["brier"] == pytest.approx(np.square(scores - counted).mean(), abs=1e-6)
    assert document["auc"] == found.reliability.auc > 0.8
    assert [(each["from"], each["to"]) for each in document["bins"]][0::4] == [(0, 0.2), (0.8, 1)]
    assert sum(each["keypoints"] for each in document["bins"]) == counted.size
    assert document["calibrated_on"] == len(val)
    assert whole is not None
    assert whole.calibrated_on == len(val)
    assert unknown is not None
    assert unknown.calibrated_on == 0


def test_without_calibration_or_absent_keypoints_there_is_nothing(gaps: Path, faces: Path) -> None:
    with Cache(gaps) as cache:
        heights = np.ones((len(cache), 15), np.float32)
        assert check_scores(cache, "all", heights, card(cache)) is None
    with Cache(faces) as cache:
        assert check_scores(cache, "all", heights, card(cache, **PRESENCE)) is None


def test_evaluate_reports_it_for_one_model(
    kptool: Any, gaps: Path, faces: Path, run_folder: Path, tmp_path: Path
) -> None:
    model, old = checkpoint.load_model(run_folder / cards.WEIGHTS)
    weights = tmp_path / cards.WEIGHTS
    checkpoint.save_weights(weights, model, dataclasses.replace(old, metrics={**old.metrics, **PRESENCE}))
    found = kptool("evaluate", weights, gaps, "--split", "all", "--json").json()["presence"]
    assert set(found) == {"there", "absent", "calibrated_on", "brier", "auc", "bins"}
    assert found["there"] + found["absent"] == 48 * 14
    table = kptool("evaluate", weights, gaps, "--split", "all").out
    assert f"{found['there']}, {found['absent']}" in table
    assert f"{found['brier']:.3f}" in table
    assert "ROC AUC of the scores" in table
    assert kptool("evaluate", weights, gaps, "--tta", "--json").json()["presence"] is None
    assert kptool("evaluate", weights, faces, "--json").json()["presence"] is None


def test_the_odds_are_a_calibration() -> None:
    read = Presence.of(PRESENCE, 15)
    assert read is not None
    assert read.known.sum() == 14
