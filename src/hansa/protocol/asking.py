"""While a run runs: what its Aggregator wants, and who stops it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from hansa.protocol.closing import close, close_if_due
from hansa.protocol.effects import Changed, Send, StartChild, TellChild
from hansa.protocol.events import Asks, Cancel, ChildEnds, Fails, Finishes, Judges, Restarts, Share, Tells
from hansa.protocol.facts import Asked, Part, Shared
from hansa.protocol.messages import Settled
from hansa.protocol.run import Phase, Run
from hansa.protocol.turn import Turn
from hansa.protocol.visiting import arrived, assign_all

CRASHES = 5
"""An Aggregator that died so often without any progress is not started again."""


def asks(turn: Turn, event: Asks) -> None:
    """A new ask is written down before it is sent; one that was asked before goes on where it stood."""
    if turn.run.asked is None:
        if wrong := _wrong(turn.run, event):
            fails(turn, Fails(f"round {event.round}, work {event.work!r}: the ask names {wrong}"))
            return
        turn.record(_asked(turn, event))
        for envoy in dict.fromkeys(visit.part.envoy for visit in turn.run.of_ask().values()):
            assign_all(turn, envoy)
    for visit in turn.run.of_ask().values():
        if visit.came is not None:
            turn.do(arrived(turn.run, visit))
    if turn.run.closed is not None:
        turn.do(close(turn.run, turn.run.closed))
    close_if_due(turn)


def _wrong(run: Run, event: Asks) -> str:
    """Why a cohort cannot be asked, for a message; empty where it can. It may be empty while others are at the work."""
    if not event.parts and not (event.closing.kind == "first" and run.population()["in_flight"].get(event.work)):
        return "nobody, and nobody is at this work"
    cohort, free = [client for client, _, _ in event.parts], set(run.population()["ids"])
    if unknown := [client for client in cohort if client not in free]:
        return f"clients that nobody has, or that are busy: {', '.join(unknown[:10])}"
    twice = {client for client in cohort if cohort.count(client) > 1} if len(set(cohort)) < len(cohort) else set()
    return f"clients twice: {', '.join(sorted(twice)[:10])}" if twice else ""


def _asked(turn: Turn, event: Asks) -> Asked:
    run, population = turn.run, turn.run.population()
    homes = {client: name for name, member in run.members.items() for client in member.clients}
    cohort = tuple(
        Part(client, homes[client], run.occurrence(client, event.work, event.round), settings, inputs)
        for client, settings, inputs in event.parts
    )
    closing = event.closing
    deadline = 0.0 if closing.deadline is None else turn.now + closing.deadline
    return Asked(
        run.id,
        run.asks + 1,
        event.work,
        event.round,
        event.version,
        closing.kind,
        closing.count,
        deadline,
        turn.now,
        event.broadcast,
        cohort,
        json.dumps(population, separators=(",", ":"), sort_keys=True),
        math.inf if closing.grace is None else closing.grace,
        math.inf if closing.patience is None else closing.patience,
        closing.retries,
    )


def judges(turn: Turn, event: Judges) -> None:
    """The gate's verdict. It is not written down: the gate would say the same again."""
    visit = turn.run.visits.get((event.ask, event.client))
    if visit is None or visit.came is None:
        return
    judged = replace(visit, judged=True, refusal=event.refusal)
    turn.run = replace(turn.run, visits={**turn.run.visits, (event.ask, event.client): judged})
    close_if_due(turn)


def tells(turn: Turn, event: Tells) -> None:
    """The algorithm's new state is on disk; now every client may know what became of its answer."""
    run, told = turn.run, event.told
    if run.closed is None or told.ask != run.closed.ask:
        return
    if {(fate.ask, fate.client) for fate in told.fates} != {(fate.ask, fate.client) for fate in run.closed.fates}:
        fails(turn, Fails(f"the Aggregator told of other visits than those with which ask {told.ask} closed"))
        return
    homes = {key: visit.part.envoy for key, visit in run.visits.items()}
    turn.record(told)
    for fate in told.fates:
        turn.do(Send(homes[fate.ask, fate.client], Settled(run.id, fate.ask, fate.client, fate.status)))
    turn.do(TellChild(run.id, {"kept": [tree.sha256 for tree in told.trees]}), Changed(run.id))


def finishes(turn: Turn, _event: Finishes) -> None:
    """The algorithm wants nothing more."""
    turn.end(Phase.FINISHED, "", turn.run.model)


def fails(turn: Turn, event: Fails) -> None:
    """The run came to nothing; the last good model is kept."""
    turn.end(Phase.FAILED, event.why, event.model or turn.run.model, event.entry)


def child_ends(turn: Turn, event: ChildEnds) -> None:
    """The Aggregator died: it starts again from the last state, unless it dies again and again without any progress."""
    crashes = turn.run.crashes + 1
    visits = {key: replace(visit, judged=False, refusal="") for key, visit in turn.run.visits.items()}
    turn.run = replace(turn.run, crashes=crashes, visits=visits, wanting=None)
    if crashes > CRASHES:
        fails(turn, Fails(f"the Aggregator died {crashes} times without any progress, the last time: {event.why}"))
    else:
        turn.do(StartChild(turn.run.id))


def restarts(turn: Turn, _event: Restarts) -> None:
    """The Director was started again. Who could not reach it meanwhile has the ask's patience anew."""
    turn.run = replace(turn.run, restarted=turn.now)
    turn.do(StartChild(turn.run.id))


# --- users


def cancel(turn: Turn, event: Cancel) -> None:
    """Somebody who may stops it."""
    last = turn.run.told.model if turn.run.told else None
    why = f"cancelled by {event.by}" + (f": {event.why}" if event.why else "")
    turn.end(Phase.CANCELLED, why, last)


def share(turn: Turn, event: Share) -> None:
    """Another user may see it."""
    turn.record(Shared(turn.run.id, event.user))
