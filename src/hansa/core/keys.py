"""Randomness as a value: every random choice in Hansa comes from `key(seed, *path)`.

A key is a seed and a path of names and numbers. Nothing is drawn, and nothing is hashed, until somebody asks for a
generator or an integer; so handing each of ten thousand clients its own key costs next to nothing. The same seed and path
give the same numbers in every process, on every machine and for every `PYTHONHASHSEED`.

This file must not know what the numbers are used for.
"""

from __future__ import annotations

import hashlib
import operator
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np

from hansa.errors import ConfigError

Step = str | SupportsIndex
"""One step of a key's path: a name or a whole number."""


def _encoded(step: Step) -> bytes:
    """`step` as bytes that no other step has: a tag, a length and the value."""
    if isinstance(step, str):
        value = step.encode()
        return b"s%d:%b" % (len(value), value)
    try:
        value = b"%d" % operator.index(step)
    except TypeError:
        raise ConfigError(
            f"a key's path holds names and whole numbers, not {step!r}", hint="use str(...) or int(...) on it"
        ) from None
    return b"i%d:%b" % (len(value), value)


@dataclass(frozen=True, slots=True)
class Key:
    """A place in the tree of random choices.

    Attributes:
        seed: the run's seed.
        path: the names and numbers that lead here, such as `("client", "alice", "round", 3)`.
    """

    seed: int
    path: tuple[Step, ...] = ()

    def child(self, *path: Step) -> Key:
        """The key further down `path`; its numbers are independent of this one's."""
        return Key(self.seed, self.path + path)

    def digest(self) -> bytes:
        """32 bytes that depend on the seed and every step of the path."""
        return hashlib.sha256(b"".join(map(_encoded, (self.seed, *self.path)))).digest()

    def integer(self, bits: int = 63) -> int:
        """A whole number in [0, 2**bits), bits at most 256: a seed for a framework's own generator."""
        return int.from_bytes(self.digest(), "big") >> (256 - bits)

    def generator(self) -> np.random.Generator:
        """A fresh NumPy generator (PCG64); two calls give two generators that draw the same numbers."""
        return np.random.Generator(np.random.PCG64(self.integer(128)))


def key(seed: int, *path: Step) -> Key:
    """The key at `path` below `seed`.

    Args:
        seed: any whole number.
        path: names and whole numbers; `key(0, "a", "b")`, `key(0, "ab")` and `key(0, "a").child("b")` are told apart
            except that the first and the last are equal.
    """
    return Key(operator.index(seed), path)
