"""PyTorch's engines: a traced step, the same by TorchScript within rounding, a resident module, and clients side by side.

This file names them. They share no state: each is made for one training, by its kind.
"""

from __future__ import annotations

from collections.abc import Mapping

from hansa.simulation.engines.engine import EngineKind
from hansa.simulation.engines.torch import resident, traced, vmap


def kinds() -> Mapping[str, EngineKind]:
    """The kinds of engines by name, the preferred one first; "traced" is the one that is exact."""
    return {
        "traced": traced.traced,
        "resident": resident.resident,
        "resident-bf16": resident.resident_bf16,
        "script": traced.script,
        "vmap-4": vmap.side_by_side(4),
        "vmap-16": vmap.side_by_side(16),
    }
