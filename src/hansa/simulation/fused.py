"""The fused executor: the sequential one, with local training done by engines that are as quick as a loop written by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping

from hansa.core.ask import Ask
from hansa.core.population import ClientId
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Work
from hansa.data import FederatedData
from hansa.experiment.reference import Mode
from hansa.simulation.clock import VirtualClock
from hansa.simulation.prepared import prepared
from hansa.simulation.sequential import SequentialExecutor
from hansa.simulation.station import FusedStation
from hansa.simulation.visits import SPLITS, Asked


class FusedExecutor(SequentialExecutor):
    """See `SequentialExecutor`, whose bits it gives in reference mode.

    Args:
        works: the algorithm's.
        data: what the clients hold.
        seed: of the clients' randomness.
        mode: "fast" takes engines that round differently, where they are quicker.
        device: where works compute.
        private: where the clients' private states are kept.
        clock: how virtual time passes.
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
        clock: VirtualClock | None = None,
        engine: str | None = None,
    ) -> None:
        super().__init__(works, data, seed, mode=mode, device=device, private=private, clock=clock)
        self._station = FusedStation(works, mode, device, engine)
        self._reads = any(data.split(split).lazy for split in SPLITS)

    def _contexts(self, ask: Ask, visits: list[Asked]) -> Iterator[ClientContext]:
        contexts = super()._contexts(ask, visits)
        return prepared(contexts) if self._reads else contexts
