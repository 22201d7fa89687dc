"""When an ask is complete, and which answers count: the one place that decides it."""

from __future__ import annotations

from collections.abc import Mapping

from hansa.core.ask import Status
from hansa.protocol.effects import TellChild
from hansa.protocol.facts import Asked, Closed, Fate
from hansa.protocol.run import Run, Visit
from hansa.protocol.turn import Turn


def close_if_due(turn: Turn, _event: object = None) -> None:
    """Close the present ask, if it is complete."""
    run, asked = turn.run, turn.run.asked
    if asked is None or run.closed is not None:
        return
    fates = _closing(run, asked, turn.now)
    if fates is not None:
        closed = Closed(run.id, asked.ask, fates)
        turn.record(closed)
        turn.do(close(run, closed))


def close(run: Run, closed: Closed) -> TellChild:
    """What the Aggregator is told when an ask has closed."""
    fates = [[fate.ask, fate.client, fate.status.value, fate.why] for fate in closed.fates]
    return TellChild(run.id, {"close": {"ask": closed.ask, "fates": fates}})


def _closing(run: Run, asked: Asked, now: float) -> tuple[Fate, ...] | None:
    """The fates with which the ask closes, in the order in which they count; None while it is not complete."""
    fates = {key: visit.fate for key, visit in run.of_ask().items()}
    known = {key: fate for key, fate in fates.items() if fate is not None}
    updated = sum(fate.status is Status.UPDATED for fate in known.values())
    everyone, enough = len(known) == len(fates), updated >= asked.count
    if asked.kind == "first":
        return _first(run, known, asked.count) if everyone or enough else None
    judging = any(visit.came is not None and key not in known for key, visit in run.of_ask().items())
    overdue = asked.kind == "quorum" and bool(asked.deadline) and now >= asked.deadline and not judging
    if everyone or (overdue and enough):
        return tuple(fate or _missed(run.visits[key]) for key, fate in fates.items())
    return None


def _first(run: Run, known: Mapping[tuple[int, str], Fate], count: int) -> tuple[Fate, ...]:
    """The answers in the order in which they came, up to the one that completes the count."""

    def order(key: tuple[int, str]) -> int:
        answer = run.visits[key].came
        return answer.order if answer else 0

    fates, updated = [], 0
    for key in sorted(known, key=order):
        if updated == count:
            break
        updated += known[key].status is Status.UPDATED
        fates.append(known[key])
    return tuple(fates)


def _missed(visit: Visit) -> Fate:
    """What becomes of a visit whose answer does not count any more."""
    if visit.came is not None:
        return Fate(visit.asked.ask, visit.part.client, Status.LATE, "its answer came just before the ask was closed")
    return Fate(visit.asked.ask, visit.part.client, Status.DROPPED, "it had not answered when the ask was closed")
