"""The federation as a whole: one Director, its Envoys, people, faults; from a seed to the end of the last run.

World(drawn(17)).play()      # returns where all is well, and raises `Violated` where a promise is broken
"""

from __future__ import annotations

import random
from typing import Any

from hansa.protocol.envoy import JobPhase
from hansa.protocol.run import Phase
from hansa.testing.world.centre import Centre
from hansa.testing.world.checks import Checks, Violated
from hansa.testing.world.clock import Clock
from hansa.testing.world.disk import Library
from hansa.testing.world.network import Network
from hansa.testing.world.owner import Owner
from hansa.testing.world.people import People
from hansa.testing.world.plan import CALM, START, Plan, RunPlan

PATIENCE = 1500.0
"""Seconds after the faults ceased by which every run is over that can be."""

QUIET = 150.0
"""Seconds after the last run by which everyone has forgotten it."""

LIVELY = 20_000
"""So many things happen at most; more is a loop."""


class World:
    """One schedule.

    Args:
        plan: what it is about.
        tracing: whether to keep what happens, for people.
    """

    def __init__(self, plan: Plan, *, tracing: bool = False) -> None:
        self.plan, self.tracing = plan, tracing
        self.lines: list[str] = []
        self.rng = random.Random(f"world {plan.seed}")  # noqa: S311 - not a secret
        self.clock = Clock(START)
        self.library = Library()
        self.network = Network(self.clock, self.rng, plan.faults, self.strikes)
        self.checks = Checks(self)
        self.centre = Centre(self)
        self.owners = {name: Owner(self, name) for name in plan.clients}
        self.submitted: set[str] = set()
        self.removed: set[str] = set()
        self.revoked: set[str] = set()
        self._experiments = {run.run: run for run in plan.runs}

    def strikes(self, probability: float) -> bool:
        """Whether a fault happens now; after a while none do."""
        return probability > 0 and self.clock.now < CALM and self.rng.random() < probability

    def experiment(self, run: str) -> RunPlan:
        """What was submitted as a run."""
        return self._experiments[run]

    def trace(self, who: str, *what: object) -> None:
        """Keep a line for people."""
        if self.tracing:
            self.lines.append(f"{self.clock.now - START:9.2f} {who:9} {' '.join(map(str, what))}")

    def play(self) -> None:
        """From the beginning to the end.

        Raises:
            Violated: a promise is broken.
        """
        self.centre.start()
        for owner in self.owners.values():
            owner.start()
        self.people = People(self)
        self._until(CALM + PATIENCE, self._over)
        if not self._over():
            self._end_what_cannot()
            self._until(self.clock.now + PATIENCE, self._over)
        if not self._over():
            raise Violated("runs do not end: " + ", ".join(f"{run.id} is {run.phase}" for run in self._open()))
        self._until(max(self.clock.now, CALM) + QUIET, lambda: False)
        while not self.centre.up:
            self.clock.step()
        self.checks.at_the_end()

    def _until(self, time: float, done: Any) -> None:
        revoked = False
        while self.clock.now < time and not done():
            self.clock.step()
            self.checks.in_time(self.centre)
            if self.clock.happened > LIVELY:
                raise Violated(f"after {LIVELY} events it still goes on")
            if self.clock.now > CALM and not revoked:  # nobody waits for one who has left for ever
                revoked = True
                for name, owner in self.owners.items():
                    if owner.gone:
                        self.people.revoke(name)

    def _open(self) -> list[Any]:
        return [run for run in self.centre.machine.runs.values() if not run.phase.over]

    def _over(self) -> bool:
        waiting = self.plan.runs and not self.submitted.issuperset(self._experiments)
        return self.centre.up and not waiting and not self._open()

    def _end_what_cannot(self) -> None:
        """A run whose Envoys are too few waits for more; its user has had enough."""
        here = [owner for name, owner in self.owners.items() if name not in self.revoked]
        for run in self._open():
            jobs = [owner.machine.jobs.get(run.id) for owner in here]
            willing = [job for job in jobs if job is not None and job.phase is not JobPhase.REFUSED]
            queued = run.phase is Phase.QUEUED
            if queued or (run.phase is Phase.GATHERING and len(willing) < run.submission.at_least):
                self.trace("user", "gives up on", run.id)
                self.people.cancel(run.id)
