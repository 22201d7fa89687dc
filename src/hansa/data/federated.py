"""The data of a whole federation on one machine: a lazy mapping of client to data set, in two splits.

This file must not know how clients are sampled, trained or reached.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hansa.core.keys import key
from hansa.core.population import ClientId
from hansa.data import pictures
from hansa.data.dataset import BatchTransform, ClientDataset
from hansa.data.held_out import held_out
from hansa.data.partition import Partitioner
from hansa.data.schema import Schema, check, schema_of
from hansa.data.split import Split
from hansa.errors import ConfigError, DataError, UnknownName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CENTRAL: ClientId = "central"
"""The evaluator that holds a test set given as one data set."""


class FederatedData(Mapping[ClientId, ClientDataset]):
    """Each client's data: a mapping over the training split, with the held-out data in `test`.

    No data set is loaded before it is asked for, and none is kept: a mapping that reads a client's files on access
    serves a population that does not fit in memory.

    Args:
        train: the training data of each client; may load on access.
        test: the held-out data. A client of this split alone is an evaluator: it never trains.
        schema: what every example must look like; inferred from the first client unless given.

    Raises:
        DataError: there is no client at all, or an id is not a string.
    """

    def __init__(
        self,
        train: Mapping[ClientId, ClientDataset],
        test: Mapping[ClientId, ClientDataset] | None = None,
        *,
        schema: Schema | None = None,
    ) -> None:
        test = {} if test is None else test
        self._splits = {"train": Split(train, train.__getitem__), "test": Split(test, test.__getitem__)}
        self._clients = tuple(dict.fromkeys((*train, *test)))
        if not self._clients:
            raise DataError("a federation needs at least one client", hint="give train, test or both some data")
        self._schema = schema
        self._origin = "the federation's schema"
        self._classes = {name: field.classes for name, field in schema.items()} if schema else {}
        self._sizes: dict[str, dict[ClientId, int]] = {}
        self._checked: set[tuple[str, ClientId]] = set()

    @classmethod
    def partition(
        cls,
        dataset: ClientDataset,
        partitioner: Partitioner,
        *,
        seed: int = 0,
        test: ClientDataset | Mapping[ClientId, ClientDataset] | None = None,
        schema: Schema | None = None,
    ) -> FederatedData:
        """One data set split over clients; nothing is copied.

        Args:
            dataset: the training data.
            partitioner: who gets what.
            seed: the same seed gives the same parts on every machine.
            test: held-out data; one data set becomes that of an evaluator called "central".
            schema: what every example must look like.

        Raises:
            DataError: the data set cannot be split like that.
            ConfigError: `test` is one data set, but a training client is called "central".
        """
        train = {
            client: dataset.select(rows) for client, rows in partitioner.assign(dataset, key(seed, "partition")).items()
        }
        if isinstance(test, ClientDataset):
            if CENTRAL in train:
                raise ConfigError(
                    f"a training client is called {CENTRAL!r}, like the evaluator that would hold the test data",
                    hint='name the evaluator yourself: test={"my evaluator": ...}',
                )
            test = {CENTRAL: test}
        return cls(train, test, schema=schema)

    # --- the mapping: the training split

    def __getitem__(self, client: ClientId) -> ClientDataset:
        """The training data of `client`; raises UnknownName where it has none."""
        return self._splits["train"][client]

    def __contains__(self, client: object) -> bool:
        return client in self._splits["train"]

    def get(self, client: ClientId, default: Any = None) -> Any:
        """The training data of `client`, or `default` where it has none."""
        return self._splits["train"].get(client, default)

    def __iter__(self) -> Iterator[ClientId]:
        return iter(self._splits["train"])

    def __len__(self) -> int:
        return len(self._splits["train"])

    def __repr__(self) -> str:
        listed = ", ".join(self._clients[:5]) + (", ..." if len(self._clients) > 5 else "")
        return f"FederatedData({len(self)} clients to train, {len(self.test)} with test data: {listed})"

    def _repr_html_(self) -> str:
        return pictures.federated_html(self)

    # --- all of it

    @property
    def test(self) -> Split:
        """The held-out data by client."""
        return self._splits["test"]

    @property
    def clients(self) -> tuple[ClientId, ...]:
        """The ids of all splits: those that train first, then those that only evaluate."""
        return self._clients

    def split(self, name: str) -> Split:
        """The data of the split "train" or "test".

        Raises:
            UnknownName: there is no such split.
        """
        if name not in self._splits:
            raise UnknownName.among("split", name, self._splits)
        return self._splits[name]

    def sizes(self, split: str = "train") -> Mapping[ClientId, int]:
        """How many examples each client of `split` holds. No row is gathered, but each data set is loaded once."""
        if split not in self._sizes:
            self._sizes[split] = {client: len(dataset) for client, dataset in self.split(split).items()}
        return self._sizes[split]

    def known_sizes(self, split: str = "train") -> Mapping[ClientId, int]:
        """What `sizes` found out before; empty where nobody asked yet, because that may load every data set."""
        return self._sizes.get(split, {})

    @property
    def schema(self) -> Schema:
        """What every example must look like: as given, or as in the first client that has any."""
        if self._schema is None:
            self._schema = self._inferred()
        return self._schema

    def shard(self, client: ClientId) -> dict[str, ClientDataset]:
        """The splits that `client` holds, each checked against the schema the first time.

        Raises:
            UnknownName: there is no such client.
            DataError: it holds no examples in any split, or ones that are not as the schema says.
        """
        named = {name: split[client] for name, split in self._splits.items() if client in split}
        if not named:
            raise UnknownName.among("client", client, self._clients)
        held = {name: dataset for name, dataset in named.items() if len(dataset)}
        if not held:
            raise DataError(
                "there are no examples in any split", where=f"client {client!r}", hint="leave this client out"
            )
        for name, dataset in held.items():
            if (name, client) not in self._checked:
                schema = self.schema  # first, because it says whose it is
                check(dataset, schema, client=client, origin=self._origin)
                self._checked.add((name, client))
        return held

    def load_partition(self, id: str | int, split: str = "train") -> ClientDataset:  # noqa: A002 - the word for it
        """The data of one client, which may be named by number where the clients are "0", "1", ...

        Raises:
            UnknownName: there is no such split, or no such client in it.
        """
        return self.split(split)[str(id)]

    def label_counts(self, field: str = "y", *, split: str = "train") -> dict[ClientId, npt.NDArray[np.int64]]:
        """How many examples of each class each client holds; int64, all of the same shape (classes,).

        Raises:
            UnknownName: there is no such field or split.
            DataError: the labels are not one whole number an example.
        """
        declared = self._classes.get(field)
        counts = {client: dataset.label_counts(field, declared) for client, dataset in self.split(split).items()}
        classes = max((len(each) for each in counts.values()), default=0)
        return {client: np.pad(each, (0, classes - len(each))) for client, each in counts.items()}

    def plot_labels(self, split: str = "train", *, field: str = "y", classes: Sequence[str] | None = None) -> Figure:
        """Who holds which classes: a column for each client, a row for each class, darker where there are more examples.

        Args:
            split: whose examples are counted, "train" or "test".
            field: the labels.
            classes: their names.

        Raises:
            UnknownName: there is no such field or split.
            DataError: the labels are not one whole number an example, or nobody holds any.
            ConfigError: there are fewer names than classes.
            MissingExtra: matplotlib is not installed.
        """
        return pictures.plot_labels(self, split, field, classes)

    # --- other views of it

    def with_transform(self, transform: BatchTransform) -> FederatedData:
        """The same data with `transform` applied to every batch, after those there are.

        Its schema is inferred from the transformed data; a declared number of classes is kept.
        """
        train, test = self._splits["train"], self._splits["test"]
        data = FederatedData(
            Split(train, lambda client: train[client].with_transform(transform)),
            Split(test, lambda client: test[client].with_transform(transform)),
        )
        data._classes = self._classes
        return data

    def train_test_split(self, test: float = 0.2, *, seed: int = 0, stratify: str | None = None) -> FederatedData:
        """Holds out a part of every client's own training data.

        Which part is decided when a client is first asked for, and remembered; every client's choice is its own.

        Args:
            test: the share to hold out, between 0 and 1.
            seed: the same seed holds out the same examples.
            stratify: a field whose every value shall have the same share in both.

        Raises:
            ConfigError: `test` is not between 0 and 1, or there is held-out data already.
        """
        if len(self.test):
            raise ConfigError(
                "some clients have test data already", hint="use that, or begin with FederatedData(train) alone"
            )
        if not 0 < test < 1:
            raise ConfigError(
                f"the share to hold out must lie between 0 and 1, not {test}", hint="0.2 holds out a fifth"
            )

        @functools.cache
        def rows(client: ClientId) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
            dataset = self[client]
            own = key(seed, "client", client).integer()
            return held_out(len(dataset), test, own, None if stratify is None else dataset[stratify])

        data = FederatedData(
            Split(self, lambda client: self[client].select(rows(client)[0])),
            Split(self, lambda client: self[client].select(rows(client)[1])),
            schema=self._schema,
        )
        data._classes = self._classes
        return data

    def _inferred(self) -> Schema:
        for name, split in self._splits.items():
            for client, dataset in split.items():
                if len(dataset):
                    self._origin = f"the {name} data of client {client!r}"
                    schema = schema_of(dataset)
                    return {each: replace(field, classes=self._classes.get(each)) for each, field in schema.items()}
        raise DataError("no client has any examples", hint="give at least one client some data")
