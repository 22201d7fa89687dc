"""The executor with worker processes on this machine. How one ask is carried out by them is in `crewed`."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Literal

from hansa.core.population import ClientId
from hansa.core.tree import Tree
from hansa.data import FederatedData
from hansa.experiment.reference import Mode
from hansa.simulation.clock import VirtualClock
from hansa.simulation.processes.crew import ProcessCrew
from hansa.simulation.processes.crewed import CrewExecutor
from hansa.simulation.processes.origin import Origin
from hansa.simulation.processes.port import Manning


class ProcessesExecutor(CrewExecutor):
    """See `SequentialExecutor`, whose bits it gives in reference mode; to be closed.

    Args:
        origin: where workers find the works.
        data: what the clients hold.
        seed: of the clients' randomness.
        mode: "fast" takes engines that round differently, and sums in the order in which updates come.
        device: where works compute.
        private: where the clients' private states are kept.
        clock: how virtual time passes.
        engine: the name of the only engine to use; "plain" for none. Unless given it is chosen by trial.
        workers: how many processes, each with one thread.
        isolation: "fresh" computes every client in a new process, so that all memory, a GPU's too, is returned after it.
        max_concurrent: so many clients are computed at once at most; unless given, one for each worker, or more where an
            engine computes several together.
        gpu_fraction: the share of a GPU's memory that one client may take, and thereby how many are computed at once.
        timeout: seconds after which a client's work has failed, and its process is ended.
        crew: processes that several executors share, which were made like this; whoever made them closes them.

    Raises:
        ConfigError: there is no worker.
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
        workers: int,
        isolation: Literal["shared", "fresh"] = "shared",
        max_concurrent: int | None = None,
        gpu_fraction: float | None = None,
        timeout: float | None = None,
        crew: ProcessCrew | None = None,
    ) -> None:
        fresh = isolation == "fresh"
        manning = Manning(workers, mode, device, engine, fresh, max_concurrent, gpu_fraction, timeout)
        own = ProcessCrew(origin, manning) if crew is None else crew
        super().__init__(own, data, seed, private, clock, closes=crew is None)
