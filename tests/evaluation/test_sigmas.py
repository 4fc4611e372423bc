"""Sigmas of OKS: given, COCO's, the default, or the spread of errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kptool.base.errors import ConfigError, DataError
from kptool.evaluation import sigmas

NAMES = ("head", "tail")


def test_cocos_are_those_of_pycocotools() -> None:
    from pycocotools.cocoeval import Params

    chosen = sigmas.choose(tuple(sigmas.COCO), None)
    np.testing.assert_allclose(chosen.values, Params("keypoints").kpt_oks_sigmas, rtol=1e-12)
    assert chosen.origin == "COCO's"
    assert sigmas.choose(("left_eye", "nose"), None).values.tolist() == [0.025, 0.026]


def test_the_default_is_the_mean_of_cocos() -> None:
    chosen = sigmas.choose(NAMES, None)
    assert chosen.values.tolist() == [0.067, 0.067]
    assert chosen.values[0] == pytest.approx(np.mean(list(sigmas.COCO.values())), abs=5e-4)
    assert "the mean of COCO's 17" in chosen.origin


@pytest.mark.parametrize(("stated", "value"), [("0.05", 0.05), (0.05, 0.05), ("1/11", 1 / 11), ("2", 2.0)])
def test_a_number_is_for_each_keypoint(stated: str | float, value: float) -> None:
    assert sigmas.choose(NAMES, stated).values.tolist() == [value, value]
    assert sigmas.choose(NAMES, stated).origin == f"{stated} for each keypoint, as given"


@pytest.mark.parametrize("stated", ["0", "-1", "11", "1/0", "nan", "1/x", "no.json", ""])
def test_other_texts_are_refused(stated: str) -> None:
    with pytest.raises(ConfigError, match="--sigmas"):
        sigmas.choose(NAMES, stated)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"tail": 0.2, "head": 0.1, "fin": 0.3}'),
        ("a.json", "[0.1, 0.2]"),
        ("a.json", '{"map": 0.5, "sigmas": {"head": 0.1, "tail": 0.2}}'),
        ("a.csv", "keypoint,sigma\nhead,0.1\ntail,1/5\n"),
        ("a.csv", "tail,0.2\n\nhead,0.1"),
    ],
)
def test_files(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    chosen = sigmas.choose(NAMES, str(tmp_path / name))
    assert chosen.values.tolist() == [0.1, 0.2]
    assert chosen.origin == f"from {tmp_path / name}"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", '{"head": 0.1}', "no sigma of 'tail'"),
        ("a.json", "[0.1]", "1 sigmas for 2 keypoints"),
        ("a.json", '{"head": 0.1, "tail": "x"}', "'tail' must be above 0"),
        ("a.json", '{"head": true, "tail": 1}', "'head' must be above 0"),
        ("a.json", "3", "expected an object"),
        ("a.csv", "head,0.1\ntail", "line 2: expected a keypoint's name and its sigma"),
        ("a.csv", "head,0.1", "no sigma of 'tail'"),
    ],
)
def test_files_that_do_not_fit(name: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=words):
        sigmas.choose(NAMES, str(tmp_path / name))


def test_the_spread_of_errors_is_that_of_a_normal_distribution() -> None:
    """COCO's sigma is the root mean square of d / sqrt(area). A tenth of gross mistakes hardly changes it."""
    random = np.random.default_rng(0)
    errors = np.linalg.norm(random.normal(0, [[[0.03], [0.06]]], (20_000, 2, 2)), axis=-1)
    known = sigmas.estimated(errors, NAMES).values
    np.testing.assert_allclose(known, np.sqrt((errors**2).mean(0)), rtol=0.02)
    errors[::10] = 5
    np.testing.assert_allclose(sigmas.estimated(errors, NAMES).values, known, rtol=0.1)


def test_few_errors_say_nothing() -> None:
    errors = np.full((9, 2), 0.1)
    assert "estimated" in sigmas.estimated(errors, NAMES).origin
    errors[0, 1] = np.nan
    with pytest.raises(DataError, match="the sigma of 'tail' takes 9 found instances with its label, and there are 8"):
        sigmas.estimated(errors, NAMES)
