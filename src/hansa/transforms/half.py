"""Half: numbers travel in 16 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import ml_dtypes
import numpy as np

from hansa.core.keys import Key
from hansa.core.tree import Array, Tree, is_floating
from hansa.errors import UnknownName
from hansa.transforms.transform import outline

Narrow = Literal["bfloat16", "float16"]


@dataclass(frozen=True)
class Half:
    """Round every float of more than 16 bits to the nearest of 16 bits.

    A relative error of at most 2^-8 for "bfloat16", 2^-11 for "float16" between 6.1e-5 and 65504. A number above that becomes
    infinite in float16, and the update gate refuses the update; bfloat16 has the range of float32. Complex leaves stay as they
    are.

    Attributes:
        dtype: which 16 bits.
    """

    dtype: Narrow = "bfloat16"

    def __post_init__(self) -> None:
        if self.dtype not in get_args(Narrow):
            raise UnknownName.among("16-bit dtype", self.dtype, get_args(Narrow))

    def encode(self, update: Tree, key: Key) -> Tree:  # noqa: ARG002 - a transform's signature
        """The same leaves, narrower."""
        with np.errstate(over="ignore"):
            return {name: leaf.astype(self._narrow) if _wide(leaf) else leaf for name, leaf in update.items()}

    def decode(self, encoded: Tree, form: Tree) -> Tree:
        """The same leaves in their own dtypes."""
        return {name: encoded[name].astype(leaf.dtype, copy=False) for name, leaf in form.items()}

    def form(self, form: Tree) -> Tree:
        """The same names and shapes."""
        return {name: outline(leaf.shape, self._narrow) if _wide(leaf) else leaf for name, leaf in form.items()}

    @property
    def _narrow(self) -> np.dtype[np.generic]:
        return np.dtype(ml_dtypes.bfloat16 if self.dtype == "bfloat16" else np.float16)


def _wide(leaf: Array) -> bool:
    return is_floating(leaf) and leaf.dtype.kind != "c" and leaf.dtype.itemsize > 2
