"""What the parent lends its workers: clients' examples in shared memory, transforms of batches by name, and the schema.

Arrays that many clients see parts of are lent once, for as long as they live here; a client's own go with its visit. This file
must not know who asks for what, or which worker has what.
"""

from __future__ import annotations

import itertools
import sys
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hansa.core.tree import Tree
from hansa.data import ClientDataset
from hansa.data.dataset import BatchTransform
from hansa.data.schema import Expected
from hansa.errors import ConfigError, InputError
from hansa.experiment.files import RUN_NAME
from hansa.experiment.snapshot import freeze
from hansa.simulation.processes.letters import Letter, Sealed
from hansa.simulation.processes.origin import Origin

LARGE = 1 << 20
"""Bytes from which a data set's arrays are lent once although only one client sees them."""

MOST = 256
"""So many things are lent at once; each takes a descriptor."""

Seal = Callable[[Letter], Sealed]


class Lending:
    """What is lent.

    Args:
        origin: where workers find the functions that transform batches.
        seal: puts a letter into memory that workers share.

    Attributes:
        things: what is lent, by key; a worker is sent what it needs and has not.
    """

    def __init__(self, origin: Origin, seal: Seal) -> None:
        self._origin, self._seal = origin, seal
        self._keys = itertools.count()
        self.things: dict[int, Sealed] = {}
        self._lent: dict[Any, int] = {}
        self._kept: dict[int, object] = {}
        self._dead: deque[Any] = deque()

    def tidy(self) -> None:
        """Take back what nobody here has any more, and of too many things the oldest.

        To be called before data sets are described, which then must live until they are sent: a new array may have the
        identity of one that is gone.
        """
        while self._dead:
            if (key := self._lent.get(self._dead.popleft())) is not None:
                self._take_back(key)
        while len(self.things) > MOST:
            self._take_back(next(iter(self.things)))

    def shard(self, splits: Mapping[str, ClientDataset], expected: Expected, trees: list[Tree]) -> dict[str, Any]:
        """A client's splits in a few words.

        Args:
            splits: as they are stored.
            expected: what whoever looks at them compares them with first.
            trees: the client's own arrays are appended to them.

        Raises:
            ConfigError: a transform cannot be found by workers.
        """
        described = {split: self.described(dataset, trees) for split, dataset in splits.items()}
        return {"splits": described, "expected": self._expected(expected)}

    def described(self, dataset: ClientDataset, trees: list[Tree]) -> dict[str, Any]:
        """A data set in a few words; arrays of its own are appended to `trees`.

        Raises:
            ConfigError: a transform cannot be found by workers.
        """
        arrays, index, transforms = dataset.stored
        rows, size = len(next(iter(arrays.values()))), sum(values.nbytes for values in arrays.values())
        described: dict[str, Any] = {}
        if size >= LARGE or (index is not None and 2 * len(index) < rows):
            described["base"] = self._base(arrays)
            if index is not None:
                described["index"] = len(trees)
                trees.append({"index": index})
        else:
            described["own"] = len(trees)
            trees.append({name: values if index is None else values[index] for name, values in arrays.items()})
        if transforms:
            described["through"] = self._through(transforms)
        return described

    def close(self) -> None:
        """Take everything back."""
        for sealed in self.things.values():
            sealed.close()
        self.things.clear()
        self._lent.clear()
        self._kept.clear()

    def _base(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> int:
        """The key of arrays that are lent for as long as they live here."""
        identity = tuple((name, id(values)) for name, values in arrays.items())
        if identity not in self._lent:
            self._lend(identity, Letter("base", trees=[dict(arrays)]))
            weakref.finalize(next(iter(arrays.values())), self._dead.append, identity).atexit = False
        return self._lent[identity]

    def _expected(self, expected: Expected) -> int:
        """The key of a schema."""
        identity = id(expected.schema), expected.origin
        if identity not in self._lent:
            value = Expected(dict(expected.schema), expected.origin)
            self._kept[self._lend(identity, Letter("expected", value=value))] = expected
        return self._lent[identity]

    def _through(self, transforms: tuple[BatchTransform, ...]) -> int:
        """The key of transforms."""
        identity = tuple(map(id, transforms))
        if identity not in self._lent:
            key = self._lend(identity, Letter("transforms", value=[self._named(each) for each in transforms]))
            self._kept[key] = transforms  # so that nothing else takes their identities
        return self._lent[identity]

    def _named(self, transform: BatchTransform) -> Any:
        """A transform as workers find it: a function by its name, a frozen dataclass by its fields."""
        module, name = getattr(transform, "__module__", ""), getattr(transform, "__qualname__", "")
        if name:
            own = module == self._origin.own
            found: Any = self._origin.names.get(name) if own else getattr(sys.modules.get(module), name, None)
            if found is transform:
                return {"function": f"{RUN_NAME if own else module}:{name}"}
        else:
            try:
                freeze(transform, self._origin.names, own=self._origin.own)
            except InputError:
                pass
            else:
                return transform
        raise ConfigError(
            f"the transform {transform!r} cannot be found by worker processes",
            hint="define it by `def` at the top level of a file, or as a frozen dataclass",
        )

    def _lend(self, identity: Any, letter: Letter) -> int:
        key = next(self._keys)
        self.things[key] = self._seal(Letter(letter.kind, {"key": key}, letter.value, letter.trees))
        self._lent[identity] = key
        return key

    def _take_back(self, key: int) -> None:
        self.things.pop(key).close()
        self._kept.pop(key, None)
        self._lent = {identity: each for identity, each in self._lent.items() if each != key}
