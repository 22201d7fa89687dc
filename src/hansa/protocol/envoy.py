"""The Envoy's state machine: what it was offered, what its clients are asked, and their private state.

`handle(event, now) -> effects`, by two tables of `(phase, event) -> handler`: `jobs.TABLE` for a run that was offered, and
`tasks.TABLE` for what a client was asked. This file says which events go to which table, in which order, and keeps the session;
what follows from an event for a run or a client is decided there. It does no input or output and reads no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hansa.protocol import jobs, tasks
from hansa.protocol.effects import Discard, Say
from hansa.protocol.envoy_events import Cut, Decided, Died, Fetched, Hears, Passes, Prepared, Worked
from hansa.protocol.envoy_state import EnvoyState, Job, JobPhase, Kept, Task, TaskPhase
from hansa.protocol.messages import Assign, Beat, Holding, Offer, Over, Settled, Welcome
from hansa.protocol.tasks import ATTEMPTS

__all__ = [
    "ATTEMPTS",
    "Cut",
    "Decided",
    "Died",
    "Envoy",
    "Fetched",
    "Hears",
    "Job",
    "JobPhase",
    "Kept",
    "Passes",
    "Prepared",
    "Task",
    "TaskPhase",
    "Worked",
]


class Envoy:
    """Everything that an Envoy knows.

    Args:
        facts: what it wrote down before, in order.

    Attributes:
        jobs, tasks, kept, settled: see `EnvoyState`; to look at only.
        up: there is a session.
        beat: how often the Director wants a sign of life, in seconds.
        next_beat: when the next is due, in seconds since 1970.
    """

    def __init__(self, facts: Iterable[object] = ()) -> None:
        self._state = EnvoyState(facts)
        self.jobs, self.tasks = self._state.jobs, self._state.tasks
        self.kept, self.settled = self._state.kept, self._state.settled
        self.up, self.beat, self.next_beat = False, 20.0, 0.0

    def handle(self, event: Any, now: float) -> list[Any]:
        """What is to be done, in this order. `now` is in seconds since 1970."""
        before, self._state.effects = self.needed(), []
        what = event.message if isinstance(event, Hears) else event
        self._ROUTES[type(what)](self, what, now)
        gone = before.keys() - self.needed().keys()
        return [*self._state.effects, *(Discard(before[blob], frozenset([blob])) for blob in sorted(gone))]

    @property
    def wake(self) -> float:
        """When the next sign of life is due, in seconds since 1970; infinite while there is no session."""
        return self.next_beat if self.up else float("inf")

    def needed(self) -> dict[str, str]:
        """The blobs that must stay on disk, each with its run."""
        return self._state.needed()

    # --- the session

    def _welcome(self, welcome: Welcome, now: float) -> None:
        self.up, self.beat = True, welcome.beat
        self._says_what_it_has(now)
        self._to_tasks(welcome, self.tasks)

    def _cut(self, _event: Cut, _now: float) -> None:
        self.up = False

    def _passes(self, _event: Passes, now: float) -> None:
        if self.up and now >= self.next_beat:
            self._says_what_it_has(now)

    def _says_what_it_has(self, now: float) -> None:
        self.next_beat = now + self.beat
        answered = [
            Holding(run, int(ask), client, answered=True)
            for (run, client), kept in self.kept.items()
            for ask in kept.pending
        ]
        open_still = [
            Holding(run, task.assign.ask, client, answered=False)
            for (run, client), task in self.tasks.items()
            if task.phase is not TaskPhase.ANSWERED
        ]
        keeping = dict.fromkeys(run for run, _ in self.kept)
        self._state.do(Say(Beat(now, tuple(self.jobs), tuple(keeping), (*answered, *open_still))))

    # --- the tables

    def _offer(self, offer: Offer, _now: float) -> None:
        jobs.step(self._state, offer.run, offer)

    def _job(self, event: Decided | Prepared, _now: float) -> None:
        jobs.step(self._state, event.run, event)
        refused = self._state.stands(event.run) is JobPhase.REFUSED
        self._to_tasks(Over(event.run, "refused") if refused else event, self._tasks_of(event.run))

    def _over(self, over: Over, _now: float) -> None:
        self._to_tasks(over, self._tasks_of(over.run))
        jobs.step(self._state, over.run, over)

    def _assign(self, assign: Assign, _now: float) -> None:
        for settled in assign.previous:
            tasks.step(self._state, settled.run, settled.ask, settled.client, settled)
        if self._state.late(assign):
            return
        if self._state.stands(assign.run) is JobPhase.REFUSED:
            jobs.step(self._state, assign.run, assign)
        else:
            tasks.step(self._state, assign.run, assign.ask, assign.client, assign)

    def _task(self, event: Settled | Fetched | Died, _now: float) -> None:
        tasks.step(self._state, event.run, event.ask, event.client, event)

    def _worked(self, event: Worked, _now: float) -> None:
        fact = event.answered
        tasks.step(self._state, fact.run, fact.ask, fact.client, event)

    def _tasks_of(self, run: str) -> list[tuple[str, str]]:
        return [key for key in self.tasks if key[0] == run]

    def _to_tasks(self, event: Welcome | Decided | Prepared | Over, keys: Iterable[tuple[str, str]]) -> None:
        for run, client in list(keys):
            tasks.step(self._state, run, self.tasks[run, client].assign.ask, client, event)

    _ROUTES: Mapping[type, Any] = {
        Welcome: _welcome,
        Cut: _cut,
        Passes: _passes,
        Offer: _offer,
        Decided: _job,
        Prepared: _job,
        Over: _over,
        Assign: _assign,
        Settled: _task,
        Fetched: _task,
        Worked: _worked,
        Died: _task,
    }
