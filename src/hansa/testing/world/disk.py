"""What survives a crash: a journal of facts, and blobs by the hash of their content, each kept for the runs that need it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from hansa.protocol import wire
from hansa.protocol.messages import Blob


class Library:
    """The contents of all blobs in the world, by their names; that a name is known does not say that anybody has it."""

    def __init__(self) -> None:
        self._contents: dict[str, Any] = {}

    def named(self, *content: Any) -> Blob:
        """The name of a content."""
        data = repr(content).encode()
        name = hashlib.sha256(data).hexdigest()
        self._contents[name] = content
        return Blob(name, len(data))

    def content(self, blob: Blob | str) -> tuple[Any, ...]:
        """What was named so."""
        content: tuple[Any, ...] = self._contents[blob if isinstance(blob, str) else blob.sha256]
        return content


class Disk:
    """One machine's.

    Args:
        note: is shown each fact when it is durable.
    """

    def __init__(self, note: Callable[[Any], None]) -> None:
        self._note = note
        self._journal: list[tuple[str, bytes]] = []
        self.blobs: dict[str, set[str]] = {}

    def record(self, fact: Any) -> None:
        """A fact is durable."""
        self._journal.append((fact.run, wire.encode(fact)))
        self._note(fact)

    def facts(self) -> list[Any]:
        """All facts, in order."""
        return [wire.decode(data) for _, data in self._journal]

    def keep(self, run: str, blobs: Iterable[Blob | None]) -> None:
        """These are durable, for a run."""
        for blob in blobs:
            if blob is not None:
                self.blobs.setdefault(blob.sha256, set()).add(run)

    def has(self, blob: Blob | None) -> bool:
        """Whether it is there; no blob is everywhere."""
        return blob is None or blob.sha256 in self.blobs

    def discard(self, run: str, names: Iterable[str]) -> None:
        """A run does not need these any more."""
        for name in names:
            runs = self.blobs.get(name, set())
            runs.discard(run)
            if not runs:
                self.blobs.pop(name, None)

    def forget(self, run: str) -> None:
        """Nothing of a run stays."""
        self._journal = [(each, data) for each, data in self._journal if each != run]
        self.discard(run, list(self.blobs))

    def sweep(self, needed: Mapping[str, Collection[str]]) -> None:
        """What its run does not need is taken off, at a start: it was brought along just before the crash."""
        for name in list(self.blobs):
            runs = {run for run in self.blobs[name] if name in needed.get(run, ())}
            if runs:
                self.blobs[name] = runs
            else:
                del self.blobs[name]
