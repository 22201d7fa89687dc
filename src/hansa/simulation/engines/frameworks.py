"""Which engines there are for a training: those of its model's framework. None is loaded before it is wanted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from hansa.simulation.engines.engine import EngineKind
from hansa.training import LocalTraining


def kinds_for(training: LocalTraining) -> Callable[[], dict[str, EngineKind]] | None:
    """What loads the engines by name, those that are likely the quickest first; None for a framework without any."""
    model = training.model
    if _is(model, "hansa.models.torch", "TorchModel"):
        return _of_torch
    if _is(model, "hansa.models.jax", "JaxModel") or _is(model, "hansa.models.flax", "FlaxModel"):
        return _of_jax
    return None


def _of_torch() -> dict[str, EngineKind]:
    from hansa.simulation.engines import torch

    return dict(torch.kinds())


def _of_jax() -> dict[str, EngineKind]:
    from hansa.simulation.engines import jax

    return dict(jax.kinds())


def _is(model: object, module: str, kind: str) -> bool:
    """Whether a model is of a class whose module need not be loaded to say no."""
    loaded: Any = sys.modules.get(module)
    return loaded is not None and isinstance(model, getattr(loaded, kind))
