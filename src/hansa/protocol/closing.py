"""When an ask is complete, and which answers count: the one place that decides it.

Time is a part of that, and every moment follows from facts: a deadline from the ask, the end of a grace from when the last
needed update came, the end of patience with a client from when it was asked. So a Director that was killed closes alike when
it is back; only patience begins anew then, for who could not reach it could not answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from hansa.core.ask import Status
from hansa.protocol.effects import TellChild
from hansa.protocol.facts import Asked, Came, Closed, Fate
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


def moments(run: Run) -> Iterator[float]:
    """When time alone may complete the present ask, in seconds since 1970; some may have passed, or never come."""
    asked = run.asked
    if asked is None or run.closed is not None:
        return
    if asked.kind == "first":
        yield from (patient_until(run, visit) for visit in run.of_ask().values() if visit.came is None)
    elif asked.kind == "quorum":
        yield asked.deadline or math.inf
        yield grace_until(run, asked)


def patient_until(run: Run, visit: Visit) -> float:
    """When a client that was asked has not answered for too long; infinite for never."""
    return max(visit.asked.at, run.restarted) + visit.asked.patience


def grace_until(run: Run, asked: Asked) -> float:
    """When the grace of a quorum is over; infinite while it has not begun, or where there is none."""
    last = _last_needed(run.of_ask().values(), asked.count) if asked.grace < math.inf else None
    return math.inf if last is None else last.at + asked.grace


def _closing(run: Run, asked: Asked, now: float) -> tuple[Fate, ...] | None:
    """The fates with which the ask closes, in the order in which they count; None while it is not complete."""
    if asked.kind == "first":
        return _first(run, asked, now)
    if asked.kind == "quorum":
        return _quorum(run, asked, now)
    fates = [visit.fate for visit in run.of_ask().values()]
    known = tuple(fate for fate in fates if fate is not None)
    return known if len(known) == len(fates) else None


def _quorum(run: Run, asked: Asked, now: float) -> tuple[Fate, ...] | None:
    """Complete with everyone's answers, or with enough of them when the deadline or the grace has passed.

    An answer that came in time is judged before it is; one that came after the grace is late, whatever it is.
    """
    visits = run.of_ask()
    last = _last_needed(visits.values(), asked.count)
    late = {key for key, visit in visits.items() if last is not None and _after_grace(visit, last, asked.grace)}
    in_time = [visit for key, visit in visits.items() if key not in late]
    missing = sum(visit.came is None for visit in in_time)
    judging = sum(visit.came is not None and visit.fate is None for visit in in_time)
    overdue = bool(asked.deadline) and now >= asked.deadline
    graced = last is not None and now >= last.at + asked.grace
    if judging or (missing and not (last is not None and (overdue or graced))):
        return None
    return tuple(
        (visit.fate if key not in late else _late(visit, asked)) or _dropped(visit, _MISSED)
        for key, visit in visits.items()
    )


def _last_needed(visits: Iterable[Visit], count: int) -> Came | None:
    """The answer that completed the count, by the order in which they came; None while there is none, or nobody knows."""
    updated = 0
    for visit, answer in sorted(
        ((visit, visit.came) for visit in visits if visit.came), key=lambda pair: pair[1].order
    ):
        if visit.fate is None:
            return None
        updated += visit.fate.status is Status.UPDATED
        if updated == count:
            return answer
    return None


def _after_grace(visit: Visit, last: Came, grace: float) -> bool:
    """Whether an answer came when those that were needed had, and the grace was over."""
    answer = visit.came
    return answer is not None and answer.order > last.order and answer.at >= last.at + grace


def _first(run: Run, asked: Asked, now: float) -> tuple[Fate, ...] | None:
    """Complete with enough updates, or with one, where nobody is left to wait for.

    Who has not answered for too long is dropped with it. But while there is no update at all the ask stays open: there is
    nothing to tell the algorithm, and where nobody answers it may be the Director that is cut off.
    """
    visits = run.of_ask()
    known = {key: visit.fate for key, visit in visits.items() if visit.fate is not None}
    overdue = [v for v in visits.values() if v.came is None and now >= patient_until(run, v)]
    updated = sum(fate.status is Status.UPDATED for fate in known.values())
    nobody_left = len(known) + len(overdue) == len(visits) and (updated > 0 or not overdue)
    if updated < asked.count and not nobody_left:
        return None
    dropped = (_dropped(v, f"it did not answer within {v.asked.patience:g} s") for v in overdue)
    return (*_in_order(visits, known, asked.count), *dropped)


def _in_order(
    visits: Mapping[tuple[int, str], Visit], known: Mapping[tuple[int, str], Fate], count: int
) -> Iterator[Fate]:
    """The answers in the order in which they came, up to the one that completes the count."""

    def order(key: tuple[int, str]) -> int:
        answer = visits[key].came
        return answer.order if answer else 0

    updated = 0
    for key in sorted(known, key=order):
        if updated == count:
            break
        updated += known[key].status is Status.UPDATED
        yield known[key]


_MISSED = "it had not answered when the ask was closed"


def _dropped(visit: Visit, why: str) -> Fate:
    return Fate(visit.asked.ask, visit.part.client, Status.DROPPED, why)


def _late(visit: Visit, asked: Asked) -> Fate:
    grace = f", and {asked.grace:g} s of grace were over" if asked.grace else ""
    why = f"when it answered, the {asked.count} updates that were needed had come{grace}"
    return Fate(visit.asked.ask, visit.part.client, Status.LATE, why)
