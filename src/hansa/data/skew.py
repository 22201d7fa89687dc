"""Partitioners by label: clients whose classes differ, from a little (Dirichlet) to entirely (ByLabels).

This file must not know what is done with the parts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from hansa.core.keys import Key
from hansa.core.population import ClientId
from hansa.data.columns import Indices
from hansa.data.dataset import ClientDataset
from hansa.data.partition import Parts, enough, numbered, parts, positive, rows_by_value
from hansa.errors import ConfigError, DataError

DRAWS = 100
"""How often `Dirichlet` tries to give everybody `min_examples`."""


@dataclass(frozen=True)
class ByLabels:
    """A client for each group of labels. A label in several groups is dealt evenly among them, at random.

    Attributes:
        groups: for each client the labels that it holds.
        field: the labels.
        drop: leave out examples whose label is in no group, rather than raise.
    """

    groups: Mapping[ClientId, Collection[int]]
    field: str = "y"
    drop: bool = False

    def __post_init__(self) -> None:
        if not self.groups:
            raise ConfigError("groups must name at least one client")
        for client, labels in self.groups.items():
            _check_group(client, labels)

    def assign(self, dataset: ClientDataset, key: Key) -> Parts:
        """Deals each label's examples to the clients whose groups have it."""
        held: dict[ClientId, list[Indices]] = {client: [] for client in self.groups}
        for label, rows in rows_by_value(dataset, self.field).items():
            holders = [client for client, labels in self.groups.items() if label in labels]
            if not holders and not self.drop:
                raise DataError(
                    f"{len(rows)} examples have label {label!r}, which is in no client's group",
                    where=f"field {self.field!r}",
                    hint="add the label to a group, or drop=True",
                )
            if len(holders) > 1:
                rows = key.child("label", str(label)).generator().permutation(rows)
            for client, share in zip(holders, np.array_split(rows, max(1, len(holders))), strict=False):
                held[client].append(share)
        together = {client: np.concatenate([np.empty(0, np.int64), *shares]) for client, shares in held.items()}
        return parts(together, hint="its labels do not occur, or are shared by too many; change its group")


def _check_group(client: ClientId, labels: object) -> None:
    if not isinstance(labels, Collection) or isinstance(labels, str) or len(labels) == 0:
        raise ConfigError(
            f"expected a group of labels, found {labels!r}", where=f"client {client!r}", hint="such as [0, 1]"
        )


@dataclass(frozen=True)
class Dirichlet:
    """Label skew: each class is dealt over the clients in proportions drawn from a Dirichlet distribution.

    For every class, p ~ Dir(alpha, ..., alpha) over the clients, and client j gets a share p_j of the class's examples.
    A small alpha (0.1) leaves each client with a few classes and sizes that differ widely; a large one (100) is nearly
    IID. All the proportions are drawn again until every client has `min_examples`.

    The skew is that of Hsu, Qi & Brown 2019 (arXiv:1909.06335), in the form of Yurochkin et al. 2019
    (arXiv:1905.12022), in which the sizes vary too.

    Attributes:
        clients: how many; they are called "0", "1", ...
        alpha: the concentration, above 0.
        field: the labels.
        min_examples: the fewest that a client may have, at least 1.
    """

    clients: int
    alpha: float
    field: str = "y"
    min_examples: int = 1

    def __post_init__(self) -> None:
        positive("clients", self.clients)
        positive("min_examples", self.min_examples)
        if not 0 < self.alpha < float("inf"):
            raise ConfigError(f"alpha must be above 0 and finite, not {self.alpha}")

    def assign(self, dataset: ClientDataset, key: Key) -> Parts:
        """Draws proportions, and deals every class's shuffled examples by them."""
        enough(len(dataset), self.clients * self.min_examples, "examples")
        classes = list(rows_by_value(dataset, self.field).values())
        ends = self._drawn_ends(np.array([len(rows) for rows in classes]), key)
        generator = key.child("examples").generator()
        dealt = [np.split(generator.permutation(rows), cuts[:-1]) for rows, cuts in zip(classes, ends, strict=True)]
        return parts(numbered([np.concatenate(shares) for shares in zip(*dealt, strict=True)]))

    def _drawn_ends(self, sizes: Indices, key: Key) -> Indices:
        """Where each client's share of each class ends; shape (classes, clients)."""
        least = 0
        for draw in range(DRAWS):
            generator = key.child("draw", draw).generator()
            proportions = generator.dirichlet(np.full(self.clients, self.alpha), size=len(sizes))
            ends = np.rint(np.cumsum(proportions, axis=1) * sizes[:, None]).astype(np.int64)
            ends[:, -1] = sizes  # whatever the rounding did
            counts = np.diff(ends, axis=1, prepend=0).sum(axis=0)
            if counts.min() >= self.min_examples:
                return ends
            least = max(least, int(counts.min()))
        raise DataError(
            f"in {DRAWS} draws with alpha={self.alpha} some of {self.clients} clients always had fewer than"
            f" {self.min_examples} examples (at best {least})",
            where=f"client {str(int(counts.argmin()))!r} of the last draw",
            hint="ask for fewer clients or a smaller min_examples, or raise alpha",
        )


@dataclass(frozen=True)
class Shards:
    """Examples sorted by label, cut into equal shards, and so many shards dealt at random to each client.

    With 100 clients and 2 shards each this is the "pathological non-IID" split of MNIST of McMahan et al. 2017
    (arXiv:1602.05629, section 3): most clients have examples of two digits only.

    Attributes:
        clients: how many; they are called "0", "1", ...
        shards_per_client: how many shards each client gets.
        field: the labels.
    """

    clients: int
    shards_per_client: int = 2
    field: str = "y"

    def __post_init__(self) -> None:
        positive("clients", self.clients)
        positive("shards_per_client", self.shards_per_client)

    def assign(self, dataset: ClientDataset, key: Key) -> Parts:
        """Sorts, cuts and deals."""
        count = self.clients * self.shards_per_client
        enough(len(dataset), count, "examples")
        by_label = np.concatenate(list(rows_by_value(dataset, self.field).values()))
        shards = np.array_split(by_label, count)
        hands = key.generator().permutation(count).reshape(self.clients, self.shards_per_client)
        return parts(numbered([np.concatenate([shards[number] for number in hand]) for hand in hands]))
