"""The fused executor: the sequential one, with local training done by engines that are as quick as a loop written by hand."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from hansa.core.population import ClientId
from hansa.core.tree import Tree
from hansa.core.work import Work
from hansa.data import FederatedData
from hansa.experiment.reference import Mode
from hansa.simulation.sequential import SequentialExecutor
from hansa.simulation.station import FusedStation


class FusedExecutor(SequentialExecutor):
    """See `SequentialExecutor`, whose bits it gives in reference mode.

    Args:
        works: the algorithm's.
        data: what the clients hold.
        seed: of the clients' randomness.
        mode: "fast" takes engines that round differently, where they are quicker.
        device: where works compute.
        private: where the clients' private states are kept.
        engine: the name of the only engine to use; "plain" for none. Unless given it is chosen by trial.
    """

    def __init__(
        self,
        works: Mapping[str, Work],
        data: FederatedData,
        seed: int,
        *,
        mode: Mode = "reference",
        device: str = "cpu",
        private: MutableMapping[ClientId, Tree] | None = None,
        engine: str | None = None,
    ) -> None:
        super().__init__(works, data, seed, mode=mode, device=device, private=private)
        self._station = FusedStation(works, mode, device, engine)
