"""Ids of clients that nobody lists: ten million of them take no memory, and one is found without looking at the others.

This file must not know what the clients hold.
"""

from __future__ import annotations

import operator
from abc import abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, SupportsIndex, overload

from hansa.errors import ConfigError, UnknownName

SOME = 100
"""So many ids are looked at for near misses when one is not there."""


class LazyIds(Sequence[str]):
    """Distinct ids in an order that does not change, each made or looked up when it is asked for.

    `in` and `index` are quick, unlike a list's. A slice is a tuple, unless it says otherwise.
    """

    __slots__ = ()

    @abstractmethod
    def at(self, position: int) -> str:
        """The id at a position in [0, len)."""

    @abstractmethod
    def position(self, id: object) -> int | None:  # noqa: A002 - what it is
        """Where an id is, or None where it is not there."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return self.part(range(*index.indices(len(self))))
        position = operator.index(index)
        position += len(self) if position < 0 else 0
        if not 0 <= position < len(self):
            raise IndexError(f"there are {len(self)} clients, and none at {operator.index(index)}")
        return self.at(position)

    def part(self, positions: range) -> Sequence[str]:
        """The ids at these positions."""
        return tuple(map(self.at, positions))

    def among(self, others: Collection[str]) -> Sequence[str]:
        """Those that are in `others` as well, in this order; they are listed, unless the two are the same."""
        if others is self or (type(others) is type(self) and others == self):
            return self
        if isinstance(others, LazyIds):
            return tuple(each for each in self if each in others)
        return tuple(sorted((each for each in others if each in self), key=self.index))

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """Where an id is. Raises UnknownName where it is not there."""
        position = self.position(value)
        if position is None or position not in range(*slice(start, stop).indices(len(self))):
            raise UnknownName.among("client", value, self[:SOME])
        return position

    def count(self, value: object) -> int:
        """1 where it is there, otherwise 0."""
        return int(value in self)

    def __contains__(self, value: object) -> bool:
        return self.position(value) is not None

    def __iter__(self) -> Iterator[str]:
        return map(self.at, range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Equal to any sequence of the same ids; may look at each."""
        if self is other:
            return True
        if not isinstance(other, LazyIds | tuple | list):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # it equals lists, which have none

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self):,}: {', '.join(self[:3])}{', ...' if len(self) > 3 else ''})"


class Numbered(LazyIds):
    """The ids "0", "1", ... in any number; a slice of them is as lazy.

    Args:
        numbers: how many; or which, as a range.

    Raises:
        ConfigError: a number is negative.
    """

    __slots__ = ("numbers",)

    def __init__(self, numbers: int | range) -> None:
        if isinstance(numbers, int) and numbers < 0:
            raise ConfigError(f"there cannot be {numbers} clients")
        self.numbers = range(numbers) if isinstance(numbers, int) else numbers
        if self.numbers and min(self.numbers[0], self.numbers[-1]) < 0:
            raise ConfigError(f"clients are numbered from 0, not as in {self.numbers}")

    def __len__(self) -> int:
        return len(self.numbers)

    def at(self, position: int) -> str:
        """The number at a position, as a string."""
        return str(self.numbers[position])

    def position(self, id: object) -> int | None:  # noqa: A002 - as above
        """Where an id is, which is a number as Python writes it."""
        try:
            number = int(id) if isinstance(id, str) else -1
        except ValueError:
            return None
        return self.numbers.index(number) if number in self.numbers and str(number) == id else None

    def part(self, positions: range) -> Numbered:
        """The ids at these positions, as lazy."""
        if not positions:
            return Numbered(0)
        first, last, step = self.numbers[positions[0]], self.numbers[positions[-1]], self.numbers.step * positions.step
        return Numbered(range(first, last + (1 if step > 0 else -1), step))

    def __iter__(self) -> Iterator[str]:
        return map(str, self.numbers)

    def __eq__(self, other: object) -> bool:
        return self.numbers == other.numbers if isinstance(other, Numbered) else super().__eq__(other)

    __hash__ = None


class Without(LazyIds):
    """Other ids, but not those in `gone`, which are few."""

    __slots__ = ("_before", "_positions", "gone", "ids")

    def __init__(self, ids: LazyIds, gone: Iterable[str]) -> None:
        places = {each: place for each in gone if (place := ids.position(each)) is not None}
        self.ids, self.gone = ids, frozenset(places)
        self._positions = sorted(places.values())
        # How many are left before each that is gone, so that a position here is found among all by bisection.
        self._before = [position - number for number, position in enumerate(self._positions)]

    def __len__(self) -> int:
        return len(self.ids) - len(self._positions)

    def at(self, position: int) -> str:
        """The id at a position of what is left."""
        return self.ids.at(position + bisect_right(self._before, position))

    def position(self, id: object) -> int | None:  # noqa: A002 - as above
        """Where an id is in what is left."""
        if id in self.gone or (position := self.ids.position(id)) is None:
            return None
        return position - bisect_left(self._positions, position)

    def among(self, others: Collection[str]) -> Sequence[str]:
        """Those of `others` that are left."""
        return without(self.ids.among(others), self.gone)


class Chained(LazyIds):
    """Ids, and then a few more that are not among them."""

    __slots__ = ("_places", "first", "more")

    def __init__(self, first: LazyIds, more: Iterable[str]) -> None:
        self.first, self.more = first, tuple(each for each in dict.fromkeys(more) if each not in first)
        self._places = {each: len(first) + place for place, each in enumerate(self.more)}

    def __len__(self) -> int:
        return len(self.first) + len(self.more)

    def at(self, position: int) -> str:
        """The id at a position."""
        beyond = position - len(self.first)
        return self.first.at(position) if beyond < 0 else self.more[beyond]

    def position(self, id: object) -> int | None:  # noqa: A002 - as above
        """Where an id is."""
        found = self.first.position(id)
        return self._places.get(id) if found is None and isinstance(id, str) else found

    def __iter__(self) -> Iterator[str]:
        return chain(self.first, self.more)

    def among(self, others: Collection[str]) -> Sequence[str]:
        """Those that are in `others` as well; as lazy as the first of them are."""
        if not isinstance(others, LazyIds):
            return super().among(others)
        first, more = self.first.among(others), tuple(each for each in self.more if each in others)
        if not more:
            return first
        return Chained(first, more) if isinstance(first, LazyIds) else (*first, *more)


def without(ids: Sequence[str], gone: Collection[str]) -> Sequence[str]:
    """`ids` but those in `gone`; as lazy as they are."""
    if not gone:
        return ids
    if isinstance(ids, Without):
        return Without(ids.ids, ids.gone.union(gone))
    return Without(ids, gone) if isinstance(ids, LazyIds) else tuple(each for each in ids if each not in gone)


def union(first: Sequence[str], second: Sequence[str]) -> Sequence[str]:
    """All of `first`, then those of `second` that are not among them; lazy where `first` is."""
    if not isinstance(first, LazyIds):
        return second if not first and isinstance(second, LazyIds) else tuple(dict.fromkeys((*first, *second)))
    if second is first or len(second) == 0:
        return first
    if isinstance(second, type(first)) and second == first:
        return first
    chained = Chained(first, second)
    return chained if chained.more else first
