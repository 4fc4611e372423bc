"""The label page in a browser: labels survive the end of the server, and a model's points are accepted."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_driver import POINTS, Page, arrows, label, served

from kptool.label.labels import LABELS, LOG

STATIC = Path(__file__).parents[2] / "kptool" / "label" / "static"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def test_the_page_s_labels_without_a_page() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    scripts = [str(Path(__file__).with_name(name)) for name in ("entry.test.mjs", "store.test.mjs")]
    ran = subprocess.run([node, "--test", *scripts], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout


def test_every_script_is_served_and_none_is_too_much() -> None:
    from kptool.label import server

    served = {name for name, _ in server._STATIC.values()}
    assert served == {path.name for path in STATIC.iterdir()}
    imported = {
        name for path in STATIC.glob("*.js") for name in re.findall(r'from "\./([a-z]+\.js)"', path.read_text())
    }
    assert imported | {"page.js"} == {path.name for path in STATIC.glob("*.js")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        playwright = importlib.import_module("playwright.sync_api")
    except ImportError:
        pytest.skip("playwright is not installed")
    if BROWSER is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.long
def test_a_killed_server_loses_nothing(browser: Any, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    truth = arrows(folder)
    with served(folder, "--points", ",".join(POINTS), "--no-learn") as (process, address):
        page = Page(browser, address)
        label(page, truth, 6)
        for key in ("Tab", "Tab", "v"):  # nothing has a place yet, so nothing changes
            page.page.keyboard.press(key)
        page.click(50, 40)
        page.page.keyboard.press("Shift+ArrowRight")
        page.page.keyboard.press("ArrowDown")
        page.page.wait_for_function("() => !window.kptool.saver.pending")
        process.kill()
        assert page.errors == []
    assert (folder / LOG).stat().st_size
    with served(folder) as (process, address):
        page = Page(browser, address)
        assert page.name == "06.png"
        placed = page.entry["instances"][0]["points"]
        assert [point[2] for point in placed].count(2) == 1
        label(page, truth, 6)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert page.errors == []
    document = json.loads((folder / LABELS).read_text())
    names = {image["id"]: image["file_name"] for image in document["images"]}
    assert len(names) == 12
    for each in document["annotations"]:
        points = np.reshape(each["keypoints"], (4, 3))
        wanted = np.array(truth[names[each["image_id"]]])
        if names[each["image_id"]] != "06.png":  # which begins with a point that was put elsewhere
            assert np.abs(points[:, :2] - wanted).max() < 0.6  # a click is as exact as a pixel of the screen


@pytest.mark.long
def test_fingers_place_points_move_them_and_zoom(browser: Any, tmp_path: Path) -> None:
    truth = arrows(tmp_path / "photos", 2)
    with served(tmp_path / "photos", "--points", ",".join(POINTS), "--no-learn") as (_, address):
        page = Page(browser, address, has_touch=True, is_mobile=True, viewport={"width": 800, "height": 1100})
        for x, y in truth["00.png"]:
            page.page.touchscreen.tap(*page.at(x, y))
        placed = np.array(page.entry["instances"][0]["points"])
        assert np.abs(placed[:, :2] - truth["00.png"]).max() < 0.6
        fingers = page.page.context.new_cdp_session(page.page)

        def touch(kind: str, *places: tuple[float, float]) -> None:
            points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        (x, y), (to_x, to_y) = page.at(*truth["00.png"][0]), page.at(120, 90)
        touch("touchStart", (x, y))
        for share in (0.3, 0.6, 1.0):
            touch("touchMove", (x + share * (to_x - x), y + share * (to_y - y)))
        touch("touchEnd")
        assert np.abs(np.array(page.entry["instances"][0]["points"][0][:2]) - (120, 90)).max() < 1
        before, scale = page.entry, page.page.evaluate("() => window.kptool.view.scale")
        middle_x, middle_y = page.at(20, 20)
        touch("touchStart", (middle_x - 30, middle_y), (middle_x + 30, middle_y))
        for apart in (40, 60, 90):
            touch("touchMove", (middle_x - apart, middle_y), (middle_x + apart, middle_y))
        touch("touchEnd")
        assert page.page.evaluate("() => window.kptool.view.scale") == pytest.approx(3 * scale, rel=0.02)
        moved = np.subtract(page.at(20, 20), (middle_x, middle_y))
        assert np.hypot(*moved) < 2  # what is between the fingers stays there
        assert page.entry == before
        assert page.errors == []


@pytest.mark.slow
def test_a_model_s_points_are_accepted(browser: Any, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    truth = arrows(folder)
    with served(folder, "--points", ",".join(POINTS), "--lines", "tip-base,left-right") as (process, address):
        page = Page(browser, address)
        label(page, truth, 12)
        page.page.wait_for_function(
            "() => document.getElementById('reached').textContent && window.kptool.editor?.entry.instances.length",
            timeout=300_000,
        )
        proposed = page.entry["instances"][0]
        assert proposed["proposed"]
        found = np.array(proposed["points"])[:, :2]
        for (x, y), (to_x, to_y) in zip(found.tolist(), truth[page.name], strict=True):
            if np.hypot(x - to_x, y - to_y) > 3:
                page.drag(x, y, to_x, to_y)
        name = page.name
        page.enter()
        page.page.click("#end")
        assert process.wait(timeout=60) == 0
        assert page.errors == []
    document = json.loads((folder / LABELS).read_text())
    image = next(image for image in document["images"] if image["file_name"] == name)
    (annotation,) = (each for each in document["annotations"] if each["image_id"] == image["id"])
    assert np.abs(np.reshape(annotation["keypoints"], (4, 3))[:, :2] - truth[name]).max() < 4
    run = folder / "kptool" / "run"
    ran = subprocess.run(
        [sys.executable, "-m", "kptool", "predict", str(folder / "23.png"), "--model", str(run), "--json"],
        capture_output=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert json.loads(ran.stdout)["images"][0]["faces"]
