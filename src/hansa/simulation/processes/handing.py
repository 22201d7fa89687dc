"""Who is computed next: visits in chunks that shrink toward the end, so that no worker idles for long while another works.

Guided self-scheduling: C. D. Polychronopoulos and D. J. Kuck, 1987; a chunk is a share of what is left. Here it is measured in
examples. This file must not know what a visit is, or who computes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hansa.simulation.visits import Asked

LARGEST = 64
"""As many visits are in a chunk at most."""

FEWEST = 24
"""A worker's part of an ask is not cut into more pieces than about so many: each takes a letter."""


@dataclass(frozen=True, eq=False)
class Errand:
    """A visit to be computed.

    Attributes:
        position: where it stands in its ask.
        visit: the visit.
        cost: how long it takes beside others, such as its number of examples.
    """

    position: int
    visit: Asked
    cost: float


class Handing:
    """The errands that wait.

    Args:
        errands: all of them, in the order in which they are handed out.
        workers: how many compute.
        largest: as many are in a chunk at most.
    """

    def __init__(self, errands: Sequence[Errand], workers: int, largest: int = LARGEST) -> None:
        self._waiting, self._alone = deque(errands), deque[Errand]()
        self._workers, self._largest = workers, largest
        self._cost = sum(errand.cost for errand in errands)
        self._least = self._cost / (FEWEST * workers)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._alone)

    def next(self) -> list[Errand]:
        """The next chunk; empty where none waits."""
        if self._alone:
            return [self._alone.popleft()]
        share, chunk, cost = max(self._least, self._cost / (2 * self._workers)), list[Errand](), 0.0
        while self._waiting and len(chunk) < self._largest and (not chunk or cost + self._waiting[0].cost <= share):
            chunk.append(self._waiting.popleft())
            cost += chunk[-1].cost
        self._cost -= cost
        return chunk

    def put_back(self, errands: Iterable[Errand], *, alone: bool = False) -> None:
        """Jobs that are to be computed again, next; alone: each in a chunk of its own."""
        back = list(errands)
        if alone:
            self._alone.extend(back)
        else:
            self._waiting.extendleft(reversed(back))
            self._cost += sum(errand.cost for errand in back)
