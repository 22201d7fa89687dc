"""Two processes that share a floor's round: the longest client first, parameters and sums in shared memory, no copies sent.

The first is the process itself, the second is forked from it before either has computed anything, so that both read the same
examples. This file must not know what is trained, or with what.
"""

from __future__ import annotations

import mmap
import multiprocessing
import struct
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = np.ndarray[Any, Any]
Apply = Callable[[Array, Array, float], None]
"""(model, what the halves gave together, the weights' sum): moves the model, in place."""

_ASKED = struct.Struct("qq")


class Half(Protocol):
    """One process's part of a round."""

    def load(self, model: Array) -> None:
        """Begin with a model: float32 of shape (parameters,), which does not change meanwhile."""
        ...

    def train(self, clients: list[int], round_: int) -> float:
        """Train at most a chunk of clients and keep their part of the sum; the sum of the losses over their examples."""
        ...

    def give(self, total: Array) -> None:
        """Write the sum of all clients since `load`, zeros where there was none."""
        ...


def mean_of_models(model: Array, total: Array, weight: float) -> None:
    """The halves gave Σ n x."""
    np.multiply(total, np.float32(1 / weight), out=model)


def mean_change(model: Array, total: Array, weight: float) -> None:
    """The halves gave Σ n (x − model), in float64, as Hansa's reference mode sums."""
    model += (total / weight).astype(np.float32)


class Pair:
    """Runs rounds.

    Args:
        make: builds a process's half; called in that process.
        initial: the model to begin with, float32 of shape (parameters,).
        sizes: examples of each client.
        apply: what becomes of the sums.
        dtype: of the sums.
        workers: how many processes, one or two.
        chunk: how many clients a half trains at once.
    """

    def __init__(
        self,
        make: Callable[[], Half],
        initial: Array,
        sizes: Array,
        *,
        apply: Apply = mean_of_models,
        dtype: npt.DTypeLike = np.float32,
        workers: int = 2,
        chunk: int = 1,
    ) -> None:
        self._sizes, self._apply, self._chunk = sizes, apply, chunk
        self._model = shared(initial.size, np.float32)
        self._model[:] = initial
        self._totals = [shared(initial.size, dtype) for _ in range(workers)]
        self._losses, self._cohort = shared(workers, np.float64), shared(len(sizes), np.int64)
        context = multiprocessing.get_context("fork")
        self._next = context.Value("q", 0)
        self._pipe: Connection | None = None
        if workers == 2:
            self._pipe, other = context.Pipe()
            context.Process(target=self._serve, args=(make, other), daemon=True).start()
        self._half = make()

    def __call__(self, round_: int, cohort: list[int]) -> float:
        """One round; the mean loss."""
        clients = np.array(cohort)
        self._cohort[: len(clients)] = clients[np.argsort(-self._sizes[clients], kind="stable")]
        self._next.value = 0
        if self._pipe is not None:
            self._pipe.send_bytes(_ASKED.pack(round_, len(clients)))
        self._work(0, self._half, round_, len(clients))
        if self._pipe is not None:
            self._pipe.recv_bytes()
            np.add(self._totals[0], self._totals[1], out=self._totals[0])
        examples = float(self._sizes[clients].sum())
        self._apply(self._model, self._totals[0], examples)
        return float(self._losses.sum()) / examples

    def _serve(self, make: Callable[[], Half], pipe: Connection) -> None:
        if self._pipe is not None:
            self._pipe.close()  # or this process would not notice that the other has gone
        half = make()
        try:
            while True:
                self._work(1, half, *_ASKED.unpack(pipe.recv_bytes()))
                pipe.send_bytes(b"done")
        except EOFError:
            return

    def _work(self, place: int, half: Half, round_: int, count: int) -> None:
        half.load(self._model)
        loss = 0.0
        while (turn := self._taken()) < count:
            loss += half.train(self._cohort[turn : min(turn + self._chunk, count)].tolist(), round_)
        half.give(self._totals[place])
        self._losses[place] = loss

    def _taken(self) -> int:
        with self._next.get_lock():
            turn: int = self._next.value
            self._next.value = turn + self._chunk
        return turn


def shared(length: int, dtype: npt.DTypeLike) -> Array:
    """Zeros that a forked process sees too."""
    kind = np.dtype(dtype)
    return np.frombuffer(mmap.mmap(-1, max(length * kind.itemsize, 1)), kind, length)
