"""The Experiment: a frozen description of what to run, the same for the simulator and for a real federation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hansa.core.ask import FederatedAlgorithm
from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.models import Model


@dataclass(frozen=True)
class Experiment:
    """What to run.

    Attributes:
        model: gives the initial parameters.
        algorithm: what is done with them, evaluations included.
        seed: of every random choice in the run.
        initial: start from these parameters instead of the model's own.
        name: for people.
    """

    model: Model
    algorithm: FederatedAlgorithm[Any]
    seed: int = 0
    initial: Tree | None = None
    name: str = "experiment"

    def start(self) -> Tree:
        """The parameters that the run starts from."""
        return self.model.init(key(self.seed, "init")) if self.initial is None else self.initial
