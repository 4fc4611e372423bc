"""Doctor's suspects: planted errors rank first and good labels are left alone, for any number of keypoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import synthetic
from numpy.typing import NDArray
from PIL import Image

from kptool import plugins
from kptool.base.skeleton import FACE15
from kptool.cache.extraction import Options, extract
from kptool.cache.store import Cache
from kptool.data import gradients, splits
from kptool.data.sources import Opening, find_source
from kptool.datasets import kaggle
from kptool.diagnosis import suspects
from kptool.diagnosis.examine import agree, examine, proposals


@pytest.fixture(scope="module")
def made() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The linear model's features of 240 synthetic faces, and their keypoints."""
    images, points = synthetic(240)
    return gradients.features([images]), points


def planted(points: NDArray[np.float32], seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Plant three kinds of errors in 12 samples: moved, two swapped, another image's."""
    rng = np.random.default_rng(seed)
    wrong, changed = rng.permutation(len(points))[:12], points.copy()
    for number, sample in enumerate(wrong):
        if number % 3 == 0:
            changed[sample, rng.integers(points.shape[1])] += [15, -9]
        elif number % 3 == 1:
            a, b = FACE15.flip_pairs[int(rng.integers(len(FACE15.flip_pairs)))]
            changed[sample, [a, b]] = changed[sample, [b, a]]
        else:
            changed[sample] = points[(sample + 1) % len(points)] + 8
    return changed, wrong


def test_planted_labels_come_first(made: Any) -> None:
    seen, points = made
    changed, wrong = planted(points, 0)
    found = suspects.linear(seen, changed, np.ones(changed.shape[:2], bool), np.full(len(points), -1))
    first = found.ranking()[:24].tolist()
    assert len(set(wrong) & set(first)) >= 11
    assert len(set(wrong) & set(first[:8])) >= 6
    clean = suspects.linear(seen, points, np.ones(points.shape[:2], bool), np.full(len(points), -1))
    assert np.nanmax(clean.units) < np.nanmax(found.units) / 2


def test_labels_that_are_missing_are_no_mistakes(made: Any) -> None:
    """With a third of the labels removed, the planted errors among the others are still found."""
    seen, points = made
    changed, wrong = planted(points, 1)
    labelled = np.random.default_rng(5).random(points.shape[:2]) > 0.33
    labelled[wrong[0]] = False
    changed[~labelled] = 0
    found = suspects.linear(seen, changed, labelled, np.full(len(points), -1))
    assert np.isnan(found.units[~labelled]).all() or (np.nan_to_num(found.units)[~labelled] == 0).all()
    moved = [sample for sample in wrong[1:] if np.abs((changed - points)[sample][labelled[sample]]).max(initial=0) > 8]
    assert set(moved) <= set(found.ranking()[:24].tolist())


@pytest.mark.parametrize("count", [1, 2, 200])
def test_any_number_of_keypoints(made: Any, count: int) -> None:
    seen, points = made
    many = np.concatenate([points + offset for offset in range(14)], axis=1)[:, :count]
    many[17, count // 2] += [25, 25]
    found = suspects.linear(seen, many, np.ones(many.shape[:2], bool), np.full(len(points), -1))
    assert found.ranking()[0] == 17
    assert found.units.shape == many.shape[:2]


def test_too_few_images_to_tell(made: Any) -> None:
    seen, points = made
    few = suspects.linear(seen[:5], points[:5], np.ones((5, 15), bool), np.full(5, -1))
    assert np.isnan(few.units).all()
    groups = np.zeros(240, np.int64)  # one person: nobody else to learn from
    one = suspects.linear(seen, points, np.ones((240, 15), bool), groups)
    assert np.isnan(one.units).all()


def test_what_a_trained_model_says() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(20, 70, (60, 4, 2)).astype(np.float32)
    found = points + rng.normal(0, 0.5, points.shape)
    found[50:] = np.nan
    points[3, 1] += 12
    said = suspects.predicted(points, np.ones((60, 4), bool), found)
    assert said.ranking()[0] == 3
    assert int(np.nanargmax(said.units[3])) == 1
    assert not np.nan_to_num(said.units[50:]).any()


def test_things_seen_from_the_other_side_are_no_mistakes_and_moved_labels_are() -> None:
    rng = np.random.default_rng(0)
    points = np.float32([[-1, -0.3], [1, -0.2], [-0.4, 0.7], [0.6, 0.7]]) + rng.normal(0, 0.03, (60, 4, 2))
    points[:6, :, 0] *= -1
    points = points * 28 + 60
    points[10, 0] += [30, 10]
    said = suspects.mirrored(points, np.ones((60, 4), bool))
    assert np.flatnonzero(said).tolist() == list(range(6))


def test_joined_groups() -> None:
    """Images of one group or one cluster stay together, and so does everything these connect."""
    groups, clusters = np.array([0, 0, 1, 1, -1, -1, -1]), np.array([-1, 5, 5, -1, 7, 7, -1])
    found = splits.merge_groups(groups, clusters)
    assert len(set(found[:4])) == 1
    assert found[4] == found[5]
    assert len({found[0], found[4]}) == 2
    assert found[6] == -1 or found[6] not in found[:6]


@pytest.mark.parametrize("channels", [1, 3])
def test_findings_name_row_and_keypoint(tmp_path: Path, channels: int) -> None:
    """Grey and colour images with partly missing labels."""
    images, points = synthetic(90)
    lines = ["image," + ",".join(f"{name}_{axis}" for name in FACE15.names for axis in "xy")]
    for number, (image, face) in enumerate(zip(images, points, strict=True)):
        picture = Image.fromarray(image)
        (picture if channels == 1 else picture.convert("RGB")).save(tmp_path / f"{number}.png")
        cells = [f"{value:.2f}" for value in face.ravel()]
        if number % 4 == 0:
            cells[20:24] = [""] * 4
        lines.append(",".join([f"{number}.png", *cells]))
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    source = find_source(tmp_path / "labels.csv", Opening(size=(96, 96), channels=channels))
    cache = extract(source, tmp_path / "out", Options(keypoints="all")).cache
    with h5py.File(cache, "r+") as file:
        at = int(np.flatnonzero(file["row"][:] == 33)[0])
        file["keypoints"][at, 2] += np.float32([14, 10])
    with Cache(cache) as opened:
        assert opened.info.channels == channels
        found = examine(opened)
        findings, suspicion = found.findings, found.suspicion
        labels = {(f.row, f.keypoint) for f in findings if f.check == "label"}
        assert (33, 2) in labels
        assert int(opened.read("row")[suspicion.ranking()[0]]) == 33
        mine = next(change for change in proposals(findings, opened) if (change.row, change.keypoint) == (33, 2))
        x, y = (float(v) for v in mine.reason.split("position (")[1].split(")")[0].split(","))
        assert np.hypot(x - points[33, 2, 0], y - points[33, 2, 1]) < 5


def test_a_run_judges_what_it_was_not_trained_on(
    kptool: Any, refused: Any, in_tmp: Path, faces: Path, run_folder: Path
) -> None:
    cache = in_tmp / "dataset.h5"
    cache.write_bytes(faces.read_bytes())
    ran = kptool("doctor", cache, "--run", run_folder, "--json")
    assert "covers 12 of 48 images" in ran.err
    folds = kptool("train", "unet", cache, "--cv", 3, "--out", "folds", "--epochs", 1, "--set", "width=4")
    assert folds.code == 0, folds.err
    everything = kptool("doctor", cache, "--run", "folds", "--json")
    assert everything.code in (0, 1)
    assert "covers" not in everything.err
    other = extract_other(in_tmp)
    assert "was trained on other data" in refused("doctor", other, "--run", run_folder)
    assert "nothing-here" in refused("doctor", cache, "--run", "nothing-here")


def test_near_duplicates_across_the_split_are_those_that_a_split_by_likeness_keeps_together(
    kptool: Any, in_tmp: Path
) -> None:
    """Clips of one scene with changing light: neighbouring frames are similar, the first and the last are not."""
    rng = np.random.default_rng(0)
    lines, groups = ["image,tip_x,tip_y"], ["row,group"]
    for clip in range(12):
        scene = np.asarray(Image.fromarray(rng.integers(0, 255, (16, 16), np.uint8)).resize((64, 64))).astype(float)
        other = np.asarray(Image.fromarray(rng.integers(0, 255, (16, 16), np.uint8)).resize((64, 64))).astype(float)
        for frame in range(3):
            row = 3 * clip + frame
            Image.fromarray((scene + 0.35 * frame * (other - scene)).clip(0, 255).astype(np.uint8)).save(f"{row}.png")
            lines.append(f"{row}.png,{20 + row % 7},{30 + row % 5}")
            groups.append(f"{row},{clip}")
    Path("t.csv").write_text("\n".join(lines))
    Path("groups.csv").write_text("\n".join(groups))
    assert kptool("extract", "t.csv", "--out", "one", "--val", 0.4, "--size", 64).code == 0
    ran = kptool("doctor", "one/dataset.h5", "--groups", "groups.csv", "--json").json()
    said = ran["near_duplicates"]
    leaks = [finding for finding in ran["findings"] if finding["check"] == "leak"]
    assert said["precision"] > 0.9
    assert said["recall"] > 0.6
    assert len(leaks) >= said["found"] > 0.6 * said["leaking"] > 0
    assert "against groups.csv: " in kptool("doctor", "one/dataset.h5", "--groups", "groups.csv").out
    assert "near-duplicates against" not in kptool("doctor", "one/dataset.h5").out  # a picture is not a group
    assert kptool("extract", "t.csv", "--out", "two", "--val", 0.4, "--size", 64, "--split", "similar").code == 0
    again = kptool("doctor", "two/dataset.h5", "--json").json()
    assert "leak" not in again["counts"]
    assert again["near_duplicates"] is None


def test_agreement_with_groups() -> None:
    groups, clusters = np.array([0, 0, 0, 1, 1, -1, 10**17]), np.array([5, 5, -1, 5, -1, 5, 2])
    said = agree(groups, clusters, np.array([1, 0, 0, 1, 1, 0, 1], bool), [0])
    assert said is not None
    assert (said.precision, said.recall) == (1 / 3, 1 / 4)
    assert (said.leaking, said.found) == (1, 1)
    assert agree(np.arange(7), clusters, np.zeros(7, bool), []) is None
    assert agree(np.full(7, -1), clusters, np.zeros(7, bool), []) is None


def extract_other(folder: Path) -> Path:
    source = plugins.load("datasets", "synthetic").open(None, count=20, size=(48, 48), seed=9)
    return extract(source, folder / "other", Options(val=0.25)).cache


def test_planted_labels_in_real_faces(real_faces: Path, tmp_path: Path) -> None:
    """Fifty wrong labels in a copy of the real faces: at least nine in ten are among the first hundred suspects."""
    source = kaggle.open_training(real_faces / "training.zip")
    cache = extract(source, tmp_path, Options(keypoints="complete")).cache
    rng = np.random.default_rng(0)
    with h5py.File(cache, "r+") as file:
        points = file["keypoints"][:]
        wrong = rng.permutation(len(points))[:50]
        for number, sample in enumerate(wrong):
            if number % 2:
                points[sample, rng.integers(15)] += 10 * rng.choice([-1, 1], 2)
            else:
                points[sample] = points[sample, ::-1]
        file["keypoints"][:] = points
    with Cache(cache) as opened:
        first = examine(opened).suspicion.ranking()[:100]
    assert len(set(wrong) & set(first.tolist())) >= 45
