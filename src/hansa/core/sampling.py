"""Client samplers: which clients take part in a round.

A sampler is a pure function of the population and a key, so that a round that is run again asks the same clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hansa.core.ask import Cohort
from hansa.core.ids import SOME, LazyIds
from hansa.core.keys import Key
from hansa.core.population import ClientId, LazySizes, Population
from hansa.errors import CohortTooLarge, ConfigError, UnknownName


class ClientSampler(Protocol):
    """Chooses a cohort."""

    def sample(self, population: Population, key: Key) -> Cohort:
        """The clients of one round, none twice. Raises `CohortTooLarge` where there are too few."""
        ...


@dataclass(frozen=True)
class AllClients:
    """Everyone, in the population's order."""

    def sample(self, population: Population, key: Key) -> Cohort:  # noqa: ARG002 - the port's signature
        """Everyone. Raises `CohortTooLarge` where there is nobody."""
        _check_size(1, population)
        return tuple(population.ids)


@dataclass(frozen=True)
class UniformSampler:
    """`count` clients, each equally likely, without replacement.

    Attributes:
        count: how many clients; or, with `fraction`, at least how many.
        fraction: the share of the population, in (0, 1], instead of a number; rounded to the nearest whole.
    """

    count: int = 1
    fraction: float | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"a cohort has at least one client, not {self.count}")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise ConfigError(f"a fraction of the clients lies in (0, 1], not {self.fraction}")

    def sample(self, population: Population, key: Key) -> Cohort:
        """The chosen, in random order."""
        size = self.count if self.fraction is None else max(self.count, round(self.fraction * len(population)))
        _check_size(size, population)
        chosen = key.generator().choice(len(population), size, replace=False)
        ids = population.ids
        return tuple(map(ids.at if isinstance(ids, LazyIds) else ids.__getitem__, chosen.tolist()))


@dataclass(frozen=True)
class FixedClients:
    """Always these clients, in this order."""

    ids: Sequence[ClientId]

    def __post_init__(self) -> None:
        if len(set(self.ids)) != len(self.ids) or not self.ids:
            raise ConfigError(f"a fixed cohort names each of its clients once, and at least one: {list(self.ids)}")

    def sample(self, population: Population, key: Key) -> Cohort:  # noqa: ARG002 - the port's signature
        """The named clients. Raises `UnknownName` for one that is not in the population."""
        lazy = isinstance(population.ids, LazyIds)
        there = population.ids if lazy else set(population.ids)
        for client in self.ids:
            if client not in there:
                raise UnknownName.among("client", client, population.ids[:SOME] if lazy else population.ids)
        return tuple(self.ids)


@dataclass(frozen=True)
class WeightedSampler:
    """`count` clients without replacement, more likely the more examples they hold in `split`.

    It must know how many examples each of them holds, and looks at all of them every round.
    """

    count: int
    split: str = "train"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"a cohort has at least one client, not {self.count}")

    def sample(self, population: Population, key: Key) -> Cohort:
        """The chosen, in random order. Raises `ConfigError` where sizes are only known once a client is loaded."""
        held = population.examples.get(self.split, {})
        if isinstance(held, LazySizes):
            raise ConfigError(
                f"WeightedSampler must know how many examples each of {len(held):,} clients holds, and nobody has counted",
                hint="use UniformSampler, which need not know; or data whose sizes are: a list of clients, a folder",
            )
        holders = population.holding(self.split)
        _check_size(self.count, holders)
        examples = np.array([held[client] for client in holders.ids], np.float64)
        chosen = key.generator().choice(len(holders), self.count, replace=False, p=examples / examples.sum())
        return tuple(holders.ids[index] for index in chosen)


def _check_size(size: int, population: Population) -> None:
    if size > len(population):
        raise CohortTooLarge(
            f"a cohort of {size} is asked for, but only {len(population)} clients can be asked",
            hint="ask for fewer clients a round, or bring more into the federation; trainers need data in their training split",
        )
