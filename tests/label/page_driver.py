"""Driving the label page as a person does, with pictures of arrows whose points are known."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

POINTS = ("tip", "base", "left", "right")
COUNT = 24


def arrows(folder: Path, count: int = COUNT) -> dict[str, list[tuple[float, float]]]:
    """Pictures of an arrow each, and where its points are."""
    folder.mkdir()
    rng, truth = np.random.default_rng(0), {}
    for i in range(count):
        image = Image.fromarray(rng.integers(90, 140, (180, 240, 3), np.uint8))
        centre, angle, length = rng.uniform([70, 60], [170, 120]), rng.uniform(0, 2 * np.pi), rng.uniform(30, 45)
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        tip, base = centre + along * length, centre - along * length
        left, right = base + along * 14 + across * 16, base + along * 14 - across * 16
        draw = ImageDraw.Draw(image)
        draw.line([*base, *tip], fill=(30, 30, 30), width=5)
        draw.ellipse([*(tip - 5), *(tip + 5)], fill=(200, 30, 30))
        draw.polygon([*base, *left, *right], fill=(30, 60, 200))
        image.save(folder / f"{i:02}.png")
        truth[f"{i:02}.png"] = [tuple(np.round(point, 2).tolist()) for point in (tip, base, left, right)]
    return truth


@contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the page's address."""
    command = [sys.executable, "-m", "kptool", "label", str(folder), "--no-browser", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Page:
    """The page, driven as a person does."""

    def __init__(self, browser: Any, address: str, **screen: Any) -> None:
        self.page = browser.new_page(**(screen or {"viewport": {"width": 1400, "height": 900}}))
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.ready()

    def ready(self) -> None:
        self.page.wait_for_function("() => window.kptool && window.kptool.editor && window.kptool.editor.entry")

    @property
    def name(self) -> str:
        return str(self.page.evaluate("() => window.kptool.about.pictures[window.kptool.number].name"))

    @property
    def entry(self) -> dict[str, Any]:
        return dict(self.page.evaluate("() => window.kptool.editor.entry"))

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the picture is on the screen."""
        box = self.page.locator("#canvas").bounding_box()
        left, top = self.page.evaluate("([x, y]) => window.kptool.view.toCanvas(x, y)", [x, y])
        return box["x"] + left, box["y"] + top

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))

    def drag(self, x: float, y: float, to_x: float, to_y: float) -> None:
        self.page.mouse.move(*self.at(x, y))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(to_x, to_y), steps=3)
        self.page.mouse.up()

    def enter(self) -> None:
        """Finish the picture, and wait for the next one, and for the disk."""
        before = self.name
        self.page.keyboard.press("Enter")
        self.page.wait_for_function("() => !window.kptool.saver.pending")
        self.page.wait_for_function(
            "before => window.kptool.editor && window.kptool.about.pictures[window.kptool.number].name !== before",
            arg=before,
        )


def label(page: Page, truth: dict[str, list[tuple[float, float]]], count: int) -> None:
    for _ in range(count):
        for x, y in truth[page.name]:
            page.click(x, y)
        page.enter()
