"""The executor on a Ray cluster. How one ask is carried out by its actors is in `hansa.simulation.processes.crewed`."""

from __future__ import annotations

from collections.abc import MutableMapping

from hansa.core.population import ClientId
from hansa.core.tree import Tree
from hansa.data import FederatedData
from hansa.experiment.reference import Mode
from hansa.simulation.clock import VirtualClock
from hansa.simulation.processes.crewed import CrewExecutor
from hansa.simulation.processes.origin import Origin
from hansa.simulation.ray.crew import ActorCrew


class RayExecutor(CrewExecutor):
    """See `SequentialExecutor`, whose bits it gives in reference mode where all machines are alike; to be closed.

    Clients' examples and the model go through Ray's store, which the actors of one machine share. An actor that is lost, or its
    machine, is replaced, and what it had computed is computed again; a client over which two actors were lost has failed.

    Args:
        origin: where actors find the works; an experiment file is sent to them.
        data: what the clients hold.
        seed: of the clients' randomness.
        mode: "fast" takes engines that round differently, and sums in the order in which updates come.
        device: where works compute.
        private: where the clients' private states are kept, here.
        clock: how virtual time passes.
        engine: the name of the only engine to use; "plain" for none. Unless given it is chosen by trial.
        workers: how many actors; unless given, one for each of the cluster's cores.
        address: the cluster's, as `ray.init` takes it; unless given, the one that is connected to, or else one is started on
            this machine, and ended when this is closed.
        gpu_fraction: the share of a GPU that each actor is given.
        crew: actors that several executors share; whoever made them closes them.

    Raises:
        ConfigError: there is no worker.
        MissingExtra: Ray is not installed.
    """

    def __init__(
        self,
        origin: Origin,
        data: FederatedData,
        seed: int,
        *,
        mode: Mode = "reference",
        device: str = "cpu",
        private: MutableMapping[ClientId, Tree] | None = None,
        clock: VirtualClock | None = None,
        engine: str | None = None,
        workers: int | None = None,
        address: str | None = None,
        gpu_fraction: float | None = None,
        crew: ActorCrew | None = None,
    ) -> None:
        own = ActorCrew(origin, mode, device, engine, workers, address, gpu_fraction) if crew is None else crew
        super().__init__(own, data, seed, private, clock, closes=crew is None)
