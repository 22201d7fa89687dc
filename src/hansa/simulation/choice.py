"""How a federation is simulated, as values: `Federation.simulate(data, executor=hansa.Processes(workers=4))`.

Unless one is chosen, a run begins in this process and moves to as many as there are cores once that is worth it: in reference
mode too, with exact engines, because its bits are the same. This file must not know how any of them works.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from hansa.core.ask import Executor
from hansa.core.work import Work
from hansa.data import FederatedData
from hansa.errors import ConfigError, UnknownName
from hansa.experiment.reference import Mode
from hansa.simulation.automatic import Automatic
from hansa.simulation.clock import VirtualClock
from hansa.simulation.fused import FusedExecutor
from hansa.simulation.sequential import SequentialExecutor
from hansa.simulation.states import ClientStates
from hansa.simulation.visits import ExecutorState

if TYPE_CHECKING:
    from hansa.simulation.processes import Origin

Isolation = Literal["shared", "fresh"]
"""Whether clients of one worker share its process, or each has a new one that gives all of its memory back."""


class Simulator(Executor, Protocol):
    """An executor on this machine or a cluster, and what a simulated run needs of it besides.

    Attributes:
        answered: is told how many clients of the present ask have answered, and of how many.
    """

    answered: Callable[[int, int], None]

    @property
    def chosen(self) -> Mapping[str, str]:
        """How it computes, for the History: which executor, which engine for which work."""
        ...

    @property
    def state(self) -> ExecutorState:
        """Where it stands between two asks."""
        ...

    def restore(self, state: ExecutorState) -> None:
        """Go on from there."""
        ...

    def seconds(self) -> float:
        """What time it is, from any origin: virtual seconds since the run began where there is a clock for them."""
        ...

    def close(self) -> None:
        """Give everything back. Closing twice is harmless."""
        ...


@dataclass(frozen=True)
class Job:
    """What is to be simulated.

    Attributes:
        works: the algorithm's.
        data: what the clients hold.
        seed: of the clients' randomness.
        mode: see `hansa.experiment.reference`.
        device: where works compute.
        origin: where another process finds the works; raises `ExperimentFileError` where it cannot.
        clock: how virtual time passes; None for none.
    """

    works: Mapping[str, Work]
    data: FederatedData
    seed: int
    mode: Mode
    device: str
    origin: Callable[[], Origin]
    clock: VirtualClock | None = None

    @property
    def said(self) -> dict[str, Any]:
        """What every executor is told by name; the clients' private states are new ones."""
        return {"mode": self.mode, "device": self.device, "private": ClientStates(), "clock": self.clock}


class ExecutorChoice(Protocol):
    """How to simulate."""

    def open(self, job: Job) -> Simulator:
        """The executor; to be closed."""
        ...


@dataclass(frozen=True)
class Sequential:
    """One client after the other in this process, every work called as it is: the definition of all others."""

    def open(self, job: Job) -> Simulator:
        """See `ExecutorChoice`."""
        return SequentialExecutor(job.works, job.data, job.seed, **job.said)


@dataclass(frozen=True)
class Fused:
    """In this process, local training done by an engine without overhead per step or client.

    Attributes:
        engine: the only one to use, such as "traced" or "vmap-4"; "plain" for none. Unless given, short trials on the first
            clients choose; the choice is remembered for this model and machine, and the History tells it.
    """

    engine: str | None = None

    def open(self, job: Job) -> Simulator:
        """See `ExecutorChoice`."""
        return FusedExecutor(job.works, job.data, job.seed, engine=self.engine, **job.said)


@dataclass(frozen=True)
class Processes:
    """Worker processes on this machine, each with one thread and engines of its own.

    Attributes:
        workers: how many; unless given, one for each core.
        engine: see `Fused`.
        isolation: "fresh" computes every client in a new process, so that all memory, a GPU's too, is returned after it.
        max_concurrent: at most so many clients are computed at once; unless given, one for each worker.
        gpu_fraction: the share of a GPU's memory that one client may take; as many run at once as fit.
        timeout: seconds after which a client's work counts as failed, and its process is ended.
    """

    workers: int | None = None
    engine: str | None = None
    isolation: Isolation = "shared"
    max_concurrent: int | None = None
    gpu_fraction: float | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "max_concurrent"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise ConfigError(f"{name} is at least 1, not {number}")
        if self.isolation not in get_args(Isolation):
            raise UnknownName.among("isolation", self.isolation, get_args(Isolation))
        if self.gpu_fraction is not None and not 0 < self.gpu_fraction <= 1:
            raise ConfigError(f"gpu_fraction lies in (0, 1], not {self.gpu_fraction}")
        if self.timeout is not None and not self.timeout > 0:
            raise ConfigError(f"timeout is a positive number of seconds, not {self.timeout}")

    def open(self, job: Job) -> Simulator:
        """See `ExecutorChoice`."""
        from hansa.simulation.processes import ProcessesExecutor

        return ProcessesExecutor(
            job.origin(),
            job.data,
            job.seed,
            engine=self.engine,
            workers=self.workers or cores(),
            isolation=self.isolation,
            max_concurrent=self.max_concurrent,
            gpu_fraction=self.gpu_fraction,
            timeout=self.timeout,
            **job.said,
        )


@dataclass(frozen=True)
class Ray:
    """Actors on a Ray cluster, for those who outgrow one machine. Needs the extra "ray".

    Attributes:
        address: the cluster's, as `ray.init` takes it; unless given, one is started on this machine.
        workers: how many actors; unless given, one for each of the cluster's cores.
        engine: see `Fused`.
        gpu_fraction: the share of a GPU that each actor is given.
    """

    address: str | None = None
    workers: int | None = None
    engine: str | None = None
    gpu_fraction: float | None = None

    def open(self, job: Job) -> Simulator:
        """See `ExecutorChoice`."""
        from hansa.simulation.ray import RayExecutor

        return RayExecutor(
            job.origin(),
            job.data,
            job.seed,
            engine=self.engine,
            workers=self.workers,
            address=self.address,
            gpu_fraction=self.gpu_fraction,
            **job.said,
        )


@dataclass(frozen=True)
class Auto:
    """What suits the mode, the machine and the work: see the top of this file."""

    def open(self, job: Job) -> Simulator:
        """See `ExecutorChoice`."""
        if cores() == 1:
            return Fused().open(job)
        return Automatic(Fused().open(job), lambda: Processes().open(job), cores())


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
