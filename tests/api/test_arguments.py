"""Option values that several commands parse in the same way."""

from __future__ import annotations

import pytest

from kptool.api.arguments import parse_duration
from kptool.base.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("20m", 1200),
        ("2h", 7200),
        ("1d", 86_400),
        ("1.5h", 5400),
        ("1h30m", 5400),
        (" 1H 30M ", 5400),
        ("0.5s", 0.5),
        ("1d2h3m4s", 93_784),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "90", "h", "0m", "-5m", "5 minutes", "30m1h", "1h1h", "1e3s", "nan s", "٣m", "1,5h"]
)
def test_anything_else_is_refused_with_the_option_and_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--limit is a duration above zero .* 20m") as refusal:
        parse_duration(text, "--limit")
    assert repr(text) in str(refusal.value)
