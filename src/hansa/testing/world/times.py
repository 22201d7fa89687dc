"""When an ask may close, must close, and with whom: said a second time, from what was written down and nothing else.

This file must not know how the Director's machine decides it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hansa.core.ask import Status
from hansa.protocol.facts import Asked, Came, Closed, Fate
from hansa.protocol.run import Run, Visit

Asks = Mapping[tuple[str, int], Asked]
"""By run and number."""

Answers = Mapping[tuple[str, int, str], Came]
"""By run, ask and client."""

LATE = 1.0
"""Seconds after its time is over by which an ask that has enough is closed."""


def wrong(fact: Closed, asks: Asks, came: Answers, now: float, begun: float) -> str:
    """What is wrong with how an ask closes, in a Director that was started at `begun`; empty where nothing is."""
    asked = asks[fact.run, fact.ask]
    updated = [fate for fate in fact.fates if fate.status is Status.UPDATED]
    missed = [fate for fate in fact.fates if fate.status in (Status.DROPPED, Status.LATE)]
    if asked.kind == "first":
        return _first(fact, asks, updated, missed, now, begun)
    if sorted((fate.ask, fate.client) for fate in fact.fates) != sorted(
        (asked.ask, part.client) for part in asked.parts
    ):
        return "closed for others"
    if asked.kind == "all":
        return "closed too soon" if missed else ""
    order = sorted((came[fact.run, fate.ask, fate.client] for fate in updated), key=lambda answer: answer.order)
    grace = order[asked.count - 1].at + asked.grace if len(order) >= asked.count else math.inf
    overdue = bool(asked.deadline) and now >= asked.deadline and len(updated) >= asked.count
    if missed and not overdue and now < grace:
        return "closed too soon"
    if asked.grace == 0 and len(updated) > asked.count:
        return "more count than were waited for"
    for fate in missed:
        answer = came.get((fact.run, fate.ask, fate.client))
        if fate.status is Status.LATE and (answer is None or answer.at < grace):
            return f"it came in time, and is late: {fate}"
    return ""


def _first(fact: Closed, asks: Asks, updated: Sequence[Fate], missed: Sequence[Fate], now: float, begun: float) -> str:
    if len(updated) > asks[fact.run, fact.ask].count:
        return "more count than were waited for"
    for fate in missed:
        asked = asks[fact.run, fate.ask]
        if fate.status is Status.LATE or now < max(asked.at, begun) + asked.patience:
            return f"given up before its patience was over: {fate}"
    return ""


def overdue(run: Run, now: float, begun: float) -> bool:
    """Whether the present ask has enough, all that came is judged, its time is over, and it is open still."""
    if run.asked is None or run.closed is not None or run.asked.kind == "all":
        return False
    visits = list(run.of_ask().values())
    if any(visit.came is not None and visit.fate is None for visit in visits):
        return False
    usable = [visit.came for visit in visits if visit.fate is not None and visit.fate.status is Status.UPDATED]
    answers = sorted((came for came in usable if came is not None), key=lambda came: came.order)
    if run.asked.kind == "first":
        return len(answers) >= run.asked.count or (bool(answers) and _all_overdue(visits, now, begun))
    if len(answers) < run.asked.count:
        return False
    return now > LATE + min(run.asked.deadline or math.inf, answers[run.asked.count - 1].at + run.asked.grace)


def _all_overdue(visits: Sequence[Visit], now: float, begun: float) -> bool:
    asks = [visit.asked for visit in visits if visit.came is None]
    return all(now > LATE + max(asked.at, begun) + asked.patience for asked in asks)
