"""pfl, as its users write it: `python -m benchmarks.simulation.peers.pfl NAME FOLDER` is a contestant.

Two processes of one thread each by its own torch.distributed support, which `torchrun` would start; the clients of a round
are dealt to them longest first. No evaluation, no metrics.
"""

from __future__ import annotations

import importlib
import itertools
import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.simulation import workloads
from benchmarks.simulation.contestant import Turns
from benchmarks.simulation.workloads import PLAIN, WORKLOADS, Workload

PROCESSES = 2


class AddingModule(torch.nn.Module):
    """Ten floats."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(10))

    def loss(self, _x: Any) -> Any:
        raise NotImplementedError

    def metrics(self, _x: Any) -> dict[str, Any]:
        return {}


def module(workload: Workload, folder: Path) -> torch.nn.Module:
    """The network with what pfl asks of one."""
    from benchmarks.simulation.given.networks_torch import NETWORKS, loss

    made, losses = NETWORKS[workload.network](), loss(workload.network)
    made.load_state_dict({name: torch.from_numpy(each) for name, each in np.load(folder / "initial.npz").items()})

    def of(x: Any, y: Any) -> Any:
        return losses(made(x), y)

    made.loss, made.metrics = of, lambda _x, _y: {}  # type: ignore[assignment]
    return made


def dealt(cohort: list[int], sizes: Any) -> list[int]:
    """A cohort in the order in which every other client goes to the first process, so that both have as much to do."""
    parts: list[list[int]] = [[] for _ in range(PROCESSES)]
    each = -(-len(cohort) // PROCESSES)
    for client in sorted(cohort, key=lambda client: -sizes[client]):
        min((part for part in parts if len(part) < each), key=lambda part: sum(sizes[c] for c in part)).append(client)
    return [client for group in itertools.zip_longest(*parts) for client in group if client is not None]


def main(name: str, folder: str) -> None:
    torch.set_num_threads(1)
    pfl: Any = importlib.import_module("pfl")
    for part in (
        "aggregate.simulate",
        "algorithm.federated_averaging",
        "algorithm.base",
        "callback.base",
        "data",
        "model.pytorch",
    ):
        importlib.import_module(f"pfl.{part}")
    hyper: Any = importlib.import_module("pfl.hyperparam")
    tensors: Any = importlib.import_module("pfl.data.pytorch")
    federated: Any = importlib.import_module("pfl.data.federated_dataset")
    statistics: Any = importlib.import_module("pfl.stats")
    metrics: Any = importlib.import_module("pfl.metrics")
    cohorts = json.loads((Path(folder) / "cohorts.json").read_text())
    first = os.environ["RANK"] == "0"
    turns = Turns() if first else None

    class Gate(pfl.callback.base.TrainingProcessCallback):  # type: ignore[misc]  # its types are not installed here
        """Holds all processes between two rounds until the next is asked for."""

        def after_central_iteration(self, *_: Any, **__: Any) -> tuple[bool, Any]:
            on = torch.tensor([1.0 if turns is None else float(turns.over(math.nan))])
            torch.distributed.broadcast(on, 0)
            return not bool(on), metrics.Metrics()

    class Adding(pfl.algorithm.federated_averaging.FederatedAveraging):  # type: ignore[misc]  # as above
        """A client adds one."""

        def train_one_user(self, _state: Any, model: Any, dataset: Any, _context: Any) -> tuple[Any, Any]:
            change = {name: torch.ones_like(each) for name, each in model.variable_map.items()}
            return statistics.MappedVectorStatistics(change, weight=len(dataset)), metrics.Metrics()

    if name in PLAIN:
        plain = PLAIN[name]
        made: Any = AddingModule()
        batch, rate, adam, cohort, sizes = 1, 0.1, False, plain.cohort, np.ones(plain.clients)
        algorithm: Any = Adding()

        def dataset(client: int) -> Any:
            return tensors.PyTorchTensorDataset((torch.full((1,), float(client)),), user_id=client)
    else:
        workload = WORKLOADS[name]
        made = module(workload, Path(folder))
        batch, rate, adam, cohort = workload.batch, workload.rate, workload.adam, workload.cohort
        sizes = workload.sizes
        x, y = (torch.from_numpy(each) for each in workloads.pool(Path(folder)))
        algorithm = pfl.algorithm.federated_averaging.FederatedAveraging()

        def dataset(client: int) -> Any:
            rows = workload.rows(client)
            shuffled = torch.from_numpy(np.random.default_rng().permutation(rows))
            return tensors.PyTorchTensorDataset((x[shuffled], y[shuffled]), user_id=client)

    users = (client for drawn in cohorts for client in dealt(drawn, sizes))
    model = pfl.model.pytorch.PyTorchModel(
        made,
        torch.optim.Adam if adam else torch.optim.SGD,
        central_optimizer=torch.optim.SGD(made.parameters(), 1.0),
    )
    nothing = federated.FederatedDataset(dataset, lambda: 0)
    backend = pfl.aggregate.simulate.SimulatedBackend(
        training_data=federated.FederatedDataset(dataset, lambda: next(users)), val_data=nothing, postprocessors=[]
    )
    params = pfl.algorithm.base.NNAlgorithmParams(
        central_num_iterations=len(cohorts),
        evaluation_frequency=10**9,
        train_cohort_size=cohort,
        val_cohort_size=0,
    )
    training = hyper.NNTrainHyperParams(local_num_epochs=1, local_learning_rate=rate, local_batch_size=batch)
    if turns is not None:
        turns.first()
    torch.distributed.barrier()
    algorithm.run(params, backend, model, training, None, callbacks=[Gate()])


def launched(arguments: list[str]) -> None:
    """Both processes, as torchrun starts them; this one is the first."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    said = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(PROCESSES),
        "TORCHELASTIC_RUN_ID": "x",
    }
    said |= {"OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": str(PROCESSES)}
    command = [sys.executable, "-m", "benchmarks.simulation.peers.pfl", *arguments]
    with subprocess.Popen(
        command, env={**os.environ, **said, "RANK": "1", "LOCAL_RANK": "1"}, stdin=subprocess.DEVNULL
    ):
        os.environ.update(said, RANK="0", LOCAL_RANK="0")
        main(*arguments)


if __name__ == "__main__":
    if "RANK" in os.environ:
        main(*sys.argv[1:])
    else:
        launched(sys.argv[1:])
