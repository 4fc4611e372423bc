"""The server of the label page: what it answers, and whom it refuses."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kptool.label.labels import Labels
from kptool.label.learning import Learning
from kptool.label.project import Project
from kptool.label.server import LabelServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LabelServer]:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    Image.new("RGB", (40, 30), (9, 99, 200)).save(folder / "10.jpg")
    Image.new("L", (50, 20), 7).save(folder / "2.tif")
    Image.new("L", (8, 9), 7).save(folder / "sub" / "3.png")
    (folder / "broken.png").write_bytes(b"no picture")
    (tmp_path / "secret.png").write_bytes(b"secret")
    labels = Labels(folder, ("tip", "base"), ((0, 1),))
    project = Project.of(labels)
    made = LabelServer(project, Learning(project, enabled=False))
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()
    labels.close()


def ask(
    server: LabelServer, path: str, method: str = "GET", body: Any = None, token: str | None = None, **headers: str
) -> tuple[int, Any]:
    """The status and the JSON or bytes of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    content = json.dumps(body) if isinstance(body, dict) else body
    kinds = {"Content-Type": "application/json"} if body is not None else {}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(connection):
        connection.request(method, f"/{server.token if token is None else token}/{path}", content, {**kinds, **sent})
        answer = connection.getresponse()
        found = answer.read()
    if answer.getheader("Content-Type") == "application/json":
        return answer.status, json.loads(found)
    return answer.status, found


def test_the_project_lists_the_pictures(server: LabelServer) -> None:
    status, project = ask(server, "api/project")
    assert status == 200
    assert [picture["name"] for picture in project["pictures"]] == ["2.tif", "10.jpg", "broken.png", "sub/3.png"]
    assert project["points"] == ["tip", "base"]
    assert project["edges"] == [[0, 1]]
    assert server.address == f"http://127.0.0.1:{server.server_port}/{server.token}/"


def test_labels_are_changed_and_read(server: LabelServer) -> None:
    status, before = ask(server, "api/labels/1")
    assert (status, before["width"], before["height"], before["revision"]) == (200, 40, 30, 0)
    points = [[3.5, 4.0, 2], [0, 0, 0]]
    changed = {"instances": [{"points": points, "box": None}], "revision": 0, "done": True}
    assert ask(server, "api/labels/1", "PUT", changed) == (
        200,
        {"revision": 1, "name": "10.jpg", "done": True, "proposed": False, "instances": 1},
    )
    assert ask(server, "api/labels/1")[1]["instances"][0]["points"] == points
    status, refused = ask(server, "api/labels/1", "PUT", changed)
    assert status == 409
    assert "another window" in refused["error"]
    assert ask(server, "api/project")[1]["pictures"][1]["done"] is True


def test_pictures_are_shown_as_kptool_reads_them(server: LabelServer) -> None:
    """As they are where a browser does so too, as PNG otherwise."""
    status, jpeg = ask(server, "picture/1")
    assert (status, jpeg[:3]) == (200, b"\xff\xd8\xff")
    status, png = ask(server, "picture/0")
    assert (status, png[1:4]) == (200, b"PNG")
    assert ask(server, "api/labels/2")[0] == 400
    assert ask(server, "picture/9")[0] == 404


def test_the_page_and_its_parts_are_served(server: LabelServer) -> None:
    for name in ("", "page.css", "page.js"):
        status, content = ask(server, name)
        assert status == 200
        assert isinstance(content, bytes)


@pytest.mark.parametrize("path", ["", "page.js", "api/project", "api/labels/0", "picture/0"])
@pytest.mark.parametrize("token", ["", "wrong", "x" * 32])
def test_without_the_token_nothing_is_served(server: LabelServer, path: str, token: str) -> None:
    status, answer = ask(server, path, token=token)
    assert (status, list(answer)) == (403, ["error"])


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
    ],
)
def test_requests_of_other_sites_are_refused(server: LabelServer, headers: dict[str, str]) -> None:
    changed = {"instances": [], "revision": 0, "done": True}
    assert ask(server, "api/project", **headers)[0] == 403
    assert ask(server, "api/labels/1", "PUT", changed, **headers)[0] == 403
    assert ask(server, "api/labels/1")[1]["revision"] == 0
    for own in ("127.0.0.1", "localhost"):
        there = f"{own}:{server.server_port}"
        assert ask(server, "api/project", Origin=f"http://{there}", Host=there)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "..%2fsecret.png",
        "picture/../../secret.png",
        "picture/..%2f..%2fsecret.png",
        "picture/-1",
        "picture/1e1",
    ]
    + ["picture/²", "static/page.js", "labels.json", "picture/", "api/labels/x", "api", "page.html", "%00"],
)
def test_nothing_else_is_reached(server: LabelServer, path: str) -> None:
    from urllib.parse import quote

    status, answer = ask(server, quote(path, safe="/%."))
    assert status == 404
    assert b"secret" not in json.dumps(answer).encode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"[" * 100_000, 400),
        (b'{"instances": 3}', 400),
        (b'{"instances": [{"points": [[1, NaN, 2], [1, 1, 1]]}], "revision": 0}', 400),
        (b'{"instances": [{"points": [[1, 1e400, 2], [1, 1, 1]]}], "revision": 0}', 400),
        (b"{}" + b" " * (5 << 20), 413),
    ],
)
def test_broken_bodies_are_refused(server: LabelServer, body: bytes, status: int) -> None:
    try:
        found, answer = ask(server, "api/labels/1", "PUT", body)
    except ConnectionError:  # it stopped listening to a body that is too large
        assert status == 413
        return
    assert found == status
    assert answer["error"]
    assert ask(server, "api/labels/1")[1]["revision"] == 0


def test_forms_of_other_sites_cannot_send_what_is_taken(server: LabelServer) -> None:
    """Without a preflight request, browsers only send these kinds of content."""
    changed = json.dumps({"instances": [], "revision": 0})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert ask(server, "api/labels/1", "PUT", changed, Content_Type=kind)[0] == 400
    assert ask(server, "api/labels/1", "POST", {"a": 1})[0] == 501


def test_a_thousand_requests_at_once_end(server: LabelServer) -> None:
    """Each is answered or refused, and the server goes on."""

    def one(_: int) -> int:
        try:
            return ask(server, "picture/0")[0]
        except OSError:
            return 503

    with ThreadPoolExecutor(200) as pool:
        found = list(pool.map(one, range(1000)))
    assert set(found) <= {200, 503}
    assert found.count(200) > 100
    assert ask(server, "api/project")[0] == 200
