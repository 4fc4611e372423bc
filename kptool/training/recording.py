"""Recording a training step as a CUDA graph: one launch in place of a thousand, which take longer than what they compute.

The first calls of a work with arguments of some shapes run as they are, so that libraries choose their algorithms, and a compiler
compiles; the next one is recorded, and from then on the recording is replayed, on copies of the arguments. A work must therefore
compute the same operations in every call, on the device alone. Random numbers are those of the generators as they are when a
recording is replayed.

Reference: https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import torch
from torch import Tensor

from kptool.base.errors import ConfigError
from kptool.base.steps import COMPILE, RECORD
from kptool.system.workers import Workers

Work = Callable[..., Tensor]
WARM = 3
"""Calls before a work is recorded."""
_MAX_REASON = 160
"""Characters of torch's own error message that are quoted."""


def records(step: str, device: torch.device, workers: Workers) -> bool:
    """Whether steps are recorded, by the setting `step`: never among several processes, which talk to each other in a step."""
    return workers.world == 1 and (step == RECORD or (step == COMPILE and device.type == "cuda"))


class Recorder:
    """Runs works, and records those that it sees again and again. On the CPU, a replay computes the work anew, on the copies."""

    def __init__(self, device: torch.device, *generators: torch.Generator) -> None:
        self.device, self._generators = device, generators
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._calls = Counter[Hashable]()
        self._recordings: dict[Hashable, _Recording] = {}

    def __call__(self, name: Hashable, work: Work, *arguments: Tensor | None) -> Tensor:
        """The result of `work`, which `name` stands for; the next call may overwrite it."""
        key = (name, *(None if each is None else (each.shape, each.dtype, each.stride()) for each in arguments))
        if key in self._recordings:
            return self._recordings[key].replay(arguments)
        self._calls[key] += 1
        if self._calls[key] <= WARM:
            with self._beside():
                return work(*arguments)
        recording = _Recording(arguments)
        try:
            recording.record(work, self._stream, self._generators)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error.__context__ or error).strip().partition("\n")[0][:_MAX_REASON]
            raise ConfigError(f"this model's step cannot be recorded ({reason}); train with step=plain") from error
        self._recordings[key] = recording  # only now: a work that cannot be recorded raises before
        return recording.replay(arguments)

    def forget(self) -> None:
        """Record everything anew, as what the works refer to has changed."""
        self._calls.clear()
        self._recordings.clear()

    @contextlib.contextmanager
    def _beside(self) -> Iterator[None]:
        """Computes on the stream that records: autograd remembers the stream on which it first saw a parameter."""
        if self._stream is None:
            yield
            return
        here = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            yield
        here.wait_stream(self._stream)


class _Recording:
    """A work, its arguments' copies, and its result."""

    def __init__(self, arguments: tuple[Tensor | None, ...]) -> None:
        self._arguments = [None if each is None else torch.empty_like(each) for each in arguments]
        self._copy(arguments)
        self._graph: Any = None
        self._work: Work | None = None
        self._result: Tensor | None = None

    def record(self, work: Work, stream: torch.cuda.Stream | None, generators: tuple[torch.Generator, ...]) -> None:
        if stream is None:
            self._work = work
            return
        self._graph = torch.cuda.CUDAGraph()
        for generator in generators:
            self._graph.register_generator_state(generator)
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._result = work(*self._arguments)

    def replay(self, arguments: tuple[Tensor | None, ...]) -> Tensor:
        self._copy(arguments)
        if self._work is not None:
            return self._work(*self._arguments)
        self._graph.replay()
        assert self._result is not None
        return self._result

    def _copy(self, arguments: tuple[Tensor | None, ...]) -> None:
        for mine, given in zip(self._arguments, arguments, strict=True):
            if mine is not None and given is not None:
                mine.copy_(given)
