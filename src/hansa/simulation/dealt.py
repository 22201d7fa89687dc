"""Ids of which every so-and-so-many-th is left out: those there at an hour, of clients that nobody lists.

This file must not know what the groups stand for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from hansa.core.ids import LazyIds


class Dealt(LazyIds):
    """Those of other ids whose group is in, where the one at position p belongs to the group p mod the number of groups.

    Args:
        ids: all of them.
        kept: for each group whether it is in.
    """

    __slots__ = ("_groups", "_kept", "_ranks", "ids")

    def __init__(self, ids: LazyIds, kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        self.ids, self._kept = ids, kept
        self._groups = np.flatnonzero(kept)
        self._ranks = np.concatenate([[0], np.cumsum(kept)])

    def __len__(self) -> int:
        whole, rest = divmod(len(self.ids), len(self._kept))
        return whole * len(self._groups) + int(self._ranks[rest])

    def at(self, position: int) -> str:
        """The id at a position of those that are in."""
        turn, rank = divmod(position, len(self._groups))
        return self.ids.at(turn * len(self._kept) + int(self._groups[rank]))

    def position(self, id: object) -> int | None:  # noqa: A002 - what it is
        """Where an id is among those that are in."""
        place = self.ids.position(id)
        if place is None:
            return None
        turn, group = divmod(place, len(self._kept))
        return turn * len(self._groups) + int(self._ranks[group]) if self._kept[group] else None

    def among(self, others: Collection[str]) -> Sequence[str]:
        """Those of `others` that are in; as lazy, where `others` are all, or all but some at the end."""
        found = self.ids.among(others)
        if found is self.ids:
            return self
        last = len(found) - 1
        # In the same order and none twice: if the last of so many is at the place of the last, no place is left out.
        if isinstance(found, LazyIds) and last >= 0 and self.ids.position(found.at(last)) == last:
            return Dealt(found, self._kept)
        return tuple(each for each in found if each in self)
