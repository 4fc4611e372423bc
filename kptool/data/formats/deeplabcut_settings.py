"""What a DeepLabCut project's config.yaml states beside its body parts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any


def edges(settings: Mapping[str, Any], names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """The lines of the project's skeleton as pairs of indices into `names`; those of other body parts are left out."""
    stated = settings.get("skeleton")
    lines = [line for line in stated if isinstance(line, list)] if isinstance(stated, list) else []
    pairs = [(str(a), str(b)) for line in lines for a, b in itertools.pairwise(line)]
    return tuple((names.index(a), names.index(b)) for a, b in pairs if a in names and b in names)
