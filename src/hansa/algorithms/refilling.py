"""Refilling: whom an asynchronous algorithm asks next, so that enough clients are always at work.

This file must not know what they work on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hansa.core.ask import Cohort
from hansa.core.keys import Key
from hansa.core.population import Population
from hansa.core.sampling import ClientSampler, UniformSampler
from hansa.errors import CohortTooLarge, ConfigError

Samplers = Callable[[int], ClientSampler]
"""A number of clients -> the sampler that draws so many: `UniformSampler` itself, or `WeightedSampler`."""


@dataclass(frozen=True)
class Refill:
    """Ask as many clients as are missing from those at work.

    Attributes:
        concurrency: how many are to be at work at once.
        needed: how many updates an ask closes on.
        sampler: who is drawn, of those that hold training data and are not at work.
    """

    concurrency: int
    needed: int
    sampler: Samplers = UniformSampler

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ConfigError(f"at least one client is at work at once, not {self.concurrency}")
        if self.needed > self.concurrency:
            raise ConfigError(
                f"a round takes {self.needed} updates, and only {self.concurrency} clients are at work at once",
                hint="let more clients work at once (concurrency), or take fewer updates a round (goal)",
            )

    def cohort(self, work: str, population: Population, key: Key) -> Cohort:
        """Those to ask now; nobody where enough are at work, or where everybody is.

        Raises:
            CohortTooLarge: all clients together are fewer than the updates that an ask closes on.
        """
        free, flying = population.holding("train"), population.in_flight.get(work, 0)
        missing = min(self.concurrency - flying, len(free))
        if flying + max(missing, 0) < self.needed:
            raise CohortTooLarge(
                f"a round takes {self.needed} updates, and only {flying + len(free)} clients can be asked",
                hint="take fewer updates a round, or bring more clients into the federation; trainers need data in their "
                "training split",
            )
        return self.sampler(missing).sample(free, key) if missing > 0 else ()
