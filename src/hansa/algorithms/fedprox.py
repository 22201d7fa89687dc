"""FedProx: FedAvg whose clients are held near the global model.

T. Li, A. K. Sahu, M. Zaheer, M. Sanjabi, A. Talwalkar, V. Smith, Federated Optimization in Heterogeneous Networks,
MLSys 2020, Algorithm 2: client k minimises  F_k(w) + (μ/2)·‖w − w^t‖².
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hansa.algorithms.fedavg import FedAvg
from hansa.core.work import Work
from hansa.errors import ConfigError
from hansa.training import LocalTraining, Proximal


@dataclass(frozen=True, kw_only=True)
class FedProx(FedAvg):
    """FedAvg with the proximal term.

    Attributes:
        mu: μ; 0 is FedAvg. The paper tries 0.001, 0.01, 0.1 and 1.
    """

    mu: float

    def __post_init__(self) -> None:
        super().__post_init__()
        Proximal(self.mu)  # refuses a negative μ
        if not isinstance(self.local, LocalTraining):
            raise ConfigError(
                f"FedProx changes the gradient of a LocalTraining, and {type(self.local).__name__} shows it none",
                hint="write the work as a LocalTraining, or add the proximal term to its own loss and use FedAvg",
            )

    @property
    def works(self) -> Mapping[str, Work]:
        """Local training with the proximal term's gradient, μ·(w − w^t)."""
        assert isinstance(self.local, LocalTraining)  # noqa: S101 - checked when this was made; for the type checker
        return {"train": self.local.with_gradient(Proximal(self.mu))}
