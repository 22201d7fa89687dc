"""The floors in PyTorch: `python -m benchmarks.simulation.floors_torch WORKLOAD KIND FOLDER [WORKERS]` is a contestant.

What an expert would write for one workload: two single-threaded processes, the parameters views of one flat tensor, a client's
epoch gathered at once and trained on by slices, the weighted sum taken of the flat tensor. Kinds differ in the step alone:
"autograd" and "autograd-bf16" (`floor_autograd`), "hand" (`floor_by_hand`), "exact" (`floor_exact`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.simulation import floor_autograd, floor_by_hand, floor_exact, workloads
from benchmarks.simulation.contestant import Rounds, serve
from benchmarks.simulation.flat import Flat
from benchmarks.simulation.order import order
from benchmarks.simulation.pair import Array, Pair, mean_change, mean_of_models
from benchmarks.simulation.workloads import WORKLOADS, Workload

Step = Callable[[Tensor, Tensor], Tensor]
"""One batch: changes the flat parameters, and gives the mean loss before."""


class TorchHalf:
    """One process: see `Half`."""

    def __init__(self, workload: Workload, kind: str, data: tuple[Array, Array]) -> None:
        torch.set_num_threads(1)
        self._workload, self._exact = workload, kind == "exact"
        self._x, self._y = (torch.from_numpy(each) for each in data)
        self._rows = [workload.rows(client) for client in range(workload.clients)]
        self._flat = Flat.of(workload.network, channels_last=not self._exact)
        self._sum = torch.zeros_like(self._flat.values, dtype=torch.float64 if self._exact else torch.float32)
        self._begin, self._step = stepping(workload, kind, self._flat)
        self._mode = (
            torch.inference_mode if kind == "hand" else torch.no_grad
        )  # which costs less, but allows no autograd

    def load(self, model: Array) -> None:
        self._start = torch.from_numpy(model)
        self._sum.zero_()

    def train(self, clients: list[int], round_: int) -> float:
        with self._mode():
            return self._train(clients[0], round_)

    def _train(self, client: int, round_: int) -> float:
        rows = self._rows[client]
        shuffled = torch.from_numpy(rows[order(client, round_, len(rows))])
        x, y = self._x.index_select(0, shuffled), self._y.index_select(0, shuffled)
        self._flat.values.copy_(self._start)
        self._begin()
        size, loss = self._workload.batch, torch.zeros(())
        for images, labels in zip(torch.split(x, size), torch.split(y, size), strict=True):
            loss.add_(self._step(images, labels), alpha=len(labels))
        if self._exact:
            self._sum += (self._flat.values - self._start).double() * len(rows)
        else:
            self._sum.add_(self._flat.values, alpha=len(rows))
        return float(loss)

    def give(self, total: Array) -> None:
        torch.from_numpy(total).copy_(self._sum)


def stepping(workload: Workload, kind: str, flat: Flat) -> tuple[Callable[[], None], Step]:
    """(what resets the optimiser for the next client, the step) of a kind."""
    if kind == "hand":
        return floor_by_hand.stepping(workload, flat)
    if kind == "exact":
        return floor_exact.stepping(workload, flat)
    return floor_autograd.stepping(workload, flat, bf16=kind == "autograd-bf16")


def begin(workload: Workload, kind: str, folder: Path, workers: int = 2) -> Callable[[], Rounds]:
    """What makes the first round's pair."""
    data = workloads.pool(folder)

    def pair() -> Rounds:
        torch.set_num_threads(1)
        exact = kind == "exact"
        initial = Flat.of(workload.network, channels_last=not exact).read(np.load(folder / "initial.npz"))
        return Pair(
            lambda: TorchHalf(workload, kind, data),
            initial,
            workload.sizes,
            apply=mean_change if exact else mean_of_models,
            dtype=np.float64 if exact else np.float32,
            workers=workers,
        )

    return pair


if __name__ == "__main__":
    serve(begin(WORKLOADS[sys.argv[1]], sys.argv[2], Path(sys.argv[3]), *map(int, sys.argv[4:])))
