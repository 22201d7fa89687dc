"""Two splits made of one: a part of every client's own data is held out.

This file must not know what the parts are for.
"""

from __future__ import annotations

import functools

from hansa.core.keys import key
from hansa.core.population import ClientId
from hansa.data.columns import Indices
from hansa.data.dataset import ClientDataset
from hansa.data.held_out import held_out
from hansa.data.recent import MOST
from hansa.data.split import Split
from hansa.errors import ConfigError


def halves(split: Split, test: float, seed: int, stratify: str | None) -> tuple[Split, Split]:
    """What every client keeps, and what it holds out; see `FederatedData.train_test_split`.

    Which examples that are is decided by the seed and the client alone, when it is first asked for. It is remembered; where
    nobody lists the clients, of the last ones.

    Raises:
        ConfigError: `test` is not between 0 and 1.
    """
    if not 0 < test < 1:
        raise ConfigError(f"the share to hold out must lie between 0 and 1, not {test}", hint="0.2 holds out a fifth")

    @functools.lru_cache(MOST if split.lazy else None)
    def rows(client: ClientId) -> tuple[Indices, Indices]:
        dataset, own = split[client], key(seed, "client", client).integer()
        return held_out(len(dataset), test, own, None if stratify is None else dataset[stratify])

    def part(number: int) -> Split:
        def load(client: ClientId) -> ClientDataset:
            return split[client].select(rows(client)[number])

        told = split.told
        return split.view(
            load, None if told is None else lambda client: len(held_out(told(client), test, seed)[number])
        )

    return part(0), part(1)
