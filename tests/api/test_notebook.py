"""The notebook of the documentation runs, and what it shows is there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kptool.api import train as training

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def test_the_notebook_runs(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code cells in order, with one epoch instead of many; each ends in what the notebook shows."""
    train_one = training._train_one

    def once(job: Any, plan: Any, resume: bool) -> Any:
        given = {**plan.given, "epochs": 1, "width": 4}
        return train_one(job, replace(plan, given=given), resume)

    monkeypatch.setattr(training, "_train_one", once)
    assert NOTEBOOK.stat().st_size < 400_000
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    known: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        lines = "".join(cell["source"]).splitlines()
        exec(compile("\n".join(lines[:-1]), cell["id"], "exec"), known)
        last = eval(compile(lines[-1], cell["id"], "eval"), known)
        shown = last._repr_png_() if hasattr(last, "_repr_png_") else last._repr_html_()
        assert shown
        assert any({"text/html", "image/png"} & output.get("data", {}).keys() for output in cell["outputs"])
