"""Letters: what a parent and its workers say to each other, as one piece of memory; no pickle, nothing in it is executed.

A letter is its head (plain JSON), a value of any kind that snapshots have (rules, settings, accumulators), and trees. In
memory: 8 bytes with the length of a JSON text, the text, and from the next multiple of 64 bytes on the trees.

This file must not know what memory it is, how it travels, or what letters say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hansa.core.tree import Tree
from hansa.experiment.snapshot import Snapshot, freeze, thaw
from hansa.simulation.processes.layout import Laid, aligned, fill, laid, views

_LENGTH = 8


@dataclass(frozen=True)
class Letter:
    """One letter.

    Attributes:
        kind: what it is about.
        head: what JSON has.
        value: whatever `hansa.experiment.snapshot.freeze` takes apart.
        trees: arrays; the reader sees views of the letter's memory.
    """

    kind: str
    head: Mapping[str, Any] = field(default_factory=dict)
    value: Any = None
    trees: Sequence[Tree] = ()


@dataclass(frozen=True)
class Written:
    """A letter that is ready to be put into `size` bytes of memory."""

    text: bytes
    where: Laid
    trees: Sequence[Tree]

    @property
    def size(self) -> int:
        """Bytes."""
        return aligned(_LENGTH + len(self.text)) + self.where.size

    def put(self, memory: memoryview) -> None:
        """Write it; `memory` has `size` bytes and starts at a multiple of 64."""
        memory[:_LENGTH] = len(self.text).to_bytes(_LENGTH, "little")
        memory[_LENGTH : _LENGTH + len(self.text)] = self.text
        fill(memory[aligned(_LENGTH + len(self.text)) :], self.where, self.trees)


class Sealed(Protocol):
    """A letter in the form in which it is sent, to one worker or to many."""

    def close(self) -> None:
        """Give its memory up; who received it keeps it."""
        ...


class Letters:
    """Writes and reads letters, on one side.

    Args:
        names: what the experiment's file defines on this side.
        own: what this side calls the experiment's file where it is a module, such as "__main__" for a script; workers run it
            as an experiment file, and so do owners.
    """

    def __init__(self, names: Mapping[str, Any], own: str = "") -> None:
        self._names, self._own = names, own

    def written(self, letter: Letter) -> Written:
        """A letter, ready to be put into memory.

        Raises:
            InputError: its value or its trees hold what cannot be written.
        """
        none = Snapshot({}, ())
        frozen = none if letter.value is None else freeze(letter.value, self._names, own=self._own)
        trees = [*frozen.trees, *letter.trees]
        where = laid(trees)
        said = [letter.kind, letter.head, frozen.document, len(frozen.trees), where.places]
        return Written(json.dumps(said, separators=(",", ":")).encode(), where, trees)

    def read(self, memory: memoryview) -> Letter:
        """The letter in a piece of memory.

        Raises:
            InputError: its value has a class that is not to be found on this side.
        """
        length = int.from_bytes(memory[:_LENGTH], "little")
        kind, head, document, count, places = json.loads(bytes(memory[_LENGTH : _LENGTH + length]))
        trees = views(memory[aligned(_LENGTH + length) :], places)
        value = thaw(document, trees[:count], self._names) if document else None
        return Letter(kind, head, value, trees[count:])
