"""``kptool settings``, and the meanings that a run folder's config.toml repeats."""

from __future__ import annotations

from typing import Any

from kptool import plugins
from kptool.base.config import configure, known_settings
from kptool.base.skeleton import FACE15
from kptool.cli.settings import markdown


def test_the_settings_of_a_model_are_those_it_is_trained_with(kptool: Any) -> None:
    for name in plugins.names("models"):
        rows = {row["key"]: row for row in kptool("settings", name, "--json").json()["settings"]}
        assert list(rows) == list(known_settings())
        model, training = configure(name, FACE15, (96, 96), 1, {})
        width = plugins.load_model(name).default_width
        expected = {"width": width, "loss": model.loss, "epochs": training.epochs, "lr": training.lr}
        expected |= {"augment.rotation": training.augment.rotation}
        assert {key: rows[key]["defaults"][name] for key in expected} == expected
        heatmaps = plugins.load_model(name).output == "heatmap"
        assert (rows["sigma"]["defaults"][name] is not None) == heatmaps
        assert model.loss in rows["loss"]["range"].split(", ")


def test_the_tables_show_every_setting_and_where_models_differ(kptool: Any) -> None:
    ran = kptool("settings")
    assert ran.code == 0, ran.err
    first, _, second = ran.out.partition("Defaults that differ between models")
    firsts = [line.split()[0] for line in first.splitlines() if line.strip() and line.startswith((" ", "key"))]
    assert set(known_settings()) <= set(firsts)
    assert "epochs" in second
    assert "lr" not in second.split()
    assert "differs" not in kptool("settings", "unet").out


def test_an_unknown_model_is_refused(refused: Any) -> None:
    assert "did you mean 'unet'" in refused("settings", "unett")


def test_the_page_has_the_same_content() -> None:
    page = markdown()
    for key, known in known_settings().items():
        assert f"| `{key}` | " in page
        assert known.setting.meaning in page
