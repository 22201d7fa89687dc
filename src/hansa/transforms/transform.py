"""The port of transforms: what an update looks like on the wire, and how it becomes an update again.

A transform is a pure value that both sides have. The receiver knows the form of what was encoded, so that nothing on the wire
says how large a result is to be: no sender can make a receiver take more memory than an update of its own model takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hansa.core.keys import Key
from hansa.core.tree import Array, Tree
from hansa.errors import ConfigError, InputError


class Transform(Protocol):
    """Changes an update on its way out of a client, and back in at the server. Leaves that are no floats stay as they are.

    A number that is not finite never becomes a finite one, so that the update gate sees it.
    """

    def encode(self, update: Tree, key: Key) -> Tree:
        """The update as it travels: leaves of perhaps other names, shapes and dtypes. `key` is its randomness."""
        ...

    def decode(self, encoded: Tree, form: Tree) -> Tree:
        """The update again, within the transform's error, in the names, shapes and dtypes of `form`.

        Args:
            encoded: what `encode` gave; its names, shapes and dtypes are those of `self.form(form)`.
            form: names, shapes and dtypes of what was encoded; its values are not looked at.

        Raises:
            TreeMismatch: values that `encode` never gives.
        """
        ...

    def form(self, form: Tree) -> Tree:
        """Names, shapes and dtypes of what `encode` gives for an update of this form; the values mean nothing.

        Raises:
            InputError: two leaves would have one name.
        """
        ...


@dataclass(frozen=True)
class Chained:
    """One transform after the other: `Chained((Sparsified(0.1), Quantised(8)))` sends a tenth of the numbers, in 8 bits."""

    transforms: tuple[Transform, ...]

    def __post_init__(self) -> None:
        if not self.transforms:
            raise ConfigError("a chain of transforms holds at least one")

    def encode(self, update: Tree, key: Key) -> Tree:
        """All of them, from the first to the last."""
        for place, transform in enumerate(self.transforms):
            update = transform.encode(update, key.child(place))
        return update

    def decode(self, encoded: Tree, form: Tree) -> Tree:
        """All of them, from the last to the first."""
        forms = [form]
        for transform in self.transforms[:-1]:
            forms.append(transform.form(forms[-1]))
        for transform, before in zip(reversed(self.transforms), reversed(forms), strict=True):
            encoded = transform.decode(encoded, before)
        return encoded

    def form(self, form: Tree) -> Tree:
        """The last one's, of what the others make of it."""
        for transform in self.transforms:
            form = transform.form(form)
        return form


def outline(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of this shape and dtype that takes the memory of one number: what forms are made of."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def named(leaves: Iterable[tuple[str, Array]]) -> Tree:
    """A tree of leaves that were given names.

    Raises:
        InputError: two have the same.
    """
    tree: Tree = {}
    for name, leaf in leaves:
        if name in tree:
            raise InputError(
                f"a transformed update would have two leaves {name!r}", hint="rename that part of the model"
            )
        tree[name] = leaf
    return tree
