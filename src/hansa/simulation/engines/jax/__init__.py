"""The engines of JAX and Flax, all within rounding of the definition: XLA fuses what the definition rounds."""

from __future__ import annotations

from collections.abc import Mapping

from hansa.simulation.engines.engine import EngineKind
from hansa.simulation.engines.jax.jitted import jitted
from hansa.simulation.engines.jax.scan import scan
from hansa.simulation.engines.jax.vmap import vmap

__all__ = ["kinds"]


def kinds() -> Mapping[str, EngineKind]:
    """The engines by name, in the order in which to try them."""
    return {"vmap-4": vmap(4), "vmap-16": vmap(16), "scan": scan, "jitted": jitted}
