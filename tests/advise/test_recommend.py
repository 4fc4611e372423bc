"""Recipes depend on data and machine, give reasons, and can be trained; recipe files from others are harmless."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from conftest import tree

from kptool import plugins
from kptool.advise import probe, recommend
from kptool.advise.facts import Facts
from kptool.advise.probe import Probe
from kptool.base import recipes
from kptool.base.config import RECIPES
from kptool.base.extensions import Offer, Origin
from kptool.base.skeleton import FACE15, Skeleton
from kptool.cache.store import Cache
from kptool.data import shapes
from kptool.network import cards
from kptool.plugins import load_model

CPU = torch.device("cpu")
KAGGLE = Facts(1928, 206, FACE15, (96, 96), 1, 0.0, 8.5, 158)


def changed(**values: Any) -> Facts:
    return dataclasses.replace(KAGGLE, **values)


def test_what_is_recommended_trains(kptool: Any, in_tmp: Path, faces: Path) -> None:
    made = kptool("recommend", faces, "--out", "recipe.toml", "--json")
    assert made.code == 0, made.err
    document = made.json()
    assert document["config"] == "recipe.toml"
    values = tomllib.loads(Path("recipe.toml").read_text())
    assert values == {"model": document["model"]} | {k: s["value"] for k, s in document["settings"].items()}
    assert {"sigma", "batch_size", "epochs", "lr", "width"} <= set(document["settings"])
    assert all(setting["why"] for setting in document["settings"].values())
    lines = Path("recipe.toml").read_text().splitlines()
    for key in values:
        assert lines[next(i for i, line in enumerate(lines) if line.startswith(f"{key} = ")) - 1].startswith("# ")

    options = ["--epochs", 1, "--set", "width=4", "--json"]
    trained = kptool("train", "--config", "recipe.toml", faces, *options)
    assert trained.code == 0, trained.err
    card = cards.read_card(Path("runs/unet/model.safetensors"))
    assert (card.config.model, card.config.width, card.training["epochs"]) == ("unet", 4, 1)
    assert card.config.sigma == values["sigma"]
    assert card.training["batch_size"] == values["batch_size"]
    assert card.training["lr"] == values["lr"]


def test_the_table_says_why_and_how_to_go_on(kptool: Any, in_tmp: Path, faces: Path) -> None:
    before = tree(in_tmp)
    printed = kptool("recommend", faces)
    assert all(word in printed.out for word in ("unet", "48x48", "sigma", "--out recipe.toml", "--groups", "--cv 5"))
    assert tree(in_tmp) == before
    assert f"kptool train --config r.toml {faces}" in kptool("recommend", faces, "--out", "r.toml").out
    assert Path("r.toml").read_text().startswith("# A recipe")


def test_the_measured_recipe_is_what_the_measured_data_gets() -> None:
    model, probe, batch = recommend.choose(KAGGLE, CPU, 8e9)
    assert (model.value, probe.width, batch.value) == ("unet", 32, 16)
    assert recommend.sigma(KAGGLE, 2).value == 1.5
    assert recommend.epochs(KAGGLE, "unet", 16).value == RECIPES["unet"]["epochs"]
    assert recommend.epochs(KAGGLE, "resnet", 16).value == 100
    assert recommend.learning_rate(16).value == 1e-3
    assert recommend.size(KAGGLE).value == "96x96"


def test_fewer_images_mean_more_epochs_of_fewer_steps() -> None:
    counts = [10_000_000, 20_000, 1928, 200, 40, 1]
    chosen = [int(recommend.epochs(changed(images=n), "unet", 16).value) for n in counts]
    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == (10, 400)
    steps = [n * math.ceil(count / 16) for n, count in zip(chosen, counts, strict=True)]
    assert steps == sorted(steps, reverse=True)
    assert 1 / 4 < steps[3] / steps[2] < 1 / 2
    half = recommend.epochs(changed(unlabelled=0.5), "unet", 16)
    assert half.value == recommend.epochs(changed(images=964), "unet", 16).value
    assert "50% of the labels missing" in half.why


def test_sigma_grows_with_the_image_and_stays_below_the_neighbours() -> None:
    assert recommend.sigma(changed(size=(192, 192), spacing=17.0), 2).value == 3
    close = recommend.sigma(changed(size=(192, 192), spacing=8.5), 2)
    assert (close.value, "neighbour" in close.why) == (2.12, True)
    assert recommend.sigma(changed(spacing=1.0), 2).value == 1
    assert recommend.sigma(changed(size=(4096, 4096), spacing=None), 2).value == 8
    assert recommend.sigma(changed(size=(192, 192), spacing=None), 2).value == 3


def test_the_rotation_covers_the_angles_at_which_instances_are_seen() -> None:
    assert recommend.rotation(changed(turned=12.0)) == {}
    assert recommend.rotation(changed(turned=71.0))["augment.rotation"].value == 80
    assert recommend.rotation(changed(turned=179.0))["augment.rotation"].value == 180


def test_large_images_are_made_smaller_unless_keypoints_are_close() -> None:
    assert recommend.size(changed(size=(1024, 512), spacing=80.0)).value == "192x384"
    assert "--size 384,192" in recommend.size(changed(size=(1024, 512), spacing=80.0)).why
    assert recommend.size(changed(size=(1024, 512), spacing=17.0)).value == "256x512"
    assert recommend.size(changed(size=(1024, 512), spacing=8.0)).value == "512x1024"


def test_the_batch_fits_the_memory_and_the_data() -> None:
    fixed = 20 * sum(p.numel() for p in load_model("unet").build(15, (96, 96), 1, 32).parameters())
    probe = Probe("unet", 1, FACE15, (96, 96), 1, CPU)
    assert (probe.fit(0), probe.fit(fixed - 1), probe.fit(fixed + 10.5 * probe.image_bytes)) == (0, 0, 10)
    _, chosen, batch = recommend.choose(KAGGLE, CPU, fixed + 10.5 * probe.image_bytes)
    assert (chosen.width, batch.value) == (32, 8)
    assert "does not fit" in batch.why
    model, chosen, batch = recommend.choose(KAGGLE, CPU, fixed + 4 * probe.image_bytes)
    assert (model.value, chosen.width, chosen.narrow) == ("unet", 16, True)
    model, _, batch = recommend.choose(KAGGLE, CPU, 0)
    assert (model.value, batch.value) == ("resnet", 2)
    assert "two images" in recommend.advice(KAGGLE, chosen, 0)[0]
    assert recommend.choose(changed(images=40), CPU, 8e9)[2].value == 8
    assert recommend.learning_rate(64).value == 2e-3


def test_many_heatmaps_that_do_not_fit_make_way_for_coordinates() -> None:
    many = changed(skeleton=Skeleton(tuple(f"p{i}" for i in range(1000))))
    memory = 300e6
    assert Probe("unet", 2, FACE15, many.size, 1, CPU).fit(memory) > 8
    assert Probe("unet", 2, many.skeleton, many.size, 1, CPU).fit(memory) < 8
    model, probe, _ = recommend.choose(many, CPU, memory)
    assert (model.value, probe.narrow) == ("resnet", False)
    assert "coordinates" in model.why
    assert probe.fit(memory) >= 8


def test_a_step_is_measured_and_scaled_by_area() -> None:
    small, large = (Probe("unet", 8, FACE15, (side, side), 1, CPU) for side in (256, 512))
    assert large.image_bytes == pytest.approx(4 * small.image_bytes, rel=0.01)
    seconds = small.seconds(2)
    assert seconds is not None
    assert 0 < seconds < 10
    assert recommend.training_seconds(changed(images=32, val=24), 0.5, 16, 10) == pytest.approx(10 * 0.5 * 2.5)


@pytest.mark.parametrize(("share", "busy"), [(1.0, False), (0.6, True)])
def test_a_busy_machine_is_noticed(share: float, busy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def step(*_: object) -> float:
        now[0] += 0.5
        return 0.0

    chosen = Probe("unet", 8, FACE15, (32, 32), 1, CPU)
    monkeypatch.setattr(chosen._trainer, "train_step", step)
    monkeypatch.setattr(probe.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(probe.time, "process_time", lambda: share * now[0] * torch.get_num_threads())
    assert (chosen.seconds(2), now[0], chosen.busy) == (0.5, 4.0, busy)


def test_few_images_get_small_batches_and_turned_objects_more_epochs() -> None:
    batch = recommend.choose(changed(images=300), CPU, 8e9)[2]
    assert batch.value == 8
    assert "twice as many steps" in batch.why
    assert recommend.choose(changed(images=500), CPU, 8e9)[2].value == 16
    upright, turned = (recommend.epochs(changed(images=300, turned=angle), "unet", 8) for angle in (20.0, 170.0))
    assert turned.value == pytest.approx(2 * float(upright.value), abs=1)
    assert "any angle" in turned.why
    assert recommend.rotation(changed(turned=20.0)) == {}
    found = {key: each.value for key, each in recommend.rotation(changed(turned=172.0)).items()}
    assert found == {"augment.rotation": 180.0, "augment.upright": 0.5}


def test_large_images_are_halved_first() -> None:
    small, large = (Probe("unet", 8, FACE15, (side, side), 1, CPU) for side in (160, 176))
    assert (small.stem, small.stride, recommend.stem(KAGGLE, small)) == (0, 2, {})
    assert (large.stem, large.stride, recommend.stem(KAGGLE, large)["stem"].value) == (1, 4, 1)


def test_the_distance_to_the_nearest_keypoint() -> None:
    points = np.array([[[0, 0], [3, 4], [3, 5], [90, 90]]], np.float32).repeat(2, 0)
    labelled = np.array([[True, True, True, False], [True, False, False, False]])
    assert shapes.spacing(points, labelled) == pytest.approx(1.0)
    assert shapes.spacing(points[:1], np.array([[True, True, False, False]])) == pytest.approx(5.0)
    assert shapes.spacing(points, labelled[[1, 1]]) is None


def test_facts_are_the_training_images(faces: Path, in_tmp: Path, refused: Any) -> None:
    Path("c.h5").write_bytes(faces.read_bytes())
    with h5py.File("c.h5", "r+") as file:
        train = np.flatnonzero(file["split"][:] == 0)
        visibility, group = file["visibility"][:], file["group"][:]
        visibility[train[:12]] = 0
        group[train] = np.arange(len(train)) // 9
        file["visibility"][...], file["group"][...] = visibility, group
    with Cache(Path("c.h5")) as cache:
        facts = Facts.of(cache)
    assert (facts.images, facts.val, facts.size, facts.groups) == (36, 12, (48, 48), 4)
    assert facts.unlabelled == pytest.approx(1 / 3)
    assert not any(
        "--groups" in sentence for sentence in recommend.advice(facts, Probe("unet", 8, FACE15, (48, 48), 1, CPU), 8e9)
    )
    with h5py.File("c.h5", "r+") as file:
        file["split"][...] = 1
    assert "no image in its train split" in refused("recommend", "c.h5")
    assert "no cache at none.h5" in refused("recommend", "none.h5")


def test_a_recipe_of_ones_own(kptool: Any, refused: Any, in_tmp: Path, faces: Path) -> None:
    """Tables and dotted keys, options that take precedence, a model in the file or the command, and what is refused."""
    path = Path("r.toml")
    path.write_text("epochs = 1\nbatch_size = 12\nwidth = 4\nseed = 5\noffset = false\n[augment]\nrotation = 10\n")
    assert "r.toml names no model" in refused("train", "--config", path)
    assert kptool("train", "unet", faces, "--config", path).code == 0
    training = cards.read_card(Path("runs/unet/model.safetensors")).training
    assert (training["seed"], training["augment"]["rotation"], training["offset"]) == (5, 10.0, False)
    won = ["--seed", 0, "--set", "augment.rotation=3", "--batch-size", 18, "--out", "won", "--json"]
    assert kptool("train", "unet", faces, "--config", path, *won).json()["epochs"] == 1
    training = cards.read_card(Path("won/model.safetensors")).training
    assert (training["seed"], training["augment"]["rotation"], training["batch_size"]) == (0, 3.0, 18)

    path.write_text('model = "vgg"\n')
    assert "a recipe for vgg, not for unet" in refused("train", "unet", faces, "--config", path)
    assert "no cache at none.h5" in refused("train", "--config", path, "none.h5")
    assert "no cache at data" in refused("train", "vgg", "--config", path)
    path.write_text('model = "vgq"\n')
    assert "did you mean 'vgg'" in refused("train", faces, "--config", path)
    assert "no model to train; add a MODEL" in refused("train")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", "did you mean 'epochs'"),
        ("epochs = 2.5", "epochs must be of type int"),
        ("epochs = true", "epochs must be of type int"),
        ("lr = [0.1]", "lr must be of type float"),
        ("lr = nan", "lr must be a finite number"),
        ("lr = 2020-01-01", "lr must be of type float"),
        ("augment = 3", "no setting 'augment'"),
        ("augment.a.b = 3", "no setting 'augment.a.b'"),
        ("size = [8, 8]", "no setting 'size'"),
        ("epochs", "is not a TOML file"),
        ("epochs = 1\nepochs = 2", "is not a TOML file"),
        ("a = " + "[" * 990, "is not a TOML file"),
        ("a = \x00", "is not a TOML file"),
        ("a = '\xff'", "is not text in UTF-8, as TOML must be"),
        ("a" * 2000 + " = 1", "too large for a recipe"),
        ("#\n" * 600_000, "too large for a recipe"),
    ],
)
def test_a_broken_recipe_is_one_sentence(refused: Any, in_tmp: Path, faces: Path, text: str, said: str) -> None:
    Path("r.toml").write_bytes(text.encode("latin-1"))
    assert said in refused("train", "unet", faces, "--config", "r.toml")
    assert not Path("runs").exists()


def test_a_recipe_that_is_not_there(refused: Any, in_tmp: Path, faces: Path) -> None:
    assert "none.toml cannot be read" in refused("train", "unet", faces, "--config", "none.toml")
    assert "cannot be read" in refused("train", "unet", faces, "--config", in_tmp)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(
        "\ufeff" + recipes.write([("lr", 1e-05, "a\nb\x7f\u2028c"), ("loss", 'q"\\\u00e9', "")], ["x\r\ny = 1"])
    )
    assert recipes.read(path) == {"lr": "1e-05", "loss": 'q"\\\u00e9'}


def test_models_of_plugins_are_named_as_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    offer = Offer("models", "mine", Origin("kptool-mine", "1.2"), lambda: None)
    monkeypatch.setattr(plugins, "offers", lambda: (offer,))
    found = recommend.advice(KAGGLE, Probe("unet", 8, FACE15, (48, 48), 1, CPU), 8e9)
    assert found[-1].startswith("models of plugins were not measured: mine (kptool-mine 1.2)")


def test_missing_labels_are_told_apart() -> None:
    """Keypoints that are hidden here and there, and a group that a part of the images was never labelled with."""
    probe = Probe("unet", 8, FACE15, (32, 32), 1, CPU)
    (hidden,) = (text for text in recommend.advice(changed(absent=0.123), probe, 1e9) if "no label" in text)
    assert hidden.startswith("12% of the keypoints have no label in some images and one in others")
    assert "predict --min-score 0.5" in hidden
    assert not any("no label" in text for text in recommend.advice(changed(absent=0.001), probe, 1e9))
    assert "a and b lack" in recommend.advice(changed(left_out="a and b lack their labels"), probe, 1e9)[0]


def test_large_images_begin_small_and_get_more_epochs_for_it() -> None:
    large = changed(size=(256, 256), images=200)
    assert recommend.small(KAGGLE, "unet") == {}
    assert recommend.small(large, "vgg") == {}
    assert recommend.small(large, "unet")["small"].value == 0.5
    whole, begun = recommend.epochs(changed(images=200), "unet", 16), recommend.epochs(large, "unet", 16)
    assert begun.value == pytest.approx(whole.value / 0.625, abs=1)
    assert "small images" in begun.why
