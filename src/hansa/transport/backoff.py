"""How long to wait before dialling again. Pure: the generator is passed in, and nobody waits here."""

from __future__ import annotations

import random
from collections.abc import Iterator

FIRST = 0.1
"""Seconds before the first attempt, at most."""

LONGEST = 15.0
"""Seconds before any attempt, at most."""


def delays(generator: random.Random) -> Iterator[float]:
    """Endless delays in seconds, each uniform between 0 and a bound that doubles from `FIRST` to `LONGEST`.

    With such full jitter the clients of a server that comes back spread over the whole interval, instead of knocking in step.

    Args:
        generator: the client's own, so that no two clients draw the same.

    References:
        Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    bound = FIRST
    while True:
        yield generator.uniform(0.0, bound)
        bound = min(2 * bound, LONGEST)
