"""The port between a run and those who watch it: three moments to be told of, and what may be seen and done then.

This file must not know who runs the experiment, a simulation or a real federation, nor who watches.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

from hansa.core.history import Entry, History
from hansa.core.loop import Progress
from hansa.core.tree import Tree

Which = Literal["best", "last"] | int
"""A model of a run: that of its best round, of its last, or of a round by number."""


class Watched(Protocol):
    """A run as a callback sees it."""

    @property
    def id(self) -> str:
        """Of this run alone, and the same again where it goes on after a stop."""
        ...

    @property
    def name(self) -> str:
        """The experiment's, for people."""
        ...

    @property
    def rounds(self) -> int | None:
        """How many there will be, where that is known."""
        ...

    @property
    def history(self) -> History:
        """The run so far. In a simulation its model is today's; that of a real run may be empty: see `model`."""
        ...

    @property
    def progress(self) -> Progress | None:
        """Where the algorithm of a simulation stands; None for a real run, whose Director keeps that, and before it began."""
        ...

    @property
    def remembered(self) -> Any:
        """What a simulation's executor keeps from one ask to the next: private states, visits, updates in flight.

        Values that `hansa.experiment.snapshot.freeze` takes. With `progress` it is all that the same bits need to go on.
        """
        ...

    @property
    def failure(self) -> str:
        """Why the run failed or was cancelled; empty while all is well, and for one that finished or was stopped."""
        ...

    def model(self, which: Which = "last", /) -> Tree:
        """A model of the run; a real run fetches it. Only "last" can be counted on before the run has ended."""
        ...

    def stop(self, why: str, /) -> None:
        """End the run after this ask as one that finished: its History is returned as if these had been all its rounds."""
        ...

    def cancel(self, why: str, /) -> None:
        """End the run as one that was cancelled: `Federation.run` raises RunFailed, which says why."""
        ...


class Callback(Protocol):
    """Watches runs. One that raises is told of the next moment all the same: see `hansa.callbacks.told`."""

    def started(self, run: Watched, /) -> None:
        """Before the first ask, or before the next one where a run goes on. What is raised here stops the run at once."""
        ...

    def entry(self, run: Watched, entry: Entry, /) -> None:
        """An ask was closed; the entry is the History's last."""
        ...

    def ended(self, run: Watched, /) -> None:
        """After the last ask, however the run ended; also when it failed, was cancelled, or was interrupted by Ctrl-C."""
        ...


@runtime_checkable
class ShowsProgress(Protocol):
    """What a callback may have besides: it is told how far the present ask is."""

    def answered(self, count: int, of: int, /) -> None:
        """So many clients of the present ask have answered."""
        ...
