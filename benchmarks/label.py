"""Actions from photos to labels and a model, with a model's proposals and without: python benchmarks/label.py [--count 40]

A headless Chromium (https://playwright.dev: `pip install playwright`) labels synthetic photos of arrows, whose points are known.
First, the time from an input to the next frame is measured with photos of 12 megapixels in a folder of 5000 pictures.

Every click, drag and key is an action. A proposed point is dragged where it is more than `--within` pixels off; the others are
accepted. Waits for each training, as a person would not.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "label"))
from page_driver import POINTS, Page, arrows, served

_TRAININGS = (10, 20)
"""Finished pictures after which the next training is waited for."""
_FRAME = """
  const took = [];
  const frame = () => new Promise((done) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => done();
    channel.port2.postMessage(0);
  }));
  const quantiles = () => [0.5, 0.95].map((q) => took.sort((a, b) => a - b)[Math.floor(q * took.length)]);
"""
_KEYS = f"""async (count) => {{ {_FRAME}
  for (let i = 0; i < count; i++) {{
    const start = performance.now();
    document.dispatchEvent(new KeyboardEvent("keydown", {{ key: i % 2 ? "ArrowLeft" : "ArrowRight" }}));
    await frame();
    took.push(performance.now() - start);
  }}
  return quantiles();
}}"""
_DRAG = f"""async (count) => {{ {_FRAME}
  const canvas = document.getElementById("canvas");
  canvas.setPointerCapture = () => {{}};
  const box = canvas.getBoundingClientRect();
  const send = (type, i) => canvas.dispatchEvent(new PointerEvent(type, {{
    clientX: box.left + 100 + 3 * i, clientY: box.top + 100 + i, pointerId: 1, button: 0 }}));
  send("pointerdown", 0);
  for (let i = 1; i <= count; i++) {{
    const start = performance.now();
    send("pointermove", i);
    await frame();
    took.push(performance.now() - start);
  }}
  send("pointerup", count);
  return quantiles();
}}"""


def main() -> None:
    """Label everything twice, and print the actions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--within", type=float, default=3.0, help="pixels of the photo")
    parser.add_argument("--browser", default=shutil.which("chromium"))
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.browser, args=["--no-sandbox"])
        print(json.dumps({"lag": _lag(browser)}, indent=1), flush=True)
        found = {name: _label(browser, name == "proposals", given) for name in ("none", "proposals")}
        browser.close()
    print(json.dumps({**found, "ratio": found["none"]["actions"] / found["proposals"]["actions"]}, indent=1))


def _lag(browser: Any) -> dict[str, list[float]]:
    """Median and 95th percentile of milliseconds from an input to the end of the frame that shows it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        folder.mkdir()
        coarse = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(coarse).resize((4000, 3000)).save(folder / "0.jpg")
        Image.fromarray(coarse).save(folder / "1.png")
        for number in range(2, 5000):
            (folder / f"{number}.png").write_bytes((folder / "1.png").read_bytes())
        with served(folder, "--points", "a,b", "--no-learn") as (_, address):
            page, found = Page(browser, address), {}
            page.click(2000, 1500)
            for zoom in ("whole", "zoomed"):
                found[f"arrow key, {zoom}"] = page.page.evaluate(_KEYS, 60)
                found[f"pan, {zoom}"] = page.page.evaluate(_DRAG, 60)
                for _ in range(8):
                    page.page.keyboard.press("+")
            page.page.close()
    return {name: [round(value, 1) for value in values] for name, values in found.items()}


def _label(browser: Any, learning: bool, given: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        truth, begun = arrows(folder, given.count), time.monotonic()
        options = ("--points", ",".join(POINTS), *(() if learning else ("--no-learn",)))
        with served(folder, *options) as (_, address):
            page, actions, off = Page(browser, address), 0, list[float]()
            for number in range(given.count):
                actions += _picture(page, truth[page.name], given.within, off) + 1
                if number + 1 < given.count:
                    page.enter()
                if learning and number + 1 in _TRAININGS:
                    _wait(page, _TRAININGS.index(number + 1) + 1)
            state = page.page.evaluate("async () => (await fetch('api/learning')).json()") if learning else {}
            page.page.close()
        return {
            "actions": actions,
            "actions per picture": actions / given.count,
            "proposed points": len(off),
            "of which accepted": sum(each <= given.within for each in off),
            "median distance, px": float(np.median(off)) if off else None,
            "trainings": state.get("rounds", []),
            "seconds": round(time.monotonic() - begun, 1),
        }


def _picture(page: Page, truth: list[tuple[float, float]], within: float, off: list[float]) -> int:
    """The actions that bring every point of a picture to its place, but for the last, which finishes it."""
    instances = page.entry["instances"]
    for _ in instances[1:]:  # of one object, proposed several times, one is kept
        page.page.keyboard.press("x")
    removed = max(0, len(instances) - 1)
    points = page.entry["instances"][0]["points"] if instances else []
    if not points:
        for x, y in truth:
            page.click(x, y)
        return removed + len(truth)
    moved = 0
    for (x, y, _), (to_x, to_y) in zip(points, truth, strict=True):
        off.append(float(np.hypot(x - to_x, y - to_y)))
        if off[-1] > within:
            page.drag(x, y, to_x, to_y)
            moved += 1
    return removed + moved


def _wait(page: Page, rounds: int) -> None:
    page.page.wait_for_function("rounds => window.kptool.learner.rounds >= rounds", arg=rounds, timeout=900_000)
    page.page.wait_for_timeout(1000)
    page.ready()


if __name__ == "__main__":
    main()
