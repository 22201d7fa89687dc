"""FedJAX, as its users write it: `python -m benchmarks.simulation.peers.fedjax NAME FOLDER` is a contestant.

Its own federated averaging, whose clients train one after the other by a jitted step; XLA uses both cores.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulation import workloads
from benchmarks.simulation.contestant import Rounds, serve
from benchmarks.simulation.workloads import CLASSES, PLAIN, SHAPES, WORKLOADS, Plain, Workload

fedjax: Any = importlib.import_module("fedjax")
jax: Any = importlib.import_module("jax")
hk: Any = importlib.import_module("haiku")
jnp: Any = importlib.import_module("jax.numpy")

DENSE = {"cnn": (128,), "mlp": (128,), "blitz": (120, 84), "cifar": (128,)}


def forward(network: str) -> Callable[[Any], Any]:
    """The network in Haiku."""

    def mlp(x: Any) -> Any:
        for width in DENSE[network]:
            x = jax.nn.relu(hk.Linear(width)(x))
        return hk.Linear(CLASSES[network])(x)

    def cnn(x: Any) -> Any:
        x = x.reshape(-1, 28, 28, 1)
        for width in (32, 64):
            x = jax.nn.relu(hk.Conv2D(width, 3, padding="VALID")(x))
        return mlp(hk.Flatten()(hk.MaxPool(2, 2, "VALID")(x)))

    def two_pooled(x: Any) -> Any:
        x = jnp.transpose(x, (0, 2, 3, 1))
        for width in (6, 16) if network == "blitz" else (32, 64):
            kernel = 5 if network == "blitz" else 3
            x = hk.MaxPool(2, 2, "VALID")(jax.nn.relu(hk.Conv2D(width, kernel, padding="VALID")(x)))
        return mlp(hk.Flatten()(x))

    return {"mlp": mlp, "cnn": cnn, "blitz": two_pooled, "cifar": two_pooled}[network]


def training(workload: Workload, folder: Path) -> Rounds:
    """Federated averaging."""
    x, y = workloads.pool(folder)
    transformed = hk.transform(lambda batch: forward(workload.network)(batch["x"]))
    model = fedjax.create_model_from_haiku(
        transformed_forward_pass=transformed,
        sample_batch={"x": np.zeros((1, *SHAPES[workload.network]), np.float32), "y": np.zeros(1, np.int32)},
        train_loss=lambda batch, outputs: fedjax.metrics.unreduced_cross_entropy_loss(batch["y"], outputs),
        eval_metrics={},
    )
    optimizer = fedjax.optimizers.adam(workload.rate) if workload.adam else fedjax.optimizers.sgd(workload.rate)
    algorithm = fedjax.algorithms.fed_avg.federated_averaging(
        fedjax.model_grad(model),
        optimizer,
        fedjax.optimizers.sgd(1.0),
        fedjax.ShuffleRepeatBatchHParams(batch_size=workload.batch, num_epochs=1),
    )
    state = algorithm.init(model.init(jax.random.PRNGKey(0)))

    def round_(number: int, cohort: list[int]) -> float:
        nonlocal state
        keys = jax.random.split(jax.random.PRNGKey(number), len(cohort))
        rows = [workload.rows(client) for client in cohort]
        data = [fedjax.ClientDataset({"x": x[each], "y": y[each].astype(np.int32)}) for each in rows]
        state, _ = algorithm.apply(state, list(zip(map(str, cohort), data, keys, strict=True)))
        jax.block_until_ready(state.params)
        return math.nan

    return round_


def adding(workload: Plain) -> Rounds:
    """Every client adds one: its own `for_each_client`, and the mean as its federated averaging takes it."""
    params = workload.model()

    def client_init(shared: Any, _input: Any) -> Any:
        return shared

    def client_step(state: Any, _batch: Any) -> Any:
        return jax.tree_util.tree_map(lambda leaf: leaf + 1, state)

    def client_final(shared: Any, state: Any) -> Any:
        return jax.tree_util.tree_map(lambda a, b: b - a, shared, state)

    each = fedjax.for_each_client(client_init, client_step, client_final)

    def round_(_number: int, cohort: list[int]) -> float:
        nonlocal params
        clients = [(client, [workloads.own_number(client)], ()) for client in cohort]
        total, weights = fedjax.tree_util.tree_zeros_like(params), 0.0
        for _, change in each(params, clients):
            total, weights = fedjax.tree_util.tree_add(total, change), weights + 1
        mean = fedjax.tree_util.tree_inverse_weight(total, weights)
        params = jax.block_until_ready(fedjax.tree_util.tree_add(params, mean))
        return math.nan

    return round_


def main(name: str, folder: str) -> None:
    serve(lambda: adding(PLAIN[name]) if name in PLAIN else training(WORKLOADS[name], Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
