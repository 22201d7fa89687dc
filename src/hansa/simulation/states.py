"""Clients' private states: in memory while they are small, beyond that in a file that nobody else sees.

A simulator's counterpart of what an Envoy keeps on disk. What comes out is read-only and equal to what went in, to the last
bit, wherever it was; leaves are in the order of their names, aligned, and in this machine's byte order.

This file must not know what the states are for, when they are settled, or what their file looks like.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, MutableMapping
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from hansa.core import tree
from hansa.core.population import ClientId
from hansa.core.tree import Array, Tree

if TYPE_CHECKING:
    from hansa.simulation.states_file import StatesFile

BUDGET = 64 * 2**20
"""Bytes of states that are kept in memory."""

OVERHEAD = 400
"""Bytes that Python takes for a leaf, besides its numbers, about."""


class ClientStates(MutableMapping[ClientId, Tree]):
    """Trees by client, in the order in which clients first came.

    Without a path, the file is an unnamed one of the operating system's, made when the budget is spent: nothing is left of
    it, however this process ends. With one, every state is in the file as soon as it is set, whole or not at all, and stays.
    Threads may share it; processes may not.

    Args:
        budget: bytes that may be in memory; has no meaning with a path.
        path: a file to keep them in, where states of an earlier use are found again.

    Raises:
        StoreError: the file cannot be written, is in use or is another one; DiskFull where there is no room.
        InputError: a state that is to be kept under a path has a leaf that no file holds, such as text.
    """

    def __init__(self, budget: int = BUDGET, *, path: Path | str | None = None) -> None:
        self._budget, self._lock = budget, threading.RLock()
        self._small: dict[ClientId, Tree] | None = {}
        self._bytes = 0
        self._file: StatesFile | None = None
        self._views: list[weakref.ref[StatesView]] = []
        if path is not None:
            self._file, self._small = _file(str(path)), None

    # --- the mapping

    def __getitem__(self, client: ClientId) -> Tree:
        with self._lock:
            state = self._held.get(client)
        if state is None:
            raise KeyError(client)
        return tree.read_only(state)

    def __setitem__(self, client: ClientId, state: Tree) -> None:
        with self._lock:
            self._tell(client)
            if self._small is None:
                self._held[client] = state
                return
            kept = _copied(state)
            self._bytes += _size(kept) - _size(self._small.get(client))
            self._small[client] = kept
            if self._bytes > self._budget:
                self._file = _file("", self._small)
                self._small = None  # last, so that a state is in one of the two whenever this is interrupted

    def __delitem__(self, client: ClientId) -> None:
        with self._lock:
            if client not in self:
                raise KeyError(client)
            self._tell(client)
            if self._small is not None:
                self._bytes -= _size(self._small[client])
            del self._held[client]

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            for client in self if self._views else ():
                self._tell(client)
            self._held.clear()
            self._bytes = 0

    def __contains__(self, client: object) -> bool:
        with self._lock:
            return client in self._held

    def __iter__(self) -> Iterator[ClientId]:
        return iter(tuple(self._small) if self._small is not None else self._held)

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)

    def __repr__(self) -> str:
        return f"ClientStates({len(self):,} clients, {'on disk' if self._small is None else 'in memory'})"

    # --- as it was, and no longer

    def snapshot(self) -> StatesView:
        """All states as they are now, whatever is set later; takes no time, and a copy of those that are set later."""
        with self._lock:
            view = StatesView(self)
            self._views = [each for each in self._views if each() is not None] + [weakref.ref(view)]
            return view

    def close(self) -> None:
        """Forget them, or leave them in their file. Snapshots end too."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file, self._small, self._bytes = None, {}, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _held(self) -> MutableMapping[ClientId, Tree]:
        if self._small is not None:
            return self._small
        assert self._file is not None  # noqa: S101 - one of the two is there
        return self._file

    def _tell(self, client: ClientId) -> None:
        """Let the snapshots copy a state that is about to change."""
        for each in self._views:
            if (view := each()) is not None:
                view.keep(client)


class StatesView(Mapping[ClientId, Tree]):
    """What `ClientStates` held at one moment."""

    def __init__(self, states: ClientStates) -> None:
        self._states, self._count = states, len(states)
        self._before: ClientStates | None = None  # made when it is needed: most views are looked at, and dropped
        self._new: set[ClientId] = set()

    def keep(self, client: ClientId) -> None:
        """Copy a client's state before it changes for the first time."""
        if client in self._new or (self._before is not None and client in self._before):
            return
        if client not in self._states:
            self._new.add(client)
            return
        if self._before is None:
            self._before = ClientStates()
        self._before[client] = self._states[client]

    def __getitem__(self, client: ClientId) -> Tree:
        if client in self._new:
            raise KeyError(client)
        if self._before is not None and (state := self._before.get(client)) is not None:
            return state
        return self._states[client]

    def __iter__(self) -> Iterator[ClientId]:
        gone = () if self._before is None else (client for client in self._before if client not in self._states)
        return chain((client for client in self._states if client not in self._new), gone)

    def __len__(self) -> int:
        return self._count


def _size(state: Tree | None) -> int:
    return 0 if state is None else OVERHEAD * (1 + len(state)) + sum(leaf.nbytes for leaf in state.values())


def _file(path: str, first: Mapping[ClientId, Tree] | None = None) -> StatesFile:
    """A file for states; SQLite is loaded only for it."""
    from hansa.simulation.states_file import StatesFile

    return StatesFile(path, first)


def _copied(state: Tree) -> Tree:
    """A copy as it would come out of a file; of what no file holds, Python's objects, just a copy."""
    return {name: _copy(leaf) for name, leaf in sorted(state.items())}


def _copy(leaf: Array) -> Array:
    return leaf.copy() if leaf.dtype.hasobject or not leaf.dtype.itemsize else tree.aligned_copy(leaf)
