"""Telling callbacks of a run. A callback's mistake costs nobody the run, and is never passed over in silence.

What `started` raises ends the run before it began: nothing is lost yet. What is raised later is a warning at once, the first
time that a callback raises it, and another at the end says how often it happened; the run goes on, and so does the callback.
"""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from collections.abc import Callable, Sequence

from hansa.callbacks.port import Callback, ShowsProgress, Watched
from hansa.core.history import Entry
from hansa.errors import HansaError


class CallbackFailed(UserWarning):
    """A callback raised. The run goes on."""


class Told:
    """The callbacks of one run, told of its moments in their order, and of its end in the reverse order.

    Args:
        run: what they watch.
        callbacks: who watches.
    """

    def __init__(self, run: Watched, callbacks: Sequence[Callback]) -> None:
        self.callbacks = tuple(callbacks)
        self._run = run
        self._begun: list[Callback] = []
        self._raised: Counter[tuple[str, str]] = Counter()

    def started(self) -> None:
        """Before the first ask. Call `ended` afterwards also where this raises: some may have something open.

        Raises:
            Exception: what a callback raised; those after it are not told.
        """
        for callback in self.callbacks:
            self._begun.append(callback)
            callback.started(self._run)

    def entry(self, entry: Entry) -> None:
        """An ask was closed."""
        for callback in self._begun:
            self._guarded(callback, functools.partial(callback.entry, self._run, entry))

    def answered(self, count: int, of: int) -> None:
        """So many clients of the present ask have answered."""
        for callback in self._begun:
            if isinstance(callback, ShowsProgress):
                self._guarded(callback, functools.partial(callback.answered, count, of))

    def ended(self) -> None:
        """After the last ask, however the run ended. A second call does nothing."""
        begun, self._begun = self._begun, []
        for callback in reversed(begun):
            self._guarded(callback, functools.partial(callback.ended, self._run))
        for (name, said), times in self._raised.items():
            if times > 1:
                warnings.warn(f"{name} failed {times} times in all: {said}", CallbackFailed, stacklevel=3)
        self._raised.clear()

    def _guarded(self, callback: Callback, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as problem:  # noqa: BLE001 - a callback may raise anything; the run is worth more
            said = problem.line if isinstance(problem, HansaError) else f"{type(problem).__name__}: {problem}"
            failure = (type(callback).__name__, said)
            self._raised[failure] += 1
            if self._raised[failure] == 1:
                warnings.warn(f"{failure[0]} failed, and the run goes on: {said}", CallbackFailed, stacklevel=4)
