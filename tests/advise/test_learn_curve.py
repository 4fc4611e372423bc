"""Learning curves: the fitted power law, subsets of whole groups, resuming; and suggestions of what to label next."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kptool.advise import learn_curve, powerlaw, suggest
from kptool.advise.powerlaw import Law
from kptool.base.errors import ConfigError
from kptool.cache.store import Cache
from kptool.training.trainer import Trainer

SIZES = np.array([100, 200, 400, 800, 1600])
QUICK = ("--set", "width=4", "--set", "batch_size=6", "--device", "cpu")


@pytest.mark.parametrize("law", [Law(1.2, 8.0, 0.5), Law(0.0, 5.0, 0.2), Law(2.0, 90.0, 1.3)])
def test_exact_points_give_back_their_law(law: Law) -> None:
    found = powerlaw.fit(SIZES, law(SIZES))
    assert found.law.c == pytest.approx(law.c, rel=0.02)
    assert found.law.a == pytest.approx(law.a, abs=0.02)
    forecast = found.forecast(1600)
    assert forecast.gain == pytest.approx(float(law(1600) - law(3200)), rel=0.02, abs=1e-3)
    assert (forecast.images, forecast.then) == (3200, pytest.approx(float(law(3200)), rel=1e-3))


def test_noisy_points_give_an_interval_that_holds_the_truth() -> None:
    """Of 40 curves with 2 % noise, at least 32 intervals contain the error at twice the images, with useful width."""
    rng = np.random.default_rng(0)
    law, images = Law(1.2, 8.0, 0.5), np.repeat(SIZES, 2)
    truth = float(law(1600) - law(3200))
    held, verdicts = 0, []
    for seed in range(40):
        found = powerlaw.fit(images, law(images) * (1 + 0.02 * rng.standard_normal(len(images))), seed=seed)
        forecast = found.forecast(1600)
        assert forecast.low <= forecast.gain <= forecast.high
        held += forecast.low <= truth <= forecast.high
        verdicts.append(found.verdict)
    assert held >= 32
    assert verdicts.count("gain") >= 36


def test_noise_alone_is_called_so_and_a_plateau_a_plateau() -> None:
    rng = np.random.default_rng(0)
    images = np.repeat(SIZES, 2)
    scattered = [powerlaw.fit(images, 2 * (1 + 0.15 * rng.standard_normal(10))).verdict for _ in range(10)]
    assert scattered.count("noisy") >= 8
    assert "gain" not in scattered
    level = [powerlaw.fit(images, 2 * (1 + 0.003 * rng.standard_normal(10))).verdict for _ in range(10)]
    assert level == ["flat"] * 10


def test_a_curve_is_not_carried_far() -> None:
    found = powerlaw.fit(SIZES, Law(1, 5, 0.5)(SIZES))
    assert found.forecast(4800).images == 6400
    for more in (4801, 0):
        with pytest.raises(ConfigError, match="1 to 4800 more"):
            found.forecast(more)
    with pytest.raises(ConfigError, match="3 sizes and 4 points"):
        powerlaw.fit(np.array([100, 100, 200, 200]), np.ones(4))


def test_parts_are_nested_of_whole_groups_and_seeded() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 600)
    parts = learn_curve.nested(groups, 5, seed=(0, 0))
    assert len(parts) == 5
    assert len(parts[-1]) == 600
    for small, large in pairwise(parts):
        assert len(small) < len(large)
        assert set(small) < set(large)
    for part in parts:
        assert not set(groups[part]) & set(groups[np.setdiff1d(np.arange(600), part)])
    sizes = [len(part) for part in parts]
    assert np.allclose(sizes, np.geomspace(600 / 16, 600, 5), rtol=0.35)
    again, other = learn_curve.nested(groups, 5, seed=(0, 0)), learn_curve.nested(groups, 5, seed=(0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert set(parts[0]) != set(other[0])


def test_samples_without_a_group_stand_for_themselves() -> None:
    groups = learn_curve.own_groups(np.array([-1, 3, -1, 3, -1]))
    assert len(set(groups)) == 4
    assert groups[1] == groups[3]
    parts = learn_curve.nested(learn_curve.own_groups(np.full(160, -1)), 3, seed=(0, 0))
    assert [len(part) for part in parts] == [10, 40, 160]


def test_the_number_of_steps_is_the_same_for_every_size(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kptool: Any
) -> None:

    steps: dict[int, int] = {}
    step = Trainer.train_step

    def counted(self: Trainer, batch: Any, **options: Any) -> Any:
        assert self.schedule.total == 10
        steps[id(self)] = self.step + 1
        return step(self, batch, **options)

    monkeypatch.setattr(Trainer, "train_step", counted)
    ran = kptool("learn-curve", faces, "--sizes", 2, "--repeats", 1, "--steps", 10, *QUICK, "--out", tmp_path, "--json")
    assert ran.code == 0, ran.err
    assert [point["images"] for point in ran.json()["points"]] == [8, 36]
    assert set(steps.values()) == {10}


def test_a_stopped_curve_goes_on_where_it_was(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kptool: Any, refused: Any
) -> None:
    command = ("learn-curve", faces, "--sizes", 3, "--repeats", 2, "--steps", 4, *QUICK)
    straight = kptool(*command, "--out", tmp_path / "straight", "--json").json()
    fit, trained = learn_curve.train_part, []

    def counted(data: Any, part: np.ndarray, *rest: Any, **more: Any) -> Any:
        if len(trained) == 4:
            raise KeyboardInterrupt
        trained.append(len(part))
        return fit(data, part, *rest, **more)

    monkeypatch.setattr(learn_curve, "train_part", counted)
    assert kptool(*command, "--out", tmp_path / "stopped").code != 0
    assert len(pd.read_csv(tmp_path / "stopped" / "learn-curve.csv")) == 4
    trained.clear()
    plot = tmp_path / "curve.png"
    again = kptool(*command, "--out", tmp_path / "stopped", "--plot", plot, "--json").json()
    assert trained == [17, 36]
    for found, expected in zip(again["points"], straight["points"], strict=True):
        assert {**found, "seconds": 0} == {**expected, "seconds": 0}
    assert [again[key] for key in ("fit", "verdict", "more")] == [straight[key] for key in ("fit", "verdict", "more")]
    assert len(again["more"]) == 3
    with Image.open(plot) as picture:
        assert picture.size[0] > 300
    trained.clear()
    text = kptool(*command, "--out", tmp_path / "stopped", "--more", 9)
    assert not trained
    assert "9 more images: about" in text.out
    sentence = refused(*command, "--set", "lr=0.5", "--out", tmp_path / "stopped")
    assert "other settings or data (training: lr)" in sentence
    other = tmp_path / "other.h5"
    shutil.copy(faces, other)
    with h5py.File(other, "r+") as file:
        file["group"][:] = np.arange(len(file["group"])) // 2
    assert "curve: groups" in refused("learn-curve", other, *command[2:], "--out", tmp_path / "stopped")


def test_the_network_of_all_images_is_a_run(faces: Path, tmp_path: Path, kptool: Any) -> None:
    ran = kptool("learn-curve", faces, "--sizes", 1, "--repeats", 1, "--steps", 5, *QUICK, "--out", tmp_path, "--json")
    (point,) = ran.json()["points"]
    evaluated = kptool("evaluate", tmp_path / "full-0", faces, "--json").json()
    assert evaluated["rmse"] == pytest.approx(point["rmse"], rel=1e-4)


def test_bad_arguments_get_a_sentence(faces: Path, in_tmp: Path, refused: Any, tmp_path: Path) -> None:
    assert "1 to 108 more" in refused("learn-curve", faces, "--more", 109)
    assert "go together" in refused("learn-curve", faces, "--suggest", 3)
    assert "go together" in refused("learn-curve", faces, "--pool", in_tmp)
    assert "give --suggest" in refused("learn-curve", faces, "--run", "unet")
    assert "no pictures in the folder" in refused("learn-curve", faces, "--suggest", 3, "--pool", in_tmp)
    assert "there is no cache" in refused("learn-curve", in_tmp / "none.h5")
    assert "did you mean" in refused("learn-curve", faces, "--model", "unett")
    unsplit = tmp_path / "unsplit.h5"
    shutil.copy(faces, unsplit)
    with h5py.File(unsplit, "r+") as file:
        file["split"][:] = 0
    assert "no validation images" in refused("learn-curve", unsplit)
    with h5py.File(unsplit, "r+") as file:
        file["split"][:] = 1
        file["split"][:9] = 0
    assert "takes at least 16 training images" in refused("learn-curve", unsplit)
    assert not list(in_tmp.rglob("learn-curve*"))


@pytest.fixture(scope="module")
def committee(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two small networks trained briefly on the synthetic faces."""
    out = tmp_path_factory.mktemp("committee")
    with Cache(faces) as cache:
        from kptool.base.config import configure

        info = cache.info
        given = {"width": 8, "batch_size": 8, "lr": 8e-3}
        configs = configure("fcn", info.skeleton, info.size, info.channels, given)
        learn_curve.measure(cache, out, *configs, learn_curve.Plan(sizes=1, repeats=2, steps=60), device="cpu")
    return [out / "full-0", out / "full-1"]


def test_models_disagree_on_strange_pictures_and_what_they_agree_on_is_not_named(
    faces: Path, committee: list[Path], tmp_path: Path, kptool: Any
) -> None:
    """Noise and upside-down faces among ordinary ones; a damaged file is reported, labelled pictures are skipped."""
    from kptool import plugins

    source = plugins.load("datasets", "synthetic").open(None, count=30, size=(48, 48), seed=77)
    ordinary = np.concatenate([block.images for block in source.blocks()])
    rng = np.random.default_rng(0)
    pool = {f"face{i}": image for i, image in enumerate(ordinary[:24])}
    pool |= {f"odd-noise{i}": rng.integers(0, 256, (48, 48), dtype=np.uint8) for i in range(3)}
    pool |= {f"odd-turned{i}": image[::-1].copy() for i, image in enumerate(ordinary[24:27])}
    with Cache(faces) as cache:
        pool |= {"known": cache.read("images")[5]}
    for name, image in pool.items():
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    runs = [part for run in committee for part in ("--run", run)]
    ran = kptool("learn-curve", faces, "--suggest", 99, "--pool", tmp_path, *runs, "--json")
    assert ran.code == 2
    assert "damaged.png" in ran.err
    named = [Path(each["file"]).stem for each in ran.json()["suggest"]]
    assert sorted(named) == sorted(set(pool) - {"known"})
    apart = {Path(each["file"]).stem: each["disagreement"] for each in ran.json()["suggest"]}
    disputed = sorted(apart, key=lambda name: -apart[name])
    assert sum(name.startswith("odd") for name in disputed[:6]) >= 5
    few = kptool("learn-curve", faces, "--suggest", 10, "--pool", tmp_path, *runs, "--json").json()["suggest"]
    assert len(few) == 10
    assert {Path(each["file"]).stem for each in few} <= {*disputed[:19], "known"}
    (tmp_path / "damaged.png").unlink()
    table = kptool("learn-curve", faces, "--suggest", 2, "--pool", tmp_path, *runs)
    assert table.code == 0
    assert sum(f"{name}.png" in table.out for name in pool) == 2


def test_frames_of_one_video_are_named_once() -> None:
    """Four frames of the scene on which the models disagree most, and six other scenes."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 250, (7, 8, 8), np.uint8)
    scenes = np.stack([np.asarray(Image.fromarray(c).resize((48, 48), Image.Resampling.BICUBIC)) for c in coarse])
    pool = np.minimum(scenes[[0, 0, 0, 0, 1, 2, 3, 4, 5, 6]], 250) + rng.integers(0, 4, (10, 48, 48), np.uint8)
    seen, apart = suggest.directions(pool), np.array([5.0, 4.9, 4.8, 4.7, 4.6, 4.5, 1, 1, 1, 1])
    first, *others = suggest.choose(apart, seen, seen[:0], 3)
    assert (first, set(others)) == (0, {4, 5})
    assert set(suggest.choose(apart, seen, seen[:1], 2)) == {4, 5}


def test_what_models_agree_on_is_passed_over_while_others_are_left() -> None:
    points = np.eye(10, dtype=np.float32)
    apart = np.arange(10, dtype=np.float64)
    assert set(suggest.choose(apart, points, points[:0], 6)) == {4, 5, 6, 7, 8, 9}
    assert set(suggest.choose(apart, points, points[:0], 8)) == {2, 3, 4, 5, 6, 7, 8, 9}
    assert sorted(suggest.choose(apart, points, points[:0], 99)) == list(range(10))
    assert sorted(suggest.choose(apart, points, points[[3, 7]], 99)) == [0, 1, 2, 4, 5, 6, 8, 9]


def test_every_choice_is_the_farthest_from_what_is_labelled() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 5)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    far = np.linalg.norm(points[:30, None] - points[None], axis=-1)
    apart = rng.random(30)
    open_to = np.argsort(-apart)[:18]
    chosen = suggest.choose(apart, points[:30], points[30:], 6)
    assert len(set(chosen)) == 6
    for step, one in enumerate(chosen):
        near = far[:, [*chosen[:step], *range(30, 40)]].min(1)
        assert near[one] == pytest.approx(near[open_to].max(), rel=1e-4)


def test_moving_a_picture_repeats_its_edge() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    assert np.array_equal(suggest.shifted(picture, 0), picture)
    assert suggest.shifted(picture, 1)[0].tolist() == [[0, 0, 1, 2], [0, 0, 1, 2], [4, 4, 5, 6]]
    assert suggest.shifted(picture, -1)[0].tolist() == [[5, 6, 7, 7], [9, 10, 11, 11], [9, 10, 11, 11]]


def test_models_of_other_images_are_refused(faces: Path, tmp_path: Path, refused: Any) -> None:
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(tmp_path / "one.png")
    sentence = refused("learn-curve", faces, "--suggest", 1, "--pool", tmp_path, "--run", "unet")
    assert "give a model that was trained on this cache" in sentence
