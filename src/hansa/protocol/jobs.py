"""What an Envoy does about a run that it was offered: the table `(phase, event) -> handler`.

    unknown ──Offer──> considering ──> waiting ──> preparing ──> ready
                            └─────────────┴────────────┴───────> refused

It waits only where a person has to decide. From everywhere `Over` leads back to unknown. A pair that the table does not name
changes nothing: the event is a duplicate, late, or of no concern in that phase.

This file must not know what the run's clients are asked (`tasks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hansa.protocol.effects import Consider, Forget, Prepare, Say
from hansa.protocol.envoy_events import Decided, Prepared
from hansa.protocol.envoy_state import EnvoyState, Job, JobPhase
from hansa.protocol.messages import Answer, Assign, Consent, Offer, Over

Handler = Callable[[EnvoyState, Any, Any], Job | None]
"""Of the job as it stands, or None, and the event: the job that follows, or None where the run is forgotten."""

_DECIDED: Mapping[Consent, JobPhase] = {
    Consent.WAITING: JobPhase.WAITING,
    Consent.READY: JobPhase.PREPARING,
    Consent.REFUSED: JobPhase.REFUSED,
}
_SAID: Mapping[JobPhase, Consent] = {
    JobPhase.WAITING: Consent.WAITING,
    JobPhase.READY: Consent.READY,
    JobPhase.REFUSED: Consent.REFUSED,
}


def step(state: EnvoyState, run: str, event: object) -> None:
    """Let something happen to a run."""
    handler = TABLE.get((state.stands(run), type(event)))
    if handler is None:
        return
    job = handler(state, state.jobs.get(run), event)
    if job is not None:
        state.jobs[run] = job
    else:
        state.jobs.pop(run, None)


def offered(state: EnvoyState, _unknown: None, offer: Offer) -> Job:
    """The owner's policy looks at it."""
    state.do(Consider(offer))
    return Job(offer)


def decided(state: EnvoyState, job: Job, event: Decided) -> Job:
    """Whoever agrees is heard of when the environment is there: only then can it work."""
    job = replace(job, phase=_DECIDED[event.consent], why=event.why)
    if job.phase is not JobPhase.PREPARING:
        return says(state, job)
    state.do(Prepare(event.run))
    return job


def prepared(state: EnvoyState, job: Job, event: Prepared) -> Job:
    """It takes part; or it cannot, which is to the Director as if the owner refused."""
    return says(state, replace(job, phase=JobPhase.REFUSED if event.why else JobPhase.READY, why=event.why))


def says(state: EnvoyState, job: Job, _again: Offer | Assign | None = None) -> Job:
    """Say where the owner stands. Who offers again, or asks although it was refused, has not heard it."""
    state.do(Say(Answer(job.offer.run, _SAID[job.phase], job.why)))
    return job


def forgets(state: EnvoyState, job: Job | None, over: Over) -> None:
    """Nothing of the run stays."""
    if state.forget(over.run) or job is not None:
        state.do(Forget(over.run))


_HANDLERS: dict[JobPhase | None, dict[type, Handler]] = {
    None: {Offer: offered, Over: forgets},
    JobPhase.CONSIDERING: {Decided: decided, Over: forgets},
    JobPhase.WAITING: {Offer: says, Decided: decided, Over: forgets},
    JobPhase.PREPARING: {Prepared: prepared, Over: forgets},
    JobPhase.READY: {Offer: says, Over: forgets},
    JobPhase.REFUSED: {Offer: says, Assign: says, Over: forgets},
}
TABLE: Mapping[tuple[JobPhase | None, type], Handler] = {
    (phase, event): handler for phase, handlers in _HANDLERS.items() for event, handler in handlers.items()
}
"""What is done in which phase about which event; None is a run that was not offered. The pairs that are missing are ignored."""
