"""SIGINT (Ctrl-C) and SIGTERM: raised as an exception, or deferred until the work in progress is complete."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """Signal `number` asked the program to end. `hint` tells the user how to continue later.

    Not a subclass of Exception, so that ``except Exception`` does not swallow it.
    """

    def __init__(self, number: int, hint: str = "") -> None:
        super().__init__(number)
        self.number, self.hint = number, hint


class Deferred:
    """A signal that is remembered until `check` is called. A second signal raises Stopped at once, unless `wait`."""

    def __init__(self, wait: bool = False) -> None:
        self._number: int | None = None
        self._wait = wait

    @property
    def number(self) -> int | None:
        """The number of the signal that arrived, or None."""
        return self._number

    def check(self) -> None:
        """Raise Stopped if a signal has arrived."""
        if self._number is not None:
            raise Stopped(self._number)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if not self._wait:
            self.check()
        self._number = number


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Signals raise Stopped immediately, until the block ends.

    C libraries may replace that exception by an error of their own, so any error after a signal is raised as Stopped.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise Stopped(number)

    with _handled_by(stop):
        try:
            yield
        except Exception as error:
            if received:
                raise Stopped(received[-1]) from error
            raise


@contextlib.contextmanager
def deferred(wait: bool = False) -> Iterator[Deferred]:
    """Remember signals until `check` is called or the block ends, which then raises Stopped.

    A second signal raises Stopped at once, unless `wait`.
    """
    request = Deferred(wait)
    with _handled_by(request._remember):
        yield request
    request.check()


@contextlib.contextmanager
def _handled_by(handler: signal._HANDLER) -> Iterator[None]:
    """Install a handler for `SIGNALS` until the block ends. Only the main thread can do so; others are unaffected."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: set outside of Python
