"""Signals that ask the program to end (Ctrl-C, SIGTERM): an exception, or where work must be whole first, a question."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """Signal `number` asked the program to end; not an Exception, so that nothing swallows it on the way out.

    `hint` says how to go on.
    """

    def __init__(self, number: int, hint: str = "") -> None:
        super().__init__(number)
        self.number, self.hint = number, hint


class Deferred:
    """A request to end that waits until somebody asks for it; the second one does not wait, unless all are to."""

    def __init__(self, wait: bool = False) -> None:
        self._number: int | None = None
        self._wait = wait

    @property
    def number(self) -> int | None:
        """The signal that has come, if one has."""
        return self._number

    def check(self) -> None:
        """Raise Stopped where a signal has come."""
        if self._number is not None:
            raise Stopped(self._number)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if not self._wait:
            self.check()
        self._number = number


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Signals raise Stopped, wherever the program is, until the block ends.

    Libraries in C may put an error of their own in its place; whatever error follows a signal is taken for its doing.
    """
    came: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise Stopped(number)

    with _handled_by(stop):
        try:
            yield
        except Exception as error:
            if came:
                raise Stopped(came[-1]) from error
            raise


@contextlib.contextmanager
def deferred(wait: bool = False) -> Iterator[Deferred]:
    """Signals are remembered until `check` is called or the block ends; with `wait`, those that are repeated, too."""
    request = Deferred(wait)
    with _handled_by(request._remember):
        yield request
    request.check()


@contextlib.contextmanager
def _handled_by(handler: signal._HANDLER) -> Iterator[None]:
    """Only the main thread may say what a signal does; elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set by Python
