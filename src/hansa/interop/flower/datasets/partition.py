"""Partition: examples as Flower's programs handle them, one at a time, by name, and with a transform of lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np

from hansa.core.keys import key
from hansa.data import ClientDataset
from hansa.errors import ConfigError, MissingExtra, UnknownName

Transform = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Turns a dict of lists, one for each field, into another of as many examples."""


class Partition:
    """Examples with named fields. `DataLoader(partition, batch_size=32)` takes it as it is.

    Args:
        dataset: the examples, as its own transform gives them.
        fields: for each field of the data set its name here.
        images: the field, by its name here, whose rows are given as Pillow's images; then the data set's transform, which would
            normalise them, is not applied.
        transform: applied to what is read, as lists.
    """

    def __init__(
        self, dataset: ClientDataset, fields: Mapping[str, str], images: str = "", transform: Transform | None = None
    ) -> None:
        self.dataset, self._fields, self._images, self._transform = dataset, dict(fields), images, transform
        self._columns: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __repr__(self) -> str:
        return f"Partition({len(self)} examples: {', '.join(self.column_names)})"

    @property
    def column_names(self) -> list[str]:
        """The fields."""
        return list(self._fields.values())

    @overload
    def __getitem__(self, which: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, which: str) -> list[Any]: ...
    @overload
    def __getitem__(self, which: slice | Sequence[int]) -> dict[str, list[Any]]: ...
    def __getitem__(self, which: Any) -> Any:
        """One example; or the values of one field; or several examples, as lists by field."""
        if isinstance(which, str):
            if which not in self.column_names:
                raise UnknownName.among("field", which, self.column_names)
            return self._lists(range(len(self)))[which]
        if isinstance(which, slice):
            return self._read(range(len(self))[which])
        rows = np.asarray(which)
        if rows.ndim:
            return self._read(rows.tolist())
        return {name: values[0] for name, values in self._read([range(len(self))[int(rows)]]).items()}

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Several examples at once, as a DataLoader asks for a batch."""
        read = self._read([int(row) for row in rows])
        return [{name: values[number] for name, values in read.items()} for number in range(len(rows))]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[row] for row in range(len(self)))

    def with_transform(self, transform: Transform) -> Partition:
        """The same examples, with this transform instead of any other."""
        return Partition(self.dataset, self._fields, self._images, transform)

    def select(self, indices: Sequence[int]) -> Partition:
        """Only these examples, in this order."""
        rows = np.fromiter(indices, np.int64)
        return Partition(self.dataset.select(rows), self._fields, self._images, self._transform)

    def shuffle(self, seed: int = 0) -> Partition:
        """The same examples in another order."""
        return self.select(key(seed, "shuffle").generator().permutation(len(self)).tolist())

    def train_test_split(
        self, test_size: float = 0.25, *, seed: int | None = None, shuffle: bool = True
    ) -> dict[str, Partition]:
        """Two of it, "train" and "test".

        Args:
            test_size: the share to hold out, in (0, 1), or how many examples.
            seed: the same seed holds out the same examples; 0 unless given.
            shuffle: at random; otherwise the last ones.

        Raises:
            ConfigError: as many cannot be held out.
        """
        held = int(test_size) if test_size >= 1 else round(test_size * len(self))
        if not 0 < held < len(self):
            raise ConfigError(f"of {len(self)} examples {test_size} cannot be held out", hint="0.2 holds out a fifth")
        order = np.arange(len(self))
        if shuffle:
            order = key(seed or 0, "hold out").generator().permutation(len(self))
        rows: list[int] = order.tolist()
        return {"train": self.select(rows[:-held]), "test": self.select(rows[-held:])}

    def _read(self, rows: Sequence[int]) -> dict[str, Any]:
        read = self._lists(rows)
        return read if self._transform is None else dict(self._transform(read))

    def _lists(self, rows: Sequence[int]) -> dict[str, Any]:
        if self._columns is None:
            values = self.dataset if self._images else self.dataset.all()
            self._columns = {name: values[field] for field, name in self._fields.items()}
        taken = {name: [column[row] for row in rows] for name, column in self._columns.items()}
        return {name: self._shown(name, values) for name, values in taken.items()}

    def _shown(self, name: str, values: list[Any]) -> list[Any]:
        """A field's values: images as Pillow's, numbers as Python's, other arrays as they are."""
        if name == self._images:
            return [_image(value) for value in values]
        return [value.item() if isinstance(value, np.generic) else value for value in values]


def _image(pixels: Any) -> Any:
    """An image of uint8 pixels, channel first."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra.of("Pillow", "images", "an image of a Partition") from error
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))
