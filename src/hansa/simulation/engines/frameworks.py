"""Which engines there are for a training: those of its model's framework. Nothing is loaded that is not there already."""

from __future__ import annotations

import sys
from typing import Any

from hansa.simulation.engines.engine import EngineKind
from hansa.training import LocalTraining


def kinds_for(training: LocalTraining) -> dict[str, EngineKind]:
    """The engines by name, those that are likely the quickest first; none for a framework without any."""
    model = training.model
    if _is(model, "hansa.models.torch", "TorchModel"):
        from hansa.simulation.engines import torch as torch_engines

        return dict(torch_engines.kinds())
    if _is(model, "hansa.models.jax", "JaxModel") or _is(model, "hansa.models.flax", "FlaxModel"):
        from hansa.simulation.engines import jax as jax_engines

        return dict(jax_engines.kinds())
    return {}


def _is(model: object, module: str, kind: str) -> bool:
    """Whether a model is of a class whose module need not be loaded to say no."""
    loaded: Any = sys.modules.get(module)
    return loaded is not None and isinstance(model, getattr(loaded, kind))
