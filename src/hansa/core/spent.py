"""What a run took until when: rounds, seconds or bytes; and what of it was for nothing.

This file must not know how a History is kept, or drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal, get_args

from hansa.core.entry import Entry
from hansa.core.status import Status
from hansa.errors import UnknownName

Over = Literal["rounds", "seconds", "bytes"]
"""What a run is measured against."""

_UNITS: Mapping[Over, tuple[tuple[float, str], ...]] = {
    "rounds": ((1, "round"),),
    "seconds": ((1, "seconds"), (60, "minutes"), (3600, "hours"), (86400, "days")),
    "bytes": ((1, "bytes"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB")),
}


@dataclass(frozen=True)
class Waste:
    """Visits that did not count.

    Attributes:
        visits: how many, by what became of them: "failed", "rejected", "dropped", "late".
        of: how many visits there were in all.
        up: bytes of the arrays that they sent for nothing, as far as that is known.
    """

    visits: Mapping[str, int] = field(default_factory=dict)
    of: int = 0
    up: int = 0

    @property
    def share(self) -> float:
        """The share of all visits that did not count, in [0, 1]."""
        return sum(self.visits.values()) / self.of if self.of else 0.0


def wasted(entries: Iterable[Entry]) -> Waste:
    """What of a run was for nothing."""
    fates, up = Counter[Status](), 0
    for entry in entries:
        fates.update(outcome.status for outcome in entry.outcomes.values())
        up += entry.wasted
    lost = {status.value: fates[status] for status in Status if status is not Status.UPDATED and fates[status]}
    return Waste(lost, fates.total(), up)


def spent(entries: Iterable[Entry], over: Over) -> list[float]:
    """What had been spent when each entry was written: its round, or all seconds or bytes up to and with it.

    Raises:
        UnknownName: of another `over`.
    """
    if over == "rounds":
        return [entry.round for entry in entries]
    if over == "seconds":
        return list(accumulate(entry.seconds for entry in entries))
    if over == "bytes":
        return list(accumulate(entry.down + entry.up for entry in entries))
    raise UnknownName.among("measure of what a run takes", over, get_args(Over))


def axis(over: Over, largest: float, *, virtual: bool) -> tuple[float, str]:
    """(what to divide by, what an axis says), so that its numbers are ones that people read.

    Args:
        over: what it counts.
        largest: the largest of them.
        virtual: whether seconds are a virtual clock's.
    """
    divisor, name = next((each for each in reversed(_UNITS[over]) if largest >= 2 * each[0]), _UNITS[over][0])
    if over == "bytes":
        return divisor, f"{name} sent and received"
    return divisor, f"virtual {name}" if virtual and over == "seconds" else name
