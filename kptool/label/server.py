"""The web server of the label page: on this machine only, and for those who know its token.

The token is part of every address, so that whatever else runs on the machine, such as a page of another site in the same
browser, gets nothing, the page itself included. The Host and Origin of a request must be the server's own, which keeps out
names that lead here (DNS rebinding) and forms of other sites.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import unquote, urlsplit

from kptool.base.errors import KptoolError
from kptool.label.labels import OutdatedError, WriteError
from kptool.label.learning import Learning
from kptool.label.project import Project, UnknownPictureError

_MOST_BYTES = 4 << 20
"""Largest body of a request: a thousand instances of a thousand points do not fit, a hundred do."""
_MOST_AT_ONCE, _PATIENCE = 64, 20.0
"""Requests that are answered at the same time, and seconds that a client may take to send one."""
_STATIC = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "favicon.svg": ("favicon.svg", "image/svg+xml"),
    **{
        name: (name, "text/javascript; charset=utf-8")
        for name in ("page.js", "pointer.js", "learn.js", "entry.js", "keys.js", "store.js", "view.js")
    },
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class LabelServer(ThreadingHTTPServer):
    """Serves a project on a port of the loopback interface, 0 for any free one; `address` is the page's."""

    daemon_threads, request_queue_size = True, 128

    def __init__(self, project: Project, learning: Learning, port: int = 0) -> None:
        self.project, self.learning, self.token = project, learning, secrets.token_urlsafe(24)
        self.room = threading.BoundedSemaphore(_MOST_AT_ONCE)
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own; of too many requests at once, some are refused."""
        if not self.room.acquire(blocking=False):
            self._refuse(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room for another request."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.room.release()

    def _refuse(self, request: socket.socket) -> None:
        with contextlib.suppress(OSError):
            request.sendall(_FULL)
        self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of the user's business; other errors are printed."""

        if not isinstance(
            sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1], ConnectionError | TimeoutError
        ):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE
    server_version, sys_version = "kptool", ""

    def do_GET(self) -> None:
        """The page, the project, labels, pictures."""
        parts = self._admitted()
        if parts is None:
            return
        if parts == ["api", "project"]:
            self._answer(self.server.project.describe)
        elif parts == ["api", "learning"]:
            self._answer(self.server.learning.describe)
        elif len(parts) == 3 and parts[:2] == ["api", "labels"]:
            self._answer(lambda: self.server.project.entry(_number(parts[2])))
        elif len(parts) == 2 and parts[0] == "picture":
            self._send_picture(parts[1])
        elif len(parts) == 1 and parts[0] in _STATIC:
            name, kind = _STATIC[parts[0]]
            self._send(HTTPStatus.OK, kind, (resources.files("kptool.label") / "static" / name).read_bytes())
        else:
            self._fail(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_PUT(self) -> None:
        """Change the labels of a picture."""
        parts = self._admitted()
        if parts is None:
            return
        value = self._body()
        if value is None:
            return
        if len(parts) == 3 and parts[:2] == ["api", "labels"]:
            self._answer(lambda: self._changed(_number(parts[2]), value))
        elif parts == ["api", "learning"]:
            self.server.learning.look(asked=True)
            self._answer(self.server.learning.describe)
        elif parts == ["api", "finish"]:
            self._answer(lambda: {"line": self.server.learning.line})
            threading.Thread(target=self.server.shutdown).start()
        else:
            self._fail(HTTPStatus.NOT_FOUND, "there is no such thing to change")

    def _changed(self, number: int, value: Mapping[str, Any]) -> Mapping[str, Any]:
        state = self.server.project.change(number, value)
        self.server.learning.look()
        return state

    def _admitted(self) -> list[str] | None:
        """The parts of the path after the token; None, and an answer, for a request that is not from the page."""
        port = self.server.server_port
        hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        path = urlsplit(self.path).path
        token, _, rest = path.lstrip("/").partition("/")
        known = hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode())
        if (
            not known
            or self.headers.get("Host") not in hosts
            or (origin is not None and origin.removeprefix("http://") not in hosts)
        ):
            self._fail(HTTPStatus.FORBIDDEN, "open the address that kptool label printed")
            return None
        if path == f"/{token}":
            self._fail(HTTPStatus.NOT_FOUND, "there is no such page")
            return None
        return unquote(rest).split("/")

    def _body(self) -> Mapping[str, Any] | None:
        """The JSON object that a request brings; None, and an answer, if it brings none."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MOST_BYTES:
            self.close_connection = True
            self._fail(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {_MOST_BYTES >> 20} MB, with their length, please"
            )
            return None
        content = self.rfile.read(int(length))
        try:
            if self.headers.get_content_type() != "application/json":
                raise ValueError("it is not JSON")
            value = json.loads(content)
            if not isinstance(value, dict):
                raise ValueError("it is not an object")
        except (ValueError, RecursionError) as error:
            self._fail(HTTPStatus.BAD_REQUEST, f"the request cannot be read: {str(error)[:100]}")
            return None
        return value

    def _answer(self, work: Callable[[], Mapping[str, Any]]) -> None:
        """Send what `work` returns as JSON, or why it failed."""
        try:
            content = json.dumps(work()).encode()
        except WriteError as error:
            self._fail(HTTPStatus.INSUFFICIENT_STORAGE, str(error))
        except OutdatedError as error:
            self._fail(HTTPStatus.CONFLICT, str(error))
        except UnknownPictureError as error:
            self._fail(HTTPStatus.NOT_FOUND, str(error))
        except KptoolError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        else:
            self._send(HTTPStatus.OK, "application/json", content)

    def _send_picture(self, number: str) -> None:
        try:
            kind, content = self.server.project.picture(_number(number))
        except UnknownPictureError as error:
            self._fail(HTTPStatus.NOT_FOUND, str(error))
        except KptoolError as error:
            self._fail(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        else:
            self._send(HTTPStatus.OK, kind, content, {"Cache-Control": "private, max-age=3600"})

    def _fail(self, status: HTTPStatus, why: str) -> None:
        self._send(status, "application/json", json.dumps({"error": why}).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: addresses hold the token."""


def _number(text: str) -> int:
    """A picture's number. Raises UnknownPictureError for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise UnknownPictureError("pictures have numbers")
    return int(text)
