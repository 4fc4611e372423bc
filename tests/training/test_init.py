"""Starting from weights: what is taken, what is made to fit, what stays fresh, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kptool import plugins
from kptool.base.config import RECIPES, ModelConfig
from kptool.base.errors import CheckpointError
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import KeypointModel
from kptool.system import files
from kptool.training import init

MODELS = ("fcn", "resnet", "unet", "vgg")


def config(model: str = "unet", names: str = "a b c", **changes: Any) -> ModelConfig:
    loss = RECIPES.get(model, {}).get("loss", "dsnt")
    return ModelConfig(model, tuple(names.split()), (), **{"size": (32, 32), "width": 4, "loss": loss, **changes})


def trained(configuration: ModelConfig) -> KeypointModel:
    """A network as after a training: no two numbers of it, batch norm's statistics among them, are alike."""
    torch.manual_seed(5)
    model = KeypointModel(configuration)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith(("running_var", "offset")):
                tensor.copy_(torch.rand_like(tensor) + 0.5)
            elif tensor.is_floating_point():
                tensor.add_(0.1 * torch.randn_like(tensor))
    return model.eval()


def stored(tmp_path: Path, configuration: ModelConfig, **card: Any) -> tuple[KeypointModel, str]:
    model, path = trained(configuration), tmp_path / "weights.safetensors"
    checkpoint.save_weights(path, model, cards.Card(configuration, **card))
    return model, str(path)


def fresh(configuration: ModelConfig) -> KeypointModel:
    torch.manual_seed(6)
    return KeypointModel(configuration).eval()


def pictures(channels: int = 1) -> Tensor:
    torch.manual_seed(7)
    return (torch.rand(2, 1, 32, 32) * 255).round().expand(2, channels, 32, 32)


@pytest.mark.parametrize("model", MODELS)
def test_the_same_network_is_taken_whole(tmp_path: Path, model: str) -> None:
    old, path = stored(tmp_path, config(model))
    new = fresh(config(model))
    taken = init.take(new, path)
    assert torch.equal(new(pictures()), old(pictures()))
    assert new.offset.abs().max() == 0  # other labels are off by something else
    assert (taken.fresh, taken.keypoints) == ((), ("a", "b", "c"))
    assert "; new:" not in taken.sentence()
    assert taken.describe()["layers"] == taken.describe()["layers_of"] == len(taken.layers) > 10
    assert len(taken.describe()["sha256"]) == 64
    assert taken.describe()["origin"] == "weights.safetensors"


@pytest.mark.parametrize("model", MODELS)
def test_the_head_is_matched_by_names(tmp_path: Path, model: str) -> None:
    """In another order, with some unknown and some left out, keypoints of both come out as they did."""
    old, path = stored(tmp_path, config(model, "a b c d"))
    new = fresh(config(model, "x d b y z"))
    before = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    taken = init.take(new, path)
    assert (taken.keypoints, taken.fresh) == (("d", "b"), ())
    assert "the head of 2 of 5 keypoints" in taken.sentence()
    assert "new: the head of x, y and z" in taken.sentence()
    axes = init.axes_of(new)
    head = [name for name in axes if axes[name].head]
    assert head
    for name in head:
        per, now, then = axes[name].keypoints[0], new.state_dict()[name], old.state_dict()[name]
        if not per:  # FCN's scores: rows alone; never columns alone
            pytest.fail(name)
        rows = [slice(k * per, (k + 1) * per) for k in range(5)]
        for k in (0, 3, 4):
            assert torch.equal(now[rows[k]], before[name][rows[k]])
        for k, was in ((1, 3), (2, 1)):
            if now.ndim > 1 and axes[name].keypoints[1]:  # FCN's refinement is of keypoints by keypoints
                assert torch.equal(now[rows[k]][:, [1, 2]], then[rows[was]][:, [3, 1]])
                assert torch.equal(now[rows[k]][:, [0, 3, 4]], before[name][rows[k]][:, [0, 3, 4]])
            else:
                assert torch.equal(now[rows[k]], then[rows[was]])
    if model != "fcn":
        assert torch.allclose(new(pictures())[:, [1, 2]], old(pictures())[:, [3, 1]], atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
def test_a_grey_picture_is_the_same_in_colour(tmp_path: Path, model: str, before: int, after: int) -> None:
    old, path = stored(tmp_path, config(model, channels=before))
    new = fresh(config(model, channels=after))
    assert init.take(new, path).fresh == ()
    assert torch.allclose(new(pictures(after)), old(pictures(before)), atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("width", [6, 8])
def test_a_wider_network_computes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, width: int
) -> None:
    old, path = stored(tmp_path, config(model))
    monkeypatch.setattr(init, "_NOISE", 0.0)
    new = fresh(config(model, width=width))
    assert init.take(new, path).fresh == ()
    assert torch.allclose(new(pictures()), old(pictures()), rtol=1e-3, atol=1e-4)
    monkeypatch.undo()
    noisy = fresh(config(model, width=width))
    assert init.take(noisy, path).sentence().endswith(f", adapted from width 4 to {width}")
    kernels = next(tensor for name, tensor in noisy.network.named_parameters() if tensor.ndim == 4)
    assert len(kernels.unique(dim=0)) == len(kernels)  # copies that stay alike learn nothing of their own


@pytest.mark.parametrize("model", MODELS)
def test_a_narrower_network_takes_some_channels(tmp_path: Path, model: str) -> None:
    old, path = stored(tmp_path, config(model, width=8))
    new = fresh(config(model))
    taken = init.take(new, path)
    assert taken.fresh == ()
    first = next(iter(new.network.state_dict()))
    assert torch.equal(new.network.state_dict()[first], old.network.state_dict()[first][::2])
    assert new(pictures()).isfinite().all()


@pytest.mark.parametrize("model", MODELS)
def test_another_size_of_images(tmp_path: Path, model: str) -> None:
    """Convolutions fit any; a layer that a flattened picture goes into starts fresh."""
    _, path = stored(tmp_path, config(model))
    taken = init.take(fresh(config(model, size=(48, 64))), path)
    assert taken.fresh == (("network.head.hidden",) if model in ("resnet", "vgg") else ())
    assert len(taken.layers) > 10


def test_another_loss_has_another_head(tmp_path: Path) -> None:
    """Raw heatmaps mean something else to each loss; coordinates are coordinates."""
    _, path = stored(tmp_path, config(loss="heatmap-mse"))
    assert init.take(fresh(config()), path).keypoints == ()
    _, path = stored(tmp_path, config("vgg", loss="mse"))
    assert init.take(fresh(config("vgg")), path).keypoints == ("a", "b", "c")


def test_what_was_never_learnt_is_not_taken(tmp_path: Path) -> None:
    _, path = stored(tmp_path, config(), data={"mean_shape": [[1, 2], [None, None], [3, 4]]})
    assert init.take(fresh(config()), path).keypoints == ("a", "c")


def test_the_68_points_of_a_face_go_by_the_names_of_the_15() -> None:
    numbered = [f"p{k:02d}" for k in range(1, 69)]
    faces = ["left_eye_center", "nose_tip", "right_eye_outer_corner"]
    assert init.match(faces, numbered) == [(1, 30), (2, 36)]
    assert init.match(numbered, faces) == [(30, 1), (36, 2)]
    assert init.match(numbered, [f"point{k}" for k in range(68)]) == [(k, k) for k in range(68)]
    assert init.match(["a", "", "b"], ["b", "c", ""]) == [(2, 0)]


def test_the_shipped_weights() -> None:
    new = fresh(ModelConfig("unet", ("nose_tip", "tail"), (), size=(64, 64), channels=3))
    taken = init.take(new, "unet", runs=Path("nowhere"))
    assert taken.sentence() == (
        "took 42 of 42 layers and the head of 1 of 2 keypoints from the unet weights that ship with kptool,"
        " adapted from grey to colour; new: the head of tail"
    )
    assert taken.describe() == {
        "name": "unet",
        "origin": "the unet weights that ship with kptool",
        "sha256": files.sha256((taken.path,)),
        "layers": 42,
        "layers_of": 42,
        "keypoints": ["nose_tip"],
    }


class Strange(nn.Module):
    """What somebody else may write: a grouped convolution, one of three dimensions, x apart from y, a bare parameter."""

    def __init__(self, keypoints: int, channels: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.scale = nn.Parameter(torch.ones(width, 1, 1))
        self.fixed = nn.Linear(32, 7)
        self.head = nn.Linear(width, 2 * keypoints)

    def forward(self, images: Tensor) -> Tensor:
        features = (self.depthwise(self.stem(images)) * self.scale).mean((2, 3))
        points: Tensor = self.head(features).reshape(len(images), -1, 2)
        return points


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model called strange, as if a plugin had brought it."""
    model = plugins.Model("coordinates", 1, 4, lambda k, size, c, w: Strange(k, c, w), "of somebody else's")
    known = plugins.load_model
    monkeypatch.setattr(plugins, "load_model", lambda name: model if name == "strange" else known(name))


@pytest.mark.usefixtures("strange")
def test_models_of_others(tmp_path: Path) -> None:
    ours = config("strange", loss="wing")
    old, path = stored(tmp_path, ours)
    same = fresh(ours)
    init.take(same, path)
    assert torch.equal(same(pictures()), old(pictures()))
    new = fresh(dataclasses.replace(ours, names=("c", "new", "a"), channels=3, width=8))
    taken = init.take(new, path)
    assert taken.fresh == ()
    assert taken.keypoints == ("c", "a")
    assert torch.allclose(new(pictures(3))[:, [0, 2]], old(pictures())[:, [2, 0]], rtol=0.1, atol=0.1)


@pytest.mark.parametrize(("old", "new"), [("vgg", "unet"), ("unet", "vgg"), ("fcn", "resnet"), ("unet", "fcn")])
def test_where_no_layer_fits(tmp_path: Path, old: str, new: str) -> None:
    _, path = stored(tmp_path, config(old))
    model = fresh(config(new))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf"cannot initialise a {new}: .* are of a {old}, and no layer fits"):
        init.take(model, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_where_little_fits(tmp_path: Path) -> None:
    """The last layers of a vgg fit a resnet, and mean nothing behind other ones."""
    _, path = stored(tmp_path, config("vgg", size=(32, 32)))
    with pytest.raises(CheckpointError, match=r"are of a vgg, and only \d of its \d\d layers fit; choose"):
        init.take(fresh(config("resnet")), path)


@pytest.mark.usefixtures("strange")
def test_where_none_of_the_same_model_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third-party model's layers may all depend on something else."""
    _, path = stored(tmp_path, config("strange", loss="wing"))
    new = fresh(config("strange", loss="wing"))
    monkeypatch.setattr(init.Plan, "fitting", lambda self, stored: ["network.head"])
    with pytest.raises(CheckpointError, match="this strange: no layer fits by name and shape; choose"):
        init.take(new, path)


def test_what_is_no_weights_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="neither a weights file, nor a run folder"):
        init.take(fresh(config()), "nothing", runs=tmp_path)
    model = trained(config())
    with torch.no_grad():
        next(model.parameters())[0] = torch.nan
    path = tmp_path / "bad.safetensors"
    checkpoint.save_weights(path, model, cards.Card(model.config))
    new = fresh(config())
    before = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    with pytest.raises(CheckpointError, match="not all finite"):
        init.take(new, str(path))
    assert all(torch.equal(tensor, before[name]) for name, tensor in new.state_dict().items())
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(CheckpointError, match="not a readable weights file"):
        init.take(fresh(config()), str(tmp_path / "text.safetensors"))
