"""Damaged or malicious weights, graphs and checkpoints are refused, and no code in them runs."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from kptool.base.config import ModelConfig
from kptool.base.errors import CheckpointError
from kptool.base.skeleton import FACE15
from kptool.data import images
from kptool.network import cards, checkpoint


class Evil:
    """Unpickling this object creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("inside", ["alone", "schema", "zip"])
def test_a_malicious_training_state_is_refused_and_not_run(tmp_path: Path, inside: str) -> None:
    proof, path = tmp_path / "proof", tmp_path / "last.ckpt"
    if inside == "alone":
        path.write_bytes(pickle.dumps(Evil(proof)))
    else:
        torch.save({"schema": 1, "evil": Evil(proof)}, path, _use_new_zipfile_serialization=inside == "zip")
    with pytest.raises(CheckpointError, match="not a readable training state"):
        checkpoint.load_state(path)
    assert not proof.exists()
    if inside != "schema":
        return
    torch.load(path, weights_only=False)
    assert proof.exists(), "the file would have done harm"


@pytest.mark.parametrize("change", [{"epoch": -(10**9)}, {"step": 2**70}, {"history": [1]}, {"losses": float("nan")}])
def test_a_training_state_that_cannot_be_is_refused(
    run_folder: Path, faces: Path, tmp_path: Path, refused: Any, change: dict[str, Any]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("model.safetensors", "last.ckpt"):
        (run / name).write_bytes((run_folder / name).read_bytes())
    torch.save({**checkpoint.load_state(run / "last.ckpt"), **change}, run / "last.ckpt")
    given = ("--set", "width=4", "--epochs", 2, "--batch-size", 12, "--device", "cpu", "--out", run, "--resume")
    assert "the training state does not fit" in refused("train", "unet", faces, *given)


def hostile_weights(data: bytes, metadata: dict[str, str]) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    header = json.dumps({**json.loads(data[8 : 8 + length]), "__metadata__": metadata}).encode()
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": 512}, "do not fit their configuration"),
        ({"model": "vgg", "loss": "wing", "size": [4096, 4096], "width": 512}, "do not fit their configuration"),
        ({"model": "../../evil"}, "there is no model"),
        ({"size": [1e308, 8]}, "size must be"),
        ({"sigma": float("inf")}, "not a finite number"),
        ({"names": "A" * 9000}, "differ"),
    ],
)
def test_weights_whose_card_lies_are_refused(
    weights_file: bytes, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    card = json.loads(cards.Card(ModelConfig("unet", FACE15.names, FACE15.flip_pairs, width=2)).to_json())
    card["config"].update(change)
    path = tmp_path / "model.safetensors"
    path.write_bytes(hostile_weights(weights_file, {"kptool": json.dumps(card)}))
    with pytest.raises(CheckpointError, match=says):
        checkpoint.load_model(path)


@pytest.mark.parametrize("text", ["", "[", "[]", "null", '{"schema": 1}', "[" * 9000, '{"schema": 1, "config": []}'])
def test_weights_with_other_metadata_are_refused(weights_file: bytes, tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(hostile_weights(weights_file, {"kptool": text}))
    with pytest.raises(CheckpointError):
        cards.read_card(path)


def test_weights_that_are_no_numbers_are_refused(weights_file: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(weights_file[:-4] + struct.pack("<f", float("nan")))
    with pytest.raises(CheckpointError, match="not all finite"):
        checkpoint.load_model(path)


@pytest.mark.parametrize("old", [b"input", b"cls_8", b"Conv"])
def test_a_damaged_graph_is_refused_and_nothing_else_is_said(tmp_path: Path, refused: Any, old: bytes) -> None:
    graph = (Path(images.__file__).parents[1] / "weights" / "yunet.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(graph.replace(old, b"\xff" * len(old)))
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    given = ("--no-detect", "--model", tmp_path / "model.onnx", "--json")
    assert "model.onnx" in refused("predict", tmp_path / "a.png", *given)
