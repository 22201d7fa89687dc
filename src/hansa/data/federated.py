"""The data of a whole federation on one machine: a lazy mapping of client to data set, in two splits.

This file must not know how clients are sampled, trained or reached.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hansa.core.ids import SOME, LazyIds, union
from hansa.core.keys import key
from hansa.core.population import ClientId
from hansa.data import pictures
from hansa.data.dataset import BatchTransform, ClientDataset
from hansa.data.halves import halves
from hansa.data.partition import Partitioner
from hansa.data.recent import Recent
from hansa.data.schema import Expected, Schema, inferred
from hansa.data.split import Split
from hansa.data.stores import folder
from hansa.data.stores.arrays import central, owned
from hansa.data.stores.generated import Generated, Generator
from hansa.data.stores.huggingface import HuggingFace
from hansa.errors import ConfigError, DataError, UnknownName

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class FederatedData(Mapping[ClientId, ClientDataset]):
    """Each client's data: a mapping over the training split, with the held-out data in `test`.

    No data set is loaded before it is asked for, and none is kept: a mapping that reads a client's files on access
    serves a population that does not fit in memory. `from_sqlite`, `from_folder`, `from_datasets` and `generated` make such;
    a `hansa.data.stores.store.ClientStore` of one's own need not even list its clients.

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
        self._splits = {"train": _split(train), "test": _split({} if test is None else test)}
        self._clients: Sequence[ClientId] | None = None
        if not any(self._splits.values()):
            raise DataError("a federation needs at least one client", hint="give train, test or both some data")
        self._expected = None if schema is None else Expected(schema, "the federation's schema")
        self._classes = {name: field.classes for name, field in schema.items()} if schema else {}
        lazy = any(split.lazy for split in self._splits.values())
        self._checked: dict[tuple[str, ClientId], bool] = Recent() if lazy else {}

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
        return cls(train, central(train, test) if isinstance(test, ClientDataset) else test, schema=schema)

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, npt.ArrayLike],
        owner: npt.ArrayLike,
        *,
        test: Mapping[str, npt.ArrayLike] | None = None,
        test_owner: npt.ArrayLike | None = None,
        schema: Schema | None = None,
    ) -> FederatedData:
        """Arrays with a row an example, and whose each row is; nothing is copied.

        Args:
            arrays: for each field all its values, shape (examples, ...).
            owner: one value an example; a client's id is `str(value)`, and the clients are in the values' order.
            test: held-out data of the same kind.
            test_owner: whose they are; an evaluator's called "central" unless given.
            schema: what every example must look like.

        Raises:
            DataError: an array or the owners have another number of rows.
            ConfigError: there are owners of test data, and no test data.
        """
        if test is None and test_owner is not None:
            raise ConfigError("test_owner says whose the test data are, and there are none", hint="give test as well")
        train = owned(arrays, owner)
        if test is not None and test_owner is None:
            return cls(train, central(train, ClientDataset(test)), schema=schema)
        return cls(train, None if test is None or test_owner is None else owned(test, test_owner), schema=schema)

    @classmethod
    def from_sqlite(cls, path: Path | str, *, schema: Schema | None = None) -> FederatedData:
        """The data in a file that `to_sqlite` wrote; ids and sizes are read without the examples.

        Raises:
            DataError: there is no such file, or it is another one.
        """
        from hansa.data.stores import sqlite

        file = sqlite.SqliteFile(Path(path))
        train, test = sqlite.Sqlite(file, "train"), sqlite.Sqlite(file, "test")
        data = cls(train, test, schema=sqlite.schema_in(file) if schema is None else schema)
        data._clients = sqlite.everyone_in(file, train)
        return data

    @classmethod
    def from_folder(cls, path: Path | str, *, schema: Schema | None = None) -> FederatedData:
        """A file a client: CLIENT.npz or CLIENT.safetensors, or train/CLIENT.npz and test/CLIENT.npz.

        Its arrays are the fields, each with a row an example. Sizes are read from the files' headers.

        Raises:
            DataError: there is no such folder, no client in it, or two files of one client.
        """
        found = folder.found(Path(path))
        return cls(found.get("train", {}), found.get("test"), schema=schema)

    @classmethod
    def from_datasets(
        cls,
        dataset: Any,
        owner: str,
        *,
        columns: Mapping[str, str] | None = None,
        test: Any = None,
        schema: Schema | None = None,
    ) -> FederatedData:
        """A Hugging Face data set by the owners of its rows; pictures are decoded when their client is asked for.

        Args:
            dataset: a `datasets.Dataset`, as you loaded it.
            owner: the column that says whose a row is, such as "writer_id"; a client's id is `str(value)`.
            columns: which are read, as which field: `{"image": "x", "label": "y"}`; all but the owner's unless given.
            test: a `datasets.Dataset` of held-out rows with the same columns.
            schema: what every example must look like.

        Raises:
            ConfigError: it is no `datasets.Dataset`, or two columns would be one field.
            UnknownName: a column does not exist.
        """
        held = None if test is None else HuggingFace(test, owner, columns)
        return cls(HuggingFace(dataset, owner, columns), held, schema=schema)

    @classmethod
    def generated(
        cls,
        function: Generator,
        clients: int | Sequence[ClientId],
        *,
        test: Generator | None = None,
        schema: Schema | None = None,
    ) -> FederatedData:
        """Data that a function makes for a client whenever it is asked for; ten million clients take no memory.

        Args:
            function: gives a ClientDataset or a dict of arrays; called with a client's number where `clients` is a number,
                otherwise with its id. It gives the same whenever it is called.
            clients: how many, called "0", "1", ...; or their ids.
            test: the same for held-out data.
            schema: what every example must look like.

        Raises:
            ConfigError: there is no client.
        """
        train = Generated(function, clients)
        return cls(train, None if test is None else Generated(test, clients, train.ids), schema=schema)

    def to_sqlite(self, path: Path | str) -> Path:
        """Write all of it to a new file for `from_sqlite`, a client at a time.

        Raises:
            ConfigError: there is a file already, or the data have a transform.
            DataError: a client has no examples, or not as the schema says, or a column holds text.
            StoreError: the file cannot be written.
        """
        from hansa.data.stores import written

        written.write(Path(path), self.clients, self.shard, self.schema)
        return Path(path)

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
        listed = ", ".join(self.clients[:5]) + (", ..." if len(self.clients) > 5 else "")
        return f"FederatedData({len(self)} clients to train, {len(self.test)} with test data: {listed})"

    def _repr_html_(self) -> str:
        return pictures.federated_html(self)

    # --- all of it

    @property
    def test(self) -> Split:
        """The held-out data by client."""
        return self._splits["test"]

    @property
    def clients(self) -> Sequence[ClientId]:
        """The ids of all splits: those that train first, then those that only evaluate. A tuple, unless nobody lists them."""
        if self._clients is None:
            self._clients = union(self._splits["train"].ids, self._splits["test"].ids)
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
        """How many examples each client of `split` holds.

        No row is gathered, but each data set is loaded once, unless its store tells without. `LazySizes` where clients are
        too many, or generated: each is then found out when it is asked for.
        """
        return self.split(split).sizes

    def known_sizes(self, split: str = "train") -> Mapping[ClientId, int]:
        """What was found out of them before; asking for all may load every data set."""
        return self.split(split).known

    @property
    def schema(self) -> Schema:
        """What every example must look like: as given, or as in the first client that has any."""
        return self.expected.schema

    @property
    def expected(self) -> Expected:
        """The schema, and whose it is."""
        if self._expected is None:
            self._expected = inferred(self._splits, self._classes)
        return self._expected

    def shard(self, client: ClientId) -> dict[str, ClientDataset]:
        """The splits that `client` holds, each checked against the schema the first time.

        Raises:
            UnknownName: there is no such client.
            DataError: it holds no examples in any split, or ones that are not as the schema says.
        """
        held = self.unchecked(client)
        for name, dataset in held.items():
            if (name, client) not in self._checked:
                self.expected.check(dataset, client)
                self._checked[name, client] = True
        return held

    def unchecked(self, client: ClientId) -> dict[str, ClientDataset]:
        """The splits that `client` holds, for who compares them with `expected` elsewhere; raises as `shard` otherwise does."""
        named = {name: split[client] for name, split in self._splits.items() if client in split}
        if not named:
            known = self.clients
            raise UnknownName.among("client", client, known[:SOME] if isinstance(known, LazyIds) else known)
        held = {name: dataset for name, dataset in named.items() if len(dataset)}
        if not held:
            raise DataError(
                "there are no examples in any split", where=f"client {client!r}", hint="leave this client out"
            )
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
            train.view(functools.partial(_transformed, train, transform), train.told),
            test.view(functools.partial(_transformed, test, transform), test.told),
        )
        data._classes, data._clients = self._classes, self._clients
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
        kept, held = halves(self._splits["train"], test, seed, stratify)
        data = FederatedData(kept, held, schema=None if self._expected is None else self._expected.schema)
        data._classes = self._classes
        return data


def _split(data: Mapping[ClientId, ClientDataset]) -> Split:
    if isinstance(data, FederatedData):
        return data.split("train")
    return data if isinstance(data, Split) else Split.of(data)


def _transformed(split: Split, transform: BatchTransform, client: ClientId) -> ClientDataset:
    return split[client].with_transform(transform)
