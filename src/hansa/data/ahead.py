"""What is needed next, prepared while what is there is still worked on: batches, or whole clients.

This file must not know what is prepared.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Generic, TypeVar

from hansa.errors import ConfigError

Item = TypeVar("Item")


def ahead(items: Iterable[Item], depth: int = 2) -> Generator[Item, None, None]:
    """The same items in the same order, computed in a thread of their own, at most `depth` of them before they are taken.

    What computing an item raises is raised where that item would come. The thread begins with the first item that is asked
    for, and ends with the last one or when the generator is closed: the item being computed then is waited for, and `items`
    is closed if it is a generator too. Who may leave early says `with contextlib.closing(ahead(...)) as items`; a generator
    that nobody holds any more closes itself.

    Args:
        items: is only ever used by the thread.
        depth: how many items may wait.

    Raises:
        ConfigError: `depth` is less than 1.
    """
    if depth < 1:
        raise ConfigError(f"at least one item is prepared ahead, not {depth}")
    return _taken(items, depth)


def _taken(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    lane: _Lane[Item] = _Lane(depth)
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(lane.fill, items), name="hansa ahead", daemon=True)
    try:
        thread.start()
        yield from lane.taken()
    finally:
        lane.stop()
        if thread.ident is not None:  # Ctrl-C may come before it has begun
            thread.join()


class _Lane(Generic[Item]):
    """Between the thread that computes and whoever takes."""

    def __init__(self, depth: int) -> None:
        self._ready: queue.SimpleQueue[tuple[Any] | BaseException | None] = queue.SimpleQueue()
        self._room, self._stopped = threading.Semaphore(depth), False

    def fill(self, items: Iterable[Item]) -> None:
        """Compute, in the thread."""
        try:
            iterator, end = iter(items), object()
            try:
                while self._wanted() and (item := next(iterator, end)) is not end:
                    self._ready.put((item,))
            finally:
                if isinstance(iterator, Generator):
                    iterator.close()
        except BaseException as problem:  # noqa: BLE001 - it is raised where the item would come
            self._ready.put(problem)
        else:
            self._ready.put(None)

    def _wanted(self) -> bool:
        """Wait until there is room for one item more; false where nobody wants any."""
        self._room.acquire()
        return not self._stopped

    def taken(self) -> Iterator[Item]:
        """Take, where the items are used."""
        while (found := self._ready.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            self._room.release()
            yield found[0]

    def stop(self) -> None:
        """Nobody wants any more."""
        self._stopped = True
        self._room.release()
