"""Plugins from outside the package: entry points of a fake distribution, and files given with --plugin."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kptool import plugins
from kptool.base import extensions
from kptool.base.errors import CheckpointError, ConfigError
from kptool.network import cards, checkpoint, provenance

MODEL = """
from torch import nn
from kptool.plugins import Model

def build(keypoints, size, channels, width):
    return nn.Conv2d(channels, keypoints, 3, 2, 1)

MODEL = Model("heatmap", 2, 4, build, "one layer", recipe={"epochs": 1, "batch_size": 8})
"""
LOSS = """
from kptool.losses.heatmap_mse import LOSS
"""


@pytest.fixture(autouse=True)
def none_but_these(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test starts without plugins, and leaves none."""
    monkeypatch.setattr(plugins, "_used", {})
    extensions.installed.cache_clear()
    yield
    extensions.installed.cache_clear()


Installer = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installer:
    """Put a distribution with entry points and a module on sys.path."""

    def made(points: str, *, name: str = "kptool-tiny", module: str = "kptool_tiny", source: str = MODEL) -> Path:
        site = tmp_path / name
        info = site / f"{module}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(points)
        (site / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, module, raising=False)
        extensions.installed.cache_clear()
        return site

    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one_layer.py"
    path.write_text(MODEL)
    return path


def test_entry_points_are_listed_without_importing_them(install: Installer) -> None:
    install("[kptool.models]\ntiny = kptool_tiny:MODEL\n")
    assert "tiny" in plugins.names("models")
    assert "kptool_tiny" not in sys.modules
    assert plugins.load_model("tiny").summary == "one layer"
    assert plugins.origin("models", "tiny") == {"distribution": "kptool-tiny", "version": "1.2"}


def test_an_entry_point_may_be_the_module(install: Installer) -> None:
    install("[kptool.models]\ntiny = kptool_tiny\n")
    assert plugins.load_model("tiny").stride == 2


def test_files_are_listed_without_running_them(file: Path) -> None:
    code = (
        "import sys; from kptool import plugins; plugins.use(__import__('pathlib').Path(sys.argv[1]));"
        " assert 'one-layer' in plugins.names('models'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code, str(file)], check=False).returncode == 0


def test_a_file_may_hold_several_plugins(tmp_path: Path) -> None:
    path = tmp_path / "both.py"
    path.write_text(MODEL + LOSS)
    assert {offer.kind for offer in plugins.use(path)} == {"models", "losses"}
    assert plugins.load_model("both").output == plugins.load_loss("both").output


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("unet.py", MODEL, r"a model 'unet' of kptool's own already; rename the file"),
        ("x.py", "a = 1\n", r"x\.py assigns none of DATASET, MODEL, LOSS, DECODER, LOGGER"),
        ("x.py", "def f(:\n", r"x\.py, line 1 is not Python"),
        ("x.py", "a\0b", "is not Python"),
        ("missing.py", None, r"missing\.py cannot be read: No such file"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=words):
        plugins.use(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("MODEL = 3\n", "must be a kptool.plugins.Model; it is a int"),
        ("MODEL = 1 / 0\n", "cannot be loaded: ZeroDivisionError"),
        (MODEL.replace("epochs", "augment.flip"), "cannot set augment.flip"),
    ],
)
def test_plugins_that_fail_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(text)
    plugins.use(path)
    with pytest.raises(ConfigError, match=words):
        plugins.load_model("bad")


def test_names_of_kptool_are_never_taken(install: Installer) -> None:
    own = plugins.load_model("unet")
    install("[kptool.models]\nunet = kptool_tiny:MODEL\n\n[kptool.hats]\nbowler = kptool_tiny:MODEL\n")
    assert plugins.load_model("unet") is own
    assert "kptool_tiny" not in sys.modules
    why = {offer.name: reason for offer, reason in plugins.survey()}
    assert why["unet"] == "kptool has a model of this name itself"
    assert "no plugins of the kind 'hats'" in str(why["bowler"])
    assert plugins.origin("models", "unet") is None


def test_two_distributions_with_one_name(install: Installer) -> None:
    install("[kptool.models]\ntiny = kptool_tiny:MODEL\n")
    install("[kptool.models]\ntiny = kptool_other:MODEL\n", name="kptool-other", module="kptool_other")
    with pytest.raises(ConfigError, match=r"cannot be used: kptool-(tiny|other) 1\.2 has a model of this name too"):
        plugins.load_model("tiny")


def test_a_file_cannot_take_the_name_of_a_distribution(install: Installer, tmp_path: Path) -> None:
    install("[kptool.models]\ntiny = kptool_tiny:MODEL\n")
    (tmp_path / "tiny.py").write_text(MODEL)
    with pytest.raises(ConfigError, match=r"a model 'tiny' of kptool-tiny 1\.2 already"):
        plugins.use(tmp_path / "tiny.py")


def test_dataset_is_exported_for_plugins() -> None:
    from kptool.data.annotations import Dataset

    assert plugins.Dataset is Dataset
    with pytest.raises(AttributeError):
        plugins.Nothing  # noqa: B018


def test_train_evaluate_info_and_export_with_a_file(
    kptool: Any, refused: Any, faces: Path, file: Path, in_tmp: Path
) -> None:
    ran = kptool("train", "one-layer", faces, "--plugin", file, "--device", "cpu", "--json")
    assert ran.code == 0, ran.err
    assert ran.json()["epochs"] == 1, "the recipe of the plugin"
    run = in_tmp / "runs" / "one-layer"
    origin = cards.read_card(run / cards.WEIGHTS).plugins["models"]
    assert origin["name"] == "one-layer"
    assert origin["file"] == "one_layer.py"
    assert len(origin["sha256"]) == 64
    assert kptool("evaluate", run, faces, "--plugin", file).code == 0
    document = kptool("info", run, "--json").json()
    assert document["plugins"] == [f"model one-layer of the file one_layer.py (sha256 {origin['sha256'][:12]})"]
    plugins._used.clear()
    sentence = refused("evaluate", run, faces)
    assert "needs the model 'one-layer' of the file one_layer.py" in sentence
    assert sentence.endswith("give that file, if you trust it: --plugin one_layer.py")


def test_another_version_is_warned_of(
    run_folder: Path, file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plugins.use(file)
    card = cards.read_card(run_folder / cards.WEIGHTS)
    origin = {"name": "one-layer", "file": "one_layer.py", "sha256": "0" * 64}
    other = replace(card, config=replace(card.config, model="one-layer"), plugins={"models": origin})
    with caplog.at_level(logging.WARNING):
        provenance.check(tmp_path, other)
    assert "was trained with the model 'one-layer' of the file one_layer.py (sha256 000000000000)" in caplog.text


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ({"distribution": "kptool-far", "version": "3"}, "if you trust it: pip install kptool-far"),
        ({"distribution": "x; rm -rf /", "version": "3"}, "get it from the author of the weights"),
        ({"distribution": ["--index-url"]}, "get it from the author"),
        ({"file": "../../a.py"}, "get it from the author"),
        ({"file": "a b.py"}, "--plugin 'a b.py'"),
        ({}, "of the file None"),
    ],
)
def test_weights_say_what_to_install(
    run_folder: Path, tmp_path: Path, origin: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text comes from the weights file, which is not trusted."""
    card = cards.read_card(run_folder / cards.WEIGHTS)
    other = replace(card, config=replace(card.config, model="far"), plugins={"models": origin})
    monkeypatch.setattr(checkpoint, "read_card", lambda path: other)
    with pytest.raises(CheckpointError, match="needs the model 'far'") as caught:
        checkpoint.load_model(tmp_path / "model.safetensors")
    assert words in str(caught.value)


def test_cards_of_kptools_own_plugins_are_as_before(run_folder: Path) -> None:
    card = cards.read_card(run_folder / cards.WEIGHTS)
    assert card.plugins == {}
    assert "plugins" not in json.loads(card.to_json())
    kept = replace(card, plugins={"models": {"name": "a", "distribution": "b", "version": "1"}})
    assert cards.parse_card(Path(), {"kptool": kept.to_json()}).plugins == kept.plugins


def test_help_and_info_name_the_models_of_plugins(kptool: Any, file: Path) -> None:
    assert "Models of plugins: one-layer" in " ".join(kptool("train", "--plugin", file, "--help").out.split())
    document = kptool("info", "--json", "--plugin", file).json()
    assert "one-layer" in document["models"]
    assert document["plugins"] == [f"model one-layer of {file}"]


def test_plugin_list(kptool: Any, install: Installer, file: Path) -> None:
    install("[kptool.models]\nunet = kptool_tiny:MODEL\n")
    ran = kptool("plugin", "list", "--plugin", file)
    assert str(file) in ran.out
    assert "refused: kptool has a model of this name itself" in ran.out
    rows = kptool("plugin", "list", "--plugin", file, "--json").json()["plugins"]
    assert [row["kind"] for row in rows] == ["model", "model"]


@pytest.mark.parametrize("kind", ["model", "loss", "decoder", "dataset", "logger"])
def test_a_new_plugin_works_and_passes_its_test(kptool: Any, in_tmp: Path, kind: str) -> None:
    """The tests of the written file are run in this process, which is faster than pytest in another one."""
    assert kptool("plugin", "new", kind, f"my-{kind}").code == 0
    names: dict[str, Any] = {"__file__": str(in_tmp / f"test_my_{kind}.py"), "__name__": "written"}
    exec(compile((in_tmp / f"test_my_{kind}.py").read_text(), "test_my.py", "exec"), names)
    tests = [test for name, test in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test(*([in_tmp] * test.__code__.co_argcount))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("new", "hat", "x"), "takes one of model, loss, decoder, dataset, logger"),
        (("new", "model"), "and a name"),
        (("new", "model", "UNet"), "small letters"),
        (("new", "model", "unet"), "kptool has a model 'unet' itself"),
        (("old",), "takes list or new"),
        (("list", "model"), "takes no argument"),
    ],
)
def test_wrong_arguments_of_plugin(refused: Any, in_tmp: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in refused("plugin", *arguments)
    assert list(in_tmp.iterdir()) == []


def test_new_does_not_replace_files(refused: Any, kptool: Any, in_tmp: Path) -> None:
    (in_tmp / "test_mine.py").write_text("keep")
    assert "exists already" in refused("plugin", "new", "loss", "mine")
    assert [path.name for path in in_tmp.iterdir()] == ["test_mine.py"]
    assert kptool("plugin", "new", "loss", "mine", "--force").code == 0


def test_the_logger_of_the_documentation_loads_without_mlflow(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text()
    path = tmp_path / "mlflow_store.py"
    path.write_text(page.partition("```py\n")[2].partition("```")[0])
    plugins.use(path)
    assert plugins.load_logger("mlflow-store").requires == {"mlflow": "mlflow-skinny"}
