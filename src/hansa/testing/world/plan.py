"""What one schedule is about, drawn from its seed: who takes part, what is submitted, and what goes wrong how often.

This file must not know how any of it is carried out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import get_args

from hansa.core.ask import Kind

CALM = 1200.0
"""When the faults cease, in seconds; time begins at `START`."""

START = 1000.0


@dataclass(frozen=True, slots=True)
class RunPlan:
    """An experiment that is submitted.

    Attributes:
        run: its id.
        at: when, in seconds.
        kind: how its training asks close: "all", "quorum" or "first".
        count: how many updates are enough; for "all" it means nothing.
        deadline: of a quorum, in seconds after the ask.
        grace: of a quorum, in seconds after its last needed update.
        patience: where asks close on the first, in seconds.
        retries: so many times a client whose work failed tries again.
        rounds: how many.
        works: what is asked in each round, in order.
        named: whether its Envoys are chosen by name.
        at_least: so many Envoys must take part.
        held: whether the Director's owner has to release it, and whether that happens.
        released: whether that happens.
        hard: whether clients fail at it, and send what the gate refuses, now and then.
        cancelled: when its owner stops it, or begins to look for a moment to do so; None for never.
        abruptly: it is stopped while its Aggregator talks.
        removed: whether its owner has it forgotten in the end.
    """

    run: str
    at: float
    kind: Kind
    count: int
    deadline: float | None
    grace: float | None
    patience: float | None
    retries: int
    rounds: int
    works: tuple[str, ...]
    named: bool
    at_least: int
    held: bool
    released: bool
    hard: bool
    cancelled: float | None
    abruptly: bool
    removed: bool


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what goes wrong, as probabilities, while it does.

    Attributes:
        director: it crashes before an effect is done.
        envoy: likewise.
        aggregator: it crashes when it is told something.
        collaborator: it crashes at a task.
        endless: a task never ends, until its time is up.
        slow: a task takes very long.
        drop: a frame is lost, although the session lives on.
        double: a frame comes twice, perhaps much later.
        reorder: a frame is overtaken by those after it.
        cut: a session breaks when a frame is sent.
        partition: an Envoy is cut off for a while, each time it is looked at.
        refuse: an owner refuses a run.
        person: a person has to look at a run.
        unfit: an environment cannot be made.
        leave: an Envoy goes for good, in the whole schedule.
        revoke: an Envoy's certificate is revoked, in the whole schedule.
    """

    director: float = 0.0
    envoy: float = 0.0
    aggregator: float = 0.0
    collaborator: float = 0.0
    endless: float = 0.0
    slow: float = 0.0
    drop: float = 0.0
    double: float = 0.0
    reorder: float = 0.0
    cut: float = 0.0
    partition: float = 0.0
    refuse: float = 0.0
    person: float = 0.0
    unfit: float = 0.0
    leave: float = 0.0
    revoke: float = 0.0


WORST = Faults(
    director=0.02,
    envoy=0.03,
    aggregator=0.05,
    collaborator=0.25,
    endless=0.1,
    slow=0.3,
    drop=0.1,
    double=0.2,
    reorder=0.2,
    cut=0.05,
    partition=0.1,
    refuse=0.25,
    person=0.7,
    unfit=0.25,
    leave=0.3,
    revoke=0.3,
)
"""The most that happens."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One schedule.

    Attributes:
        seed: that it was drawn from.
        clients: of each Envoy.
        runs: that are submitted.
        faults: how often what goes wrong.
        max_running: so many runs go on at once.
        patience: how long owners have to approve, in seconds.
        beat: from one sign of life to the next, in seconds.
    """

    seed: int
    clients: dict[str, tuple[str, ...]]
    runs: tuple[RunPlan, ...]
    faults: Faults
    max_running: int
    patience: float
    beat: float

    @property
    def everyone(self) -> tuple[str, ...]:
        """All clients, sorted."""
        return tuple(sorted(client for clients in self.clients.values() for client in clients))


def drawn(seed: int) -> Plan:
    """The schedule of a seed."""
    rng = random.Random(f"plan {seed}")  # noqa: S311 - not a secret
    envoys = "abc"[: rng.choice((1, 2, 2, 3, 3))]
    clients: dict[str, tuple[str, ...]] = {
        envoy: (envoy,) if rng.random() < 0.6 else (f"{envoy}/0", f"{envoy}/1") for envoy in envoys
    }
    share = 0.9 if rng.random() < 0.15 else 0.4  # now and then nearly everything goes wrong at once
    active = {name: rng.random() < share for name in Faults.__slots__}
    worst = {name: getattr(WORST, name) for name in Faults.__slots__}
    faults = Faults(**{name: worst[name] * rng.random() if active[name] else 0.0 for name in Faults.__slots__})
    runs = tuple(_run(rng, seed, f"r{number}", len(envoys)) for number in range(1, rng.choice((1, 1, 2, 2, 3)) + 1))
    patience = rng.choice((float("inf"), float("inf"), 60.0))
    return Plan(seed, clients, runs, faults, rng.choice((1, 2)), patience, rng.choice((5.0, 10.0, 20.0)))


def _run(rng: random.Random, seed: int, run: str, envoys: int) -> RunPlan:
    policies = random.Random(f"policies {seed} {run}")  # noqa: S311 - not a secret
    grace = policies.choice((None, None, 0.0, 3.0, 10.0))
    kind = rng.choice(get_args(Kind))
    everyone = kind == "all" or rng.random() < 0.3
    return RunPlan(
        run,
        at=START + rng.random() * 60,
        kind=kind,
        count=rng.randint(1, envoys),
        deadline=None if grace is not None and policies.random() < 0.3 else rng.choice((8.0, 20.0)),
        grace=grace,
        patience=policies.choice((None, 6.0, 20.0, 60.0)),
        retries=policies.choice((0, 0, 1, 2)),
        rounds=rng.randint(1, 4),
        works=rng.choice((("train",), ("train",), ("gradient", "train"), ("train", "train"), ("train", "judge"))),
        named=everyone or rng.random() < 0.3,
        at_least=envoys if everyone else rng.randint(1, envoys),
        held=rng.random() < 0.15,
        released=rng.random() < 0.8,
        hard=kind != "all" and rng.random() < 0.5,
        cancelled=START + rng.random() * 200 if rng.random() < 0.2 else None,
        abruptly=rng.random() < 0.7,
        removed=rng.random() < 0.3,
    )
