"""Submissions have the requested rows, from the right model; their score is estimated over the same keypoints."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import tree

from kptool.base.config import configure
from kptool.base.skeleton import FACE15, Skeleton
from kptool.cache.store import Cache
from kptool.evaluation.evaluation import evaluate_cache
from kptool.kaggle.estimate import Sums
from kptool.kaggle.submit import locate
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import Inference, KeypointModel

FOUR = ("left_eye_center", "right_eye_center", "nose_tip", "mouth_center_bottom_lip")
COLUMNS = tuple(f"{name}_{axis}" for name in FACE15.names for axis in "xy")


@pytest.fixture
def pictures(in_tmp: Path, faces: Path) -> Any:
    """Write test.csv with six faces, ImageId 1 to 6, to the current folder, and return the images (6, 48, 48)."""
    with Cache(faces) as cache:
        images = cache.read("images")[:6]
    texts = [" ".join(map(str, image.ravel())) for image in images]
    pd.DataFrame({"ImageId": range(1, 7), "Image": texts}).to_csv("test.csv", index=False)
    return images


@pytest.fixture(scope="session")
def few_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a model with the four keypoints that most of Kaggle's pictures ask for."""
    config, _ = configure("unet", Skeleton(FOUR, ((0, 1),)), (48, 48), 1, {"width": 2})
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("few") / "model.safetensors"
    checkpoint.save_weights(path, KeypointModel(config), cards.Card(config))
    return path


def write_lookup(asked: list[tuple[int, str]], row_ids: list[int] | None = None, path: str = "lookup.csv") -> None:
    images, features = zip(*asked, strict=True)
    ids = row_ids or range(1, len(asked) + 1)
    table = {"RowId": ids, "ImageId": images, "FeatureName": features, "Location": ""}
    pd.DataFrame(table).to_csv(path, index=False)


def four_of(image: int) -> list[tuple[int, str]]:
    return [(image, f"{name}_{axis}") for name in FOUR for axis in "xy"]


def all_of(image: int) -> list[tuple[int, str]]:
    return [(image, column) for column in COLUMNS]


def test_rows_stand_in_the_tables_order(kptool: Any, pictures: Any, run_folder: Path) -> None:
    asked = [*all_of(5), *four_of(2)]
    order = np.random.default_rng(0).permutation(len(asked))
    row_ids = [int(i) * 7 for i in np.random.default_rng(1).permutation(len(asked))]
    write_lookup([asked[i] for i in order], row_ids)
    assert kptool("submit", "test.csv", "lookup.csv", "--model", run_folder).code == 0
    written = pd.read_csv("submission.csv")
    assert written["RowId"].tolist() == row_ids
    model, _ = checkpoint.load_model(run_folder / "model.safetensors")
    points = locate(model, pictures, Inference(flip=True)).clip(0, 48).reshape(6, -1)
    expected = [points[asked[i][0] - 1, COLUMNS.index(asked[i][1])] for i in order]
    assert np.allclose(written["Location"], expected, atol=1e-3)


def test_pictures_that_ask_for_few_go_to_their_model(
    kptool: Any, pictures: Any, run_folder: Path, few_model: Path
) -> None:
    """If that model has all of them: a nose and an ear corner go to the model that knows both."""
    asked = [*all_of(1), *four_of(2), (3, "nose_tip_x"), (3, "nose_tip_y"), (3, "left_eye_inner_corner_x")]
    write_lookup(asked)
    done = kptool("submit", "test.csv", "lookup.csv", "--model", run_folder, "--model-few", few_model, "--json").json()
    assert (done["rows"], done["images"], done["images_few"]) == (41, 3, 1)
    assert done["model_few"] == str(few_model)
    many, few = (checkpoint.load_model(path)[0] for path in (run_folder / "model.safetensors", few_model))
    of_many = locate(many, pictures, Inference(flip=True)).clip(0, 48).reshape(6, -1)
    expected = [
        *of_many[0],
        *locate(few, pictures, Inference(flip=True)).clip(0, 48)[1].ravel(),
        *(of_many[2, COLUMNS.index(column)] for image, column in asked if image == 3),
    ]
    assert np.allclose(pd.read_csv("submission.csv")["Location"], expected, atol=1e-3)


def test_a_model_for_few_that_no_picture_needs_is_said(
    kptool: Any, pictures: Any, run_folder: Path, few_model: Path
) -> None:
    write_lookup(all_of(1))
    done = kptool("submit", "test.csv", "lookup.csv", "--model", run_folder, "--model-few", few_model, "--json")
    assert done.json()["images_few"] == 0
    assert "--model-few was not used" in done.err


def test_locations_are_clipped_to_the_picture(kptool: Any, pictures: Any, run_folder: Path) -> None:
    model, card = checkpoint.load_model(run_folder / "model.safetensors")
    model.offset[0], model.offset[1] = 1000.0, -1000.0
    checkpoint.save_weights(Path("far.safetensors"), model, card)
    write_lookup([(1, column) for column in COLUMNS[:6]])
    assert kptool("submit", "test.csv", "lookup.csv", "--model", "far.safetensors").code == 0
    location = pd.read_csv("submission.csv")["Location"]
    assert location[:4].tolist() == [48, 48, 0, 0]
    assert location[4:].between(0.01, 47.99).all()


def test_the_competitions_whole_zip_will_do(kptool: Any, pictures: Any, run_folder: Path) -> None:
    with zipfile.ZipFile("test.zip", "w") as inner:
        inner.write("test.csv")
    with zipfile.ZipFile("whole.zip", "w") as outer:
        outer.writestr("readme.txt", "-")
        outer.write("test.zip")
    write_lookup(four_of(3))
    for source in ("test.csv", "test.zip", "whole.zip"):
        assert kptool("submit", source, "lookup.csv", "--model", run_folder, "--out", f"{source}.out").code == 0
    assert Path("test.csv.out").read_bytes() == Path("test.zip.out").read_bytes() == Path("whole.zip.out").read_bytes()


def test_what_cannot_be_answered_is_refused(refused: Any, pictures: Any, run_folder: Path, few_model: Path) -> None:
    def said(asked: list[tuple[int, str]], *options: object) -> str:
        write_lookup(asked)
        before = tree(Path())
        sentence: str = refused("submit", "test.csv", "lookup.csv", *options)
        assert tree(Path()) == before
        return sentence

    both = ("--model", run_folder, "--model-few", few_model)
    assert "row 9 asks for ImageId 77, which is not a picture of test.csv" in said(
        [*four_of(1), (77, "nose_tip_x")], *both
    )
    assert "ImageId 77" in said([*all_of(77), *four_of(1)], *both)
    assert "row 1 asks for FeatureName ear_x" in said([(1, "ear_x")], *both)
    assert "asks for FeatureName mouth_left_corner_x" in said([(1, "mouth_left_corner_x")], "--model", few_model)
    Path("lookup.csv").write_text("RowId,ImageId,FeatureName,Location\n")
    assert "nothing to predict" in refused("submit", "test.csv", "lookup.csv", "--model", run_folder)
    Path("lookup.csv").write_text("RowId,ImageId,,FeatureName,Location\n1,1,nose_tip_x,,\n")
    assert "row 0: FeatureName is empty" in refused("submit", "test.csv", "lookup.csv", "--model", run_folder)


def test_an_image_id_that_is_there_twice_is_refused(refused: Any, pictures: Any, run_folder: Path) -> None:
    """Otherwise one picture would silently get the other's points."""
    lines = Path("test.csv").read_text().splitlines()
    again = lines[1].split(",", 1)[0] + "," + lines[3].split(",", 1)[1]
    Path("test.csv").write_text("\n".join([*lines, again]) + "\n")
    write_lookup(all_of(int(lines[2].split(",", 1)[0])))
    number, last = lines[1].split(",", 1)[0], len(lines) - 1
    said = refused("submit", "test.csv", "lookup.csv", "--model", run_folder)
    assert f"row {last} (line {last + 2}): ImageId {number} is also that of test.csv, row 0 (line 2)" in said
    assert not Path("submission.csv").exists()


@pytest.mark.parametrize("tta", ["--tta", "--no-tta"])
def test_asked_for_everything_the_estimate_is_the_rmse(
    kptool: Any, pictures: Any, run_folder: Path, faces: Path, tta: str
) -> None:
    write_lookup(all_of(1))
    options = ("--model", run_folder, "--estimate", faces, tta, "--json")
    ran = kptool("submit", "test.csv", "lookup.csv", *options)
    estimate = ran.json()["estimate"]
    evaluated = kptool("evaluate", run_folder, faces, *(["--tta"] if tta == "--tta" else []), "--json").json()
    assert estimate["rmse"] == pytest.approx(evaluated["rmse"], rel=1e-4)
    assert (estimate["images"], estimate["groups"]) == (12, 12)
    assert estimate["low"] < estimate["rmse"] < estimate["high"]
    assert kptool("submit", "test.csv", "lookup.csv", *options).json()["estimate"] == estimate
    assert "trained on" not in ran.err


def test_each_coordinate_counts_as_often_as_it_is_asked_for(
    kptool: Any, pictures: Any, run_folder: Path, few_model: Path, faces: Path
) -> None:
    """Pictures that ask for all points use one model, those with few another; checked against the explicit sum."""
    write_lookup([*all_of(1), *four_of(2), *four_of(3), (4, "nose_tip_y")])
    both = ("--model", run_folder, "--model-few", few_model)
    done = kptool("submit", "test.csv", "lookup.csv", *both, "--estimate", faces, "--no-tta", "--json").json()
    with Cache(faces) as cache:
        index = cache.index("val")
        images, truth = cache.read("images", index), cache.read("keypoints", index)
    many, few = (checkpoint.load_model(path)[0] for path in (run_folder / "model.safetensors", few_model))
    of_many = ((locate(many, images, Inference()) - truth) ** 2).mean(0)
    order = [FACE15.names.index(name) for name in FOUR]
    of_few = ((locate(few, images, Inference()) - truth[:, order]) ** 2).mean(0)
    total = of_many.sum() + 2 * of_few.sum() + of_few[FOUR.index("nose_tip"), 1]
    assert done["estimate"]["rmse"] == pytest.approx(np.sqrt(total / (30 + 2 * 8 + 1)), rel=1e-4)


def test_the_few_are_measured_on_partly_labelled_images(
    kptool: Any, pictures: Any, run_folder: Path, faces: Path
) -> None:
    """A keypoint that those lack is estimated on the others; one without any label is left out and named."""
    Path("c.h5").write_bytes(faces.read_bytes())
    with h5py.File("c.h5", "r+") as file:
        val = np.flatnonzero(file["split"][:] == 1)
        visibility = file["visibility"][:]
        visibility[val[:5], 1:10] = 0
        file["visibility"][...] = visibility
        file["group"][...] = np.arange(len(visibility)) // 4
    write_lookup([(1, "nose_tip_x"), (1, "left_eye_inner_corner_x")])
    options = ("--model", run_folder, "--estimate", "c.h5", "--no-tta", "--json")
    estimate = kptool("submit", "test.csv", "lookup.csv", *options).json()["estimate"]
    with Cache(Path("c.h5")) as cache:
        model, _ = checkpoint.load_model(run_folder / "model.safetensors")
        error = evaluate_cache([model], cache).points - cache.read("keypoints", val)
        groups = len(np.unique(cache.read("group", val)))
    nose, eye = FACE15.names.index("nose_tip"), FACE15.names.index("left_eye_inner_corner")
    both = ((error[:5, nose, 0] ** 2).mean() + (error[5:, eye, 0] ** 2).mean()) / 2
    assert estimate["rmse"] == pytest.approx(np.sqrt(both), rel=1e-4)
    assert (estimate["images"], estimate["groups"]) == (12, groups)

    with h5py.File("c.h5", "r+") as file:
        file["visibility"][val, eye] = 0
    ran = kptool("submit", "test.csv", "lookup.csv", *options)
    assert ran.json()["estimate"]["rmse"] == pytest.approx(np.sqrt((error[:, nose, 0] ** 2).mean()), rel=1e-4)
    assert ran.json()["estimate"]["unlabelled"] == ["left_eye_inner_corner"]
    assert "omits left_eye_inner_corner" in ran.err


def test_an_estimate_that_is_optimistic_or_cannot_be_made_says_so(
    kptool: Any, refused: Any, pictures: Any, run_folder: Path, faces: Path
) -> None:
    write_lookup(four_of(1))
    Path("c.h5").write_bytes(faces.read_bytes())
    with h5py.File("c.h5", "r+") as file:
        file["split"][...] = 1 - file["split"][:]
        file["group"][...] = 0
    options = ("test.csv", "lookup.csv", "--model", run_folder, "--estimate", "c.h5")
    ran = kptool("submit", *options)
    assert "36 of the validation images in c.h5 were used for training" in ran.err
    assert "no interval, as all images are of one group" in ran.out
    assert kptool("submit", *options, "--json").json()["estimate"]["low"] is None
    with h5py.File("c.h5", "r+") as file:
        file["visibility"][...] = 0
    assert "is labelled in the validation split of c.h5" in kptool("submit", *options).err
    with h5py.File("c.h5", "r+") as file:
        file["split"][...] = 0
    Path("submission.csv").unlink()
    assert "no validation image" in refused("submit", *options)
    assert "no cache at none.h5" in refused("submit", *options[:-1], "none.h5")
    assert not Path("submission.csv").exists()


def test_a_resample_is_the_rmse_of_its_groups() -> None:
    """The sums by group equal explicit resampling of images, also if a group has no label of a keypoint."""
    rng = np.random.default_rng(0)
    groups = np.array([4, 4, -1, 2, 2, 2, -1])
    errors, usable, weights = rng.normal(size=(7, 3)), rng.random((7, 3)) < 0.7, np.array([3.0, 1.0, 2.0])
    usable[5], usable[:, 0] = True, np.arange(7) == 5
    sums = Sums.by_group(groups, errors**2 * weights, usable, weights)
    assert sums.numbers.shape == (4, 3)
    members = [[6], [2], [3, 4, 5], [0, 1]]  # ascending groups; ungrouped images first, in reverse
    for times in ([1, 1, 1, 1], [0, 2, 1, 3], [2, 0, 0, 2]):
        taken = [i for m, n in zip(members, times, strict=True) for i in m * n]
        mean = [
            (w, (errors[taken, k] ** 2)[usable[taken, k]].mean())
            for k, w in enumerate(weights)
            if usable[taken, k].any()
        ]
        expected = np.sqrt(sum(w * m for w, m in mean) / sum(w for w, _ in mean))
        assert sums.rmse(np.array([times])) == pytest.approx(expected)
    assert len(Sums(np.zeros((2, 1)), np.array([[0.0], [1.0]]), np.ones(1)).rmse(np.array([[2, 0], [0, 2]]))) == 1


def test_the_interval_knows_that_images_of_a_person_are_alike() -> None:
    """Errors shared by a person: one image of each says as much as ten; as independent images they would say more."""
    rng = np.random.default_rng(0)
    squares = rng.exponential(size=(30, 1)).repeat(10, axis=0)
    flags, weights = np.ones((300, 1), bool), np.ones(1)
    person = np.arange(300) // 10
    low, high = Sums.by_group(person, squares, flags, weights).interval(0)
    once = Sums.by_group(np.arange(30), squares[::10], flags[::10], weights).interval(0)
    alone = Sums.by_group(np.full(300, -1), squares, flags, weights).interval(0)
    assert (low, high) == pytest.approx(once)
    assert low is not None
    assert high is not None
    assert alone[0] is not None
    assert alone[1] is not None
    assert high - low > 2 * (alone[1] - alone[0])


def test_the_interval_covers_the_truth() -> None:
    """About 95 times in 100, for 60 groups of normally distributed errors."""
    covered = 0
    for seed in range(100):
        squares = np.random.default_rng(seed).normal(size=(60, 8)) ** 2
        sums = Sums.by_group(np.arange(60), squares, np.ones((60, 8), bool), np.ones(8))
        low, high = sums.interval(seed)
        assert low is not None
        assert high is not None
        covered += low < 1 < high
    assert 88 <= covered <= 99
