"""The ranges of a search: around the recipe, within what settings allow, and only what fits the model."""

from __future__ import annotations

import pytest

from kptool import plugins
from kptool.advise.search_space import KEYS, Dimension, read, space
from kptool.base.config import ModelConfig, TrainConfig, configure
from kptool.base.errors import ConfigError
from kptool.base.skeleton import FACE15


def recipe(model: str, **given: object) -> tuple[ModelConfig, TrainConfig]:
    return configure(model, FACE15, (96, 96), 1, {"width": plugins.load_model(model).default_width, **given})


def ends(dimension: Dimension) -> list[object]:
    if dimension.choices:
        return list(dimension.choices)
    return [int(v) if dimension.step else v for v in (dimension.low, dimension.high)]


@pytest.mark.parametrize("model", plugins.names("models"))
def test_ranges_hold_the_recipe_and_every_end_is_a_setting(model: str) -> None:
    network, config = recipe(model)
    keys = [key for key in KEYS if key != "sigma" or plugins.load_model(model).output == "heatmap"]
    found = space(network, config, only=keys)
    assert [each.key for each in found] == keys
    for each in found:
        assert each.recipe == read(each.key, network, config)
        if each.choices:
            assert each.recipe in each.choices
        else:
            assert each.low <= float(each.recipe) <= each.high
            assert each.low < each.high
        for value in ends(each):
            recipe(model, **{each.key: value})


@pytest.mark.parametrize("model", plugins.names("models"))
def test_only_losses_that_fit_the_output_are_searched(model: str) -> None:
    output = plugins.load_model(model).output
    losses = next(each for each in space(*recipe(model)) if each.key == "loss")
    assert {plugins.load_loss(name).output for name in losses.choices} == {output}
    assert len(losses.choices) > 1


def test_what_is_fixed_and_what_matters_little_is_not_searched() -> None:
    keys = {each.key for each in space(*recipe("unet", lr=0.002), fixed={"lr", "epochs"})}
    assert {"sigma", "width", "loss", "weight_decay", "augment.rotation", "augment.erase"} < keys
    assert not keys & {"lr", "epochs", "augment.noise", "augment.blur"}
    assert "sigma" not in {each.key for each in space(*recipe("resnet"))}


@pytest.mark.parametrize(
    ("width", "values"), [(1, (1, 3)), (2, (1, 4)), (4, (2, 6)), (32, (16, 48)), (510, (256, 510))]
)
def test_widths_are_quarters_around_the_recipes(width: int, values: tuple[int, int]) -> None:
    found = space(*recipe("unet", width=width), only=["width"])[0]
    assert (found.low, found.high) == values
    assert found.step is not None
    assert (width - found.low) % found.step == 0


def test_numbers_are_rounded_to_what_a_recipe_says() -> None:
    rate = space(*recipe("unet"), only=["lr"])[0]
    assert rate.rounded(0.00068240784) == 0.000682
    assert Dimension("lr", 0.0012345, 1e-4, 1e-2).rounded(0.0012345) == 0.0012345
    assert str(rate) == "0.000125 to 0.008, log"


@pytest.mark.parametrize(
    ("model", "only", "fixed", "says"),
    [
        ("unet", ["rotation"], (), "did you mean 'augment.rotation'"),
        ("unet", ["batch_size"], (), "'batch_size' cannot be searched"),
        ("unet", ["lr"], ("lr",), "in both --search and --set"),
        ("resnet", ["sigma"], (), "resnet predicts coordinates, so it has no sigma"),
        ("unet", [], KEYS, "no setting is left to search for unet"),
    ],
)
def test_what_cannot_be_searched_is_refused(model: str, only: list[str], fixed: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        space(*recipe(model), only=only, fixed=fixed)


def test_a_recipe_without_a_setting_leaves_nothing_to_search() -> None:
    with pytest.raises(ConfigError, match="weight_decay has no range"):
        space(*recipe("unet", weight_decay=0), only=["weight_decay"])
