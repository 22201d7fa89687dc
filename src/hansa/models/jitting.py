"""JAX's compiler for functions that somebody else wrote, and that it may be unable to trace.

This file must not know what the functions compute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hansa.errors import MissingExtra

try:
    import jax
except ImportError as missing:
    raise MissingExtra.of("JAX", "jax", "a JaxModel") from missing


class Jitted:
    """A pure function of trees of arrays and of numbers, compiled by JAX until that turns out to be impossible."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._jitted, self._traceable = function, jax.jit(function), True

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns; a whole number comes back as an array."""
        if self._traceable:
            place = next((leaf.device for leaf in jax.tree.leaves(arguments) if isinstance(leaf, jax.Array)), None)
            # An array from the first call on: what comes back for it is one, and in the next call is not compiled for anew.
            held = [jax.device_put(each, place) if isinstance(each, int) else each for each in arguments]
            try:
                return self._jitted(*held)
            except TypeError:  # as all of JAX's errors of tracing are; one of the function's own is raised again below
                self._traceable = False
        return self._function(*arguments)
