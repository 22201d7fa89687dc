"""The Federation: where experiments run. This is where the parts are put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol, get_args

from hansa.core.history import History
from hansa.core.loop import Progress, Step, steps
from hansa.data import ClientDataset, FederatedData
from hansa.errors import ConfigError, DataError
from hansa.experiment import Experiment
from hansa.experiment.reference import Mode, environment, threads
from hansa.simulation import SequentialExecutor


class Federation(Protocol):
    """Runs experiments: `Federation.simulate(data)` in this process."""

    def run(self, experiment: Experiment, on_step: Callable[[Step], None] | None = None) -> History:
        """Run to the end and return what happened, the final model included."""
        ...

    @staticmethod
    def simulate(
        data: FederatedData | Mapping[str, ClientDataset], *, mode: Mode = "reference", device: str = "cpu"
    ) -> SimulatedFederation:
        """A federation whose clients are simulated one after the other in this process.

        Args:
            data: what the clients hold.
            mode: "reference" gives the same bits whenever it is repeated; "fast" lets libraries use every thread.
            device: where works compute, in the framework's words, such as "cpu" or "cuda".

        Raises:
            DataError: a client of the training split has no examples.
        """
        return SimulatedFederation(
            data if isinstance(data, FederatedData) else FederatedData(data), mode=mode, device=device
        )


class SimulatedFederation:
    """See `Federation.simulate`."""

    def __init__(self, data: FederatedData, *, mode: Mode = "reference", device: str = "cpu") -> None:
        if mode not in get_args(Mode):
            raise ConfigError(f"there is no mode {mode!r}", hint='choose "reference" or "fast"')
        for client, examples in data.sizes("train").items():
            if not examples:
                raise DataError(
                    "this client has no examples to train on",
                    where=f"client {client!r}",
                    hint='leave it out of the training split; one that only evaluates belongs in "test" alone',
                )
        self.data, self.mode, self.device = data, mode, device

    def __repr__(self) -> str:
        return f"SimulatedFederation({self.data!r}, mode={self.mode!r})"

    def run(self, experiment: Experiment, on_step: Callable[[Step], None] | None = None) -> History:
        """Run to the end and return what happened, the final model included.

        Args:
            experiment: what to run.
            on_step: called after each step, to follow the run.

        Raises:
            RunFailed: the run ended early; the error's History reports the round and holds the last good model.
        """
        algorithm, seed = experiment.algorithm, experiment.seed
        with threads(self.mode):
            initial = experiment.start()
        history = History(model=initial, seed=seed, mode=self.mode, environment=environment(self.mode))
        executor = SequentialExecutor(algorithm.works, self.data, seed, mode=self.mode, device=self.device)
        for step in steps(algorithm, executor, Progress.begin(algorithm, history), time.perf_counter):
            history = step.history
            if on_step:
                on_step(step)
        return history
