"""What a story for a state machine is made of: events that may be anything, and those that would come next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Next:
    """What would come next, of a kind; `pick` chooses among several."""

    kind: str
    pick: int


@dataclass(frozen=True)
class Act:
    """Something happens, after so many seconds; where `crash` is a number, only so many effects are done."""

    event: Any
    after: float
    crash: int | None
