"""Which pairs of a phase and an event a schedule visits: in the table of a run, and in the two tables of an Envoy.

Those that cannot be visited stand in `IMPOSSIBLE`, each with its reason; the tests see to it that nothing else is missing, and
that none of these is ever visited.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any

from hansa.protocol.envoy import (
    Cut,
    Decided,
    Died,
    Envoy,
    Fetched,
    Hears,
    JobPhase,
    Passes,
    Prepared,
    TaskPhase,
    Worked,
)
from hansa.protocol.events import (
    Answers,
    Asks,
    ChildEnds,
    Consents,
    Event,
    Expelled,
    Fails,
    Finishes,
    Judges,
    Leaves,
    Slot,
    Tells,
    Wants,
)
from hansa.protocol.messages import Assign, Offer, Over, Settled, Welcome
from hansa.protocol.run import Phase

Pair = tuple[str, str, str]
"""The table ("run", "job" or "task"), the phase, and the event; what an Envoy hears is called by its message."""

UNKNOWN = "unknown"
"""The phase of a job or a task that an Envoy does not have."""

_EVERYTHING = (Welcome, Cut, Passes)
_OF_A_RUN = (Offer, Over, Decided, Prepared)
_OF_A_TASK = (Assign, Settled, Fetched, Worked, Died)


def envoy_pairs(envoy: Envoy, event: Any) -> Iterator[Pair]:
    """The pairs that an event visits: of each job and task that it concerns."""
    what = event.message if isinstance(event, Hears) else event.answered if isinstance(event, Worked) else event
    name = type(what if isinstance(event, Hears) else event).__name__
    if isinstance(what, _EVERYTHING):
        yield from (("job", job.phase.value, name) for job in envoy.jobs.values())
        yield from (("task", task.phase.value, name) for task in envoy.tasks.values())
        return
    run = what.offer.run if hasattr(what, "offer") else what.run
    job = envoy.jobs.get(run)
    yield "job", job.phase.value if job else UNKNOWN, name
    if isinstance(what, Offer | Over | Decided | Prepared):
        yield from (("task", task.phase.value, name) for key, task in envoy.tasks.items() if key[0] == run)
    else:
        task = envoy.tasks.get((run, what.client))
        yield "task", task.phase.value if task else UNKNOWN, name


def _all() -> Iterator[Pair]:
    for phase in Phase:
        yield from (("run", phase.value, event.__name__) for event in typing.get_args(Event))
    everywhere, tasks = (*_EVERYTHING, *_OF_A_RUN, *_OF_A_TASK), (*_OF_A_TASK,)
    for job in JobPhase:
        yield from (("job", job.value, event.__name__) for event in everywhere)
    for task in TaskPhase:
        yield from (("task", task.value, event.__name__) for event in everywhere)
    yield from (("job", UNKNOWN, event.__name__) for event in (*_OF_A_RUN, *_OF_A_TASK))
    yield from (("task", UNKNOWN, event.__name__) for event in tasks)


ALL: frozenset[Pair] = frozenset(_all())
"""Every pair that there is."""


_OVER, _WAITS = ("finished", "failed", "cancelled"), ("held", "queued", "gathering")
_LATER = (Wants, Asks, Judges, Tells, Finishes, Fails)
_GROUPS: tuple[tuple[str, tuple[str, ...], tuple[type, ...], str], ...] = (
    (
        "run",
        tuple(phase.value for phase in Phase if phase is not Phase.QUEUED),
        (Slot,),
        "the Director gives a place to a run that is queued, and to no other",
    ),
    ("run", _WAITS, (*_LATER, ChildEnds), "its Aggregator was not started yet"),
    ("run", ("held", "queued"), (Consents,), "no Envoy was offered it yet, so none says anything about it"),
    ("run", _WAITS, (Answers,), "nobody was asked yet"),
    ("run", _OVER, (Leaves, Expelled), "the Director concerns only runs with it that are not over"),
    ("run", ("finished", "failed"), _LATER, "an Aggregator that has said its last word says no other"),
    (
        "job",
        ("considering", "waiting", "ready", "refused"),
        (Prepared,),
        "the environment of a job is prepared once, and whatever was begun for an earlier job of the run ended with it",
    ),
    ("job", (UNKNOWN,), (Prepared,), "what was begun for a run ends when the run is forgotten"),
    (
        "job",
        (UNKNOWN, "considering", "waiting", "preparing", "refused"),
        (Worked, Died),
        "only where a job is ready something works, and a job that was ready stays so until it is forgotten with its works",
    ),
    (
        "job",
        ("waiting",),
        (Assign, Settled, Fetched),
        "who has to ask a person never took part, for what a person decides is remembered",
    ),
    ("task", ("working",), (Prepared,), "its job is ready, and prepared once"),
    (
        "task",
        ("fetched",),
        (Worked, Died),
        "its job is not ready yet, so nothing works for it, nor did for an earlier ask",
    ),
)
IMPOSSIBLE: Mapping[Pair, str] = {
    (table, phase, event.__name__): why
    for table, phases, events, why in _GROUPS
    for phase in phases
    for event in events
}
"""The pairs that no schedule visits, and why. The machines take them all the same: that is tried elsewhere, one by one."""
