"""Exported graphs: they agree with torch at every size and batch, carry the card, and replace the right weights."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import onnx
import pytest
import torch

from kptool import Predictor
from kptool.base.config import ModelConfig
from kptool.base.errors import CheckpointError, ConfigError
from kptool.cache.store import Cache
from kptool.data import images
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import KeypointModel
from kptool.predict import agreement, backends, export, halving
from kptool.predict.maps_backend import MapsBackend


@pytest.fixture
def pictures(faces: Path) -> np.ndarray:
    with Cache(faces) as cache:
        return cache.read("images", np.arange(6))


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_graph_equals_torch(graph: Path, pictures: np.ndarray, count: int) -> None:
    ours = backends.OnnxBackend(graph).run(pictures[:count], heatmaps=True)
    theirs = backends.TorchBackend(graph.with_name(cards.WEIGHTS), "cpu").run(pictures[:count], heatmaps=True)
    assert np.abs(ours.points - theirs.points).max() < 0.01
    assert np.abs(ours.scores - theirs.scores).max() < 1e-3
    assert np.allclose(ours.radius90, theirs.radius90, rtol=1e-3, equal_nan=True)
    assert ours.heatmaps is not None
    assert theirs.heatmaps is not None
    assert np.abs(ours.heatmaps - theirs.heatmaps).max() < 1e-4


@pytest.mark.long
def test_the_graph_answers_in_the_pixels_of_any_size(graph: Path, pictures: np.ndarray) -> None:
    network = backends.OnnxBackend(graph)
    small = network.run(pictures)
    large = network.run(pictures.repeat(3, axis=1).repeat(3, axis=2))
    assert np.median(np.abs((small.points + 0.5) * 3 - 0.5 - large.points)) < 0.5
    ratio = np.nanmedian(large.radius90 / small.radius90)
    assert ratio == pytest.approx(3, rel=0.05)


@pytest.mark.long
@pytest.mark.parametrize("size", [(250, 67), (57, 220), (29, 19), (394, 317), (120, 100), (64, 48), (1, 5)])
def test_the_graph_and_predict_agree_on_pictures_of_every_aspect(
    graph: Path, pictures: np.ndarray, tmp_path: Path, size: tuple[int, int]
) -> None:
    weights = shutil.copy(graph.with_name(cards.WEIGHTS), tmp_path)  # beside a graph, it would be that one
    predictor = Predictor(str(weights), "cpu", detect=False, as_labelled=True)
    assert predictor.backend.name == "torch"
    shown = np.stack([np.asarray(images.resized(one, size, "L")) for one in pictures[:3]])
    found = backends.OnnxBackend(graph).run(shown)
    scale = min(96 / side for side in size)
    for i, picture in enumerate(shown):
        face = predictor.predict(picture)[0]
        assert np.abs(found.points[i] - face.keypoints).max() * scale < export.TOLERANCE
        assert np.abs(found.scores[i] - face.scores).max() < 1e-3
        assert np.allclose(found.radius90[i], face.radius90, rtol=1e-3, equal_nan=True)


def test_the_number_of_threads_changes_nothing(pictures: np.ndarray) -> None:
    weights = Path(backends.__file__).parents[1] / "weights" / "unet.maps.onnx"
    stretched = pictures.repeat(2, axis=1).repeat(2, axis=2)
    one, four = (MapsBackend(weights, threads=threads).run(stretched) for threads in (1, 4))
    assert np.array_equal(one.points, four.points)
    assert np.array_equal(one.scores, four.scores)


@pytest.mark.slow
def test_fcn_exports_like_unet(faces: Path, tmp_path: Path, pictures: np.ndarray) -> None:
    """The graphs of unet and resnet are in the fixtures; for vgg's, see half weights."""
    done = export.export(graphs.trained("fcn", faces, tmp_path / "run"), tmp_path / "out.onnx", pictures)
    agrees(done, pictures, heatmaps=True)


def agrees(done: export.Exported, pictures: np.ndarray, *, heatmaps: bool) -> None:
    assert done.difference.points <= export.TOLERANCE
    assert set(done.difference.aspects) == {"model", *agreement.ASPECTS}
    assert done.images == len(pictures)
    assert (backends.OnnxBackend(done.path).run(pictures, heatmaps=True).heatmaps is not None) == heatmaps


@pytest.mark.long
def test_the_graph_says_nothing_of_the_machine_it_was_made_on(graph: Path) -> None:
    content = graph.read_bytes()
    assert str(Path(export.__file__).parents[1]).encode() not in content
    assert str(Path(torch.__file__).parent).encode() not in content
    assert {p.key for p in onnx.load(graph).metadata_props} == {"kptool", "weights", "points", "scores"}


@pytest.mark.long
def test_a_graph_beside_its_weights_runs_in_their_place(graph: Path, tmp_path: Path) -> None:
    weights = Path(shutil.copy(graph.with_name(cards.WEIGHTS), tmp_path))
    assert backends.load(weights, "cpu").name == "torch"
    shutil.copy(graph, tmp_path / cards.GRAPH)
    assert backends.load(weights, "cpu").name == "onnxruntime"
    assert backends.load(weights, "cpu", flip=True).name == "torch"
    model, card = checkpoint.load_model(weights)
    with torch.no_grad():
        model.offset += 1
    checkpoint.save_weights(weights, model, card)
    assert backends.load(weights, "cpu").name == "torch"  # the graph no longer matches the weights


@pytest.mark.long
def test_a_broken_graph_beside_good_weights_is_passed_over(
    graph: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = Path(shutil.copy(graph.with_name(cards.WEIGHTS), tmp_path))
    data = graph.read_bytes()
    for broken in (data[: len(data) // 2], b"nonsense", b""):
        (tmp_path / "model.onnx").write_bytes(broken)
        caplog.clear()
        assert backends.load(weights, "cpu").name == "torch"
        assert "model.onnx is not a readable graph" in caplog.text
        assert "with torch instead" in caplog.text


@pytest.mark.long
def test_a_predictor_pickles_on_either_backend(graph: Path, run_folder: Path, pictures: np.ndarray) -> None:
    """As multiprocessing and joblib pass it to other processes."""
    picture = pictures[0] if pictures.ndim == 3 else pictures[0, 0]
    for model, backend in ((graph, "onnxruntime"), (run_folder / "model.safetensors", "torch")):
        one = Predictor(str(model), "cpu", detect=False)
        assert one.backend.name == backend
        other = pickle.loads(pickle.dumps(one))
        assert other.backend.name == backend
        assert np.array_equal(other.predict(picture)[0].keypoints, one.predict(picture)[0].keypoints)


@pytest.mark.long
def test_files_that_are_no_graph_are_refused(graph: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(b"not a graph")
    with pytest.raises(CheckpointError, match="not a readable graph"):
        backends.load(other)
    proto = onnx.load(graph)
    del proto.metadata_props[:]
    onnx.save(proto, other)
    with pytest.raises(CheckpointError, match="not a weights file of kptool's"):
        backends.load(other)
    with pytest.raises(ConfigError, match="without --tta"):
        backends.load(graph, flip=True)


def test_a_graph_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ModelConfig("vgg", ("a", "b"), (), loss="wing", width=2)
    checkpoint.save_weights(tmp_path / cards.WEIGHTS, KeypointModel(config).eval(), cards.Card(config))
    far = agreement.Difference(0.02, 0.0, {"model": 0.0, "wide": 0.02})
    monkeypatch.setattr(agreement, "difference", lambda *_: far)
    monkeypatch.setattr(export, "_write", lambda graph, card, weights, path, half: path.write_bytes(weights.encode()))
    with pytest.raises(ConfigError, match=r"0\.0200 pixels \(on wide pictures\)"):
        export.export(tmp_path / cards.WEIGHTS, tmp_path / "out.onnx")
    assert [p.name for p in tmp_path.iterdir()] == [cards.WEIGHTS]


@pytest.mark.long
def test_export_on_the_command_line(
    kptool: Any, in_tmp: Path, graph: Path, run_folder: Path, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.loads(graph.with_name("said.json").read_text())
    assert (document["real_images"], document["points"]) == (True, "feature")
    with Cache(faces) as cache:
        assert document["images"] == min(64, len(cache.index("val")))
    assert document["half"] is None
    assert document["largest_difference"] < 0.01
    assert document["largest_score_difference"] < 1e-4
    picture = faces.parent / "images" / "00000.png"
    ran = kptool("predict", picture, "--model", graph, "--no-detect", "--json")
    assert ran.json()["model"] == str(graph)
    assert len(ran.json()["images"][0]["faces"][0]["keypoints"]) == 15
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    ran = kptool("export", run_folder)
    assert ran.code == 2
    assert "keypoint-toolkit[export]" in ran.err


@pytest.mark.slow
def test_half_weights_are_compared_with_their_own_run_and_their_cost_is_told(
    faces: Path, tmp_path: Path, pictures: np.ndarray
) -> None:
    """For a model whose card has no radius. Torch runs the whole weights, as an export of them does to within 0.001."""
    weights = graphs.trained("vgg", faces, tmp_path / "run")
    model, card = checkpoint.load_model(weights)
    checkpoint.save_weights(weights, model, dataclasses.replace(card, metrics={"radius90": None}))
    done = export.export(weights, tmp_path / "half.onnx", pictures, half=True)
    agrees(done, pictures, heatmaps=False)
    assert done.difference.points < 1e-3
    assert done.half is not None
    mean, largest = done.half
    assert 0 < mean < largest
    assert done.size < 0.65 * weights.stat().st_size
    stored = {tensor.name: tensor for tensor in onnx.load(done.path).graph.initializer}
    assert all(
        tensor.data_type == onnx.TensorProto.FLOAT16
        for name, tensor in stored.items()
        if "weight" in name and np.prod(tensor.dims) >= halving.LEAST
    )
    whole_run = backends.TorchBackend(weights, "cpu").run(pictures)
    half_run = backends.OnnxBackend(done.path).run(pictures)
    apart = half_run.points - whole_run.points
    assert np.linalg.norm(apart, axis=-1).max() == pytest.approx(largest, rel=0.05)
    assert np.isnan(half_run.radius90).all()  # not in the card


def test_weights_that_float16_does_not_have_are_refused_by_name(tmp_path: Path) -> None:
    weights = tmp_path / cards.WEIGHTS
    config = ModelConfig("vgg", ("a", "b"), (), loss="wing", width=2)
    model, card = KeypointModel(config).eval(), cards.Card(config)
    with torch.no_grad():
        model.network.head.hidden.weight[0, 0] = 1e6
    checkpoint.save_weights(weights, model, card)
    with pytest.raises(ConfigError, match=r"network\.head\.hidden\.weight holds weights above 65504"):
        export.export(weights, tmp_path / "half.onnx", half=True)
    assert not (tmp_path / "half.onnx").exists()


@pytest.mark.parametrize("name", ["x.tflite", "x", "x.ONNX", "x.onnx.gz"])
def test_a_file_of_another_name_is_refused_before_anything_is_done(kptool: Any, in_tmp: Path, name: str) -> None:
    ran = kptool("export", "there-is-no-such-model", "--out", name)
    assert ran.code == 2
    assert f"{name} does not end in .onnx; name it x.onnx" in ran.err.replace("x.onnx.onnx", "x.onnx")
    with pytest.raises(ConfigError, match="name it"):
        export.export(in_tmp / "none", in_tmp / name)
    assert not list(in_tmp.iterdir())


def test_what_the_graph_is_tried_on_is_said(faces: Path, tmp_path: Path) -> None:
    with Cache(faces) as cache:
        config = ModelConfig("unet", cache.info.names, (), size=cache.info.size, channels=cache.info.channels)
        held = len(cache.index("val"))
    found = agreement.pictures(faces, config, count=3)
    assert (found.real, found.what, len(found.images)) == (True, f"{min(held, 3)} validation images of {faces}", 3)
    assert "as there is no" in agreement.pictures(tmp_path / "no.h5", config).what
    other = agreement.pictures(faces, dataclasses.replace(config, size=(40, 24), channels=3))
    assert not other.real
    assert other.images.shape == (16, 3, 40, 24)
    assert "input differs from the images of" in other.what
