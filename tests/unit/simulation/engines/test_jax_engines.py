"""The engines of JAX against the definition: models, optimisers, sizes and limits; what they refuse, and how they recover."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from jax import numpy as jnp

import hansa
from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.data.dataset import Batch
from hansa.errors import DataError
from hansa.experiment.reference import threads
from hansa.models import Model
from hansa.models.flax import FlaxModel
from hansa.models.jax import JaxModel
from hansa.simulation.engines.engine import CannotFuse, Engine
from hansa.simulation.engines.jax import kinds
from hansa.simulation.engines.jax.engine import distance
from hansa.simulation.engines.jax.examples import bucket
from hansa.training import SGD, Adam, Chain, ClipNorm, ExponentialDecay, LocalTraining, OptimizerState, Proximal, Yogi
from hansa.training.optax import Optax

cross_entropy = optax.softmax_cross_entropy_with_integer_labels

ENGINES = ["vmap-4", "scan", "jitted"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with threads("reference"):
        yield


def made(rng: Any) -> Any:
    below, above = jax.random.split(rng)
    return {
        "below": {"w": jax.random.normal(below, (6, 8)) / 2, "b": jnp.zeros(8)},
        "above": {"w": jax.random.normal(above, (8, 3)) / 2, "b": jnp.zeros(3)},
    }


def applied(params: Any, x: Any) -> Any:
    below, above = params["below"], params["above"]
    return jnp.tanh(x @ below["w"] + below["b"]) @ above["w"] + above["b"]


def dropped(params: Any, x: Any, rng: Any) -> Any:
    return applied(params, x if rng is None else x * jax.random.bernoulli(rng, 0.7, x.shape) / 0.7)


def convolved(params: Any, x: Any) -> Any:
    """A convolution along the six numbers of an example."""
    x = jax.lax.conv_general_dilated(
        x[:, :, None], params["kernel"], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )
    return applied(params, jax.nn.relu(x).mean(axis=2))


def with_kernel(rng: Any) -> Any:
    return {**made(rng), "kernel": jax.random.normal(rng, (3, 1, 4)), "seen": np.arange(2)}


class Net(nnx.Module):
    """Two dense layers, or with BatchNorm between, and dropout."""

    def __init__(self, *, rngs: nnx.Rngs, statistics: bool = False) -> None:
        self.below, self.above = nnx.Linear(6, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs) if statistics else None
        self.dropout = nnx.Dropout(0.2, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.below(x)
        return self.above(self.dropout(jnp.tanh(x if self.norm is None else self.norm(x))))


def mean_loss(outputs: Any, target: Any) -> Any:
    return cross_entropy(outputs, target).mean()


def contrasted(outputs: Any, target: Any) -> Any:
    """No mean over examples: each is compared with all."""
    return jax.nn.logsumexp(cross_entropy(outputs, target))


DENSE = JaxModel(made, applied, cross_entropy)
MODELS: dict[str, Model] = {
    "dense": DENSE,
    "the loss is the mean": JaxModel(made, applied, mean_loss),
    "dropout": JaxModel(made, dropped, cross_entropy),
    "Flax with dropout": FlaxModel(Net, cross_entropy),
}


def dataset(size: int, seed: int) -> hansa.ClientDataset:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((size, 6)).astype(np.float32)
    return hansa.ClientDataset({"x": x, "y": (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0)})


SIZES = (9, 4, 5, 13, 8, 1)


def clients(sizes: tuple[int, ...] = SIZES, round_: int = 1) -> list[ClientContext]:
    return [
        ClientContext(f"c{number}", {"train": dataset(size, number)}, round_, key(1, "client", number, round_))
        for number, size in enumerate(sizes)
    ]


def made_by(name: str, training: LocalTraining) -> Engine:
    return kinds()[name](training, "cpu")


def check(training: LocalTraining, engine: Engine, contexts: list[ClientContext], broadcast: Tree) -> list[Update]:
    """Its updates, which are those of the definition within rounding, and no zeros."""
    train, updates = engine.trainer(broadcast), []
    for begin in range(0, len(contexts), engine.chunk):
        updates += train(contexts[begin : begin + engine.chunk])
    for context, update in zip(contexts, updates, strict=True):
        expected = training(broadcast, context)
        assert distance(update, expected) < 1e-4
        assert math.isclose(update.metrics["loss"].value, expected.metrics["loss"].value, rel_tol=1e-5)
        assert update.weight == expected.weight
        assert list(update.tree) == list(expected.tree)
        forms = [[(leaf.dtype, leaf.shape) for leaf in each.tree.values()] for each in (update, expected)]
        assert forms[0] == forms[1]
        assert any(leaf.any() for leaf in update.tree.values())
        assert all(leaf.flags.writeable for leaf in update.tree.values())
    return updates


@pytest.mark.parametrize(
    ("name", "of"),
    [
        *((name, "dense") for name in ENGINES),
        ("vmap-4", "the loss is the mean"),
        ("scan", "dropout"),
        ("vmap-4", "Flax with dropout"),
    ],
)
def test_models(name: str, of: str) -> None:
    training = LocalTraining(MODELS[of], SGD(0.3), batch_size=4, epochs=2)
    check(training, made_by(name, training), clients(), training.model.init(key(0)))


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "momentum": {"optimizer": SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01)},
    "Adam": {"optimizer": Adam(0.01)},
    "Yogi, proximal and clipped": {
        "optimizer": Yogi(0.01),
        "gradient": Chain((Proximal(0.5), ClipNorm(0.1))),
    },
    "Optax": {"optimizer": Optax(optax.adamw(0.01))},
}


@pytest.mark.parametrize(("name", "of"), list(zip(("jitted", "vmap-16", "scan", "vmap-4"), OPTIMIZERS, strict=True)))
def test_optimisers_and_gradient_transforms(name: str, of: str) -> None:
    training = LocalTraining(DENSE, batch_size=4, epochs=1, **OPTIMIZERS[of])
    check(training, made_by(name, training), clients(), DENSE.init(key(0)))


LIMITS: dict[str, dict[str, Any]] = {
    "steps": {"steps": 5},
    "both": {"steps": 3, "epochs": 2},
    "no remainder": {"epochs": 2, "drop_remainder": True},
}


@pytest.mark.parametrize(("name", "of"), list(zip(ENGINES, LIMITS, strict=True)))
def test_limits(name: str, of: str) -> None:
    training = LocalTraining(DENSE, SGD(0.3), batch_size=4, **LIMITS[of])
    check(training, made_by(name, training), clients((9, 4, 13, 8)), DENSE.init(key(0)))


@pytest.mark.parametrize("name", ENGINES)
def test_asks_with_other_broadcasts_and_rounds(name: str) -> None:
    training = LocalTraining(DENSE, SGD(0.3), batch_size=4, epochs=1, schedule=ExponentialDecay(0.5))
    engine = made_by(name, training)
    for round_ in (1, 2):
        check(training, engine, clients(round_=round_), DENSE.init(key(round_)))


@pytest.mark.parametrize("name", ENGINES)
def test_views_of_common_arrays_and_transforms(name: str) -> None:
    def doubled(batch: Batch) -> Batch:
        return {**batch, "x": batch["x"] * 2}

    training = LocalTraining(DENSE, SGD(0.3), batch_size=4, epochs=2)
    everything = dataset(200, 0)
    views = [everything.select(np.arange(start, start + size)) for start, size in ((100, 9), (0, 5), (50, 13))]
    contexts = [
        ClientContext(str(number), {"train": data}, 1, key(0, number))
        for number, data in enumerate([*views, dataset(7, 1), views[0].with_transform(doubled)])
    ]
    engine = made_by(name, training)
    check(training, engine, contexts[:3], DENSE.init(key(0)))
    check(training, engine, contexts, DENSE.init(key(0)))


def optimizer_of(update: Update) -> Tree:
    return {name: leaf for name, leaf in update.tree.items() if name.startswith("optimizer:")}


@pytest.mark.parametrize(("name", "policy"), [("vmap-4", "keep"), ("scan", "federate"), ("jitted", "keep")])
def test_an_optimiser_that_goes_on(name: str, policy: Any) -> None:
    training = LocalTraining(DENSE, Adam(0.01), batch_size=4, epochs=1, optimizer_state=policy)
    engine, broadcast, (first, *others) = made_by(name, training), DENSE.init(key(0)), clients((9, 4, 5))
    expected = training(broadcast, first)
    (update,) = check(training, engine, [first], broadcast)
    leaves = update.state if policy == "keep" else update.tree
    reference = expected.state if policy == "keep" else expected.tree
    assert leaves is not None
    assert reference is not None
    assert leaves["optimizer:steps"] == reference["optimizer:steps"] == 3
    again = [ClientContext("c0", first.data, 2, key(7), state=update.state or {}), *others]
    check(training, engine, again, {**broadcast, **optimizer_of(update)})


# --- convolutions, statistics, and losses that are no mean


def test_convolutions_are_jitted_and_refused_inside_loops() -> None:
    training = LocalTraining(JaxModel(with_kernel, convolved, cross_entropy), SGD(0.1), batch_size=4, epochs=1)
    broadcast = training.model.init(key(0))
    check(training, made_by("jitted", training), clients(), broadcast)
    for name in ("vmap-4", "scan"):
        with pytest.raises(CannotFuse, match="convolutions slowly inside loops on a CPU"):
            made_by(name, training).trainer(broadcast)(clients())


@pytest.mark.parametrize(("name", "drop"), [("vmap-4", False), ("vmap-4", True), ("scan", False)])
def test_statistics_of_batches(name: str, drop: bool) -> None:
    model = FlaxModel(lambda rngs: Net(rngs=rngs, statistics=True), cross_entropy)
    training = LocalTraining(model, SGD(0.1), batch_size=4, epochs=2, drop_remainder=drop)
    if name.startswith("vmap") and not drop:
        with pytest.raises(CannotFuse, match="keeps statistics of its batches") as caught:
            made_by(name, training)
        assert caught.value.hint == "leave them out with drop_remainder=True"
        return
    check(training, made_by(name, training), clients((10, 4, 6)), model.init(key(0)))


@pytest.mark.parametrize("name", ["vmap-4", "jitted"])
def test_a_loss_that_is_no_mean_over_examples(name: str) -> None:
    training = LocalTraining(JaxModel(made, applied, contrasted), SGD(0.1), batch_size=4, epochs=1)
    engine, broadcast = made_by(name, training), DENSE.init(key(0))
    if name.startswith("vmap"):
        with pytest.raises(CannotFuse, match="differ from the definition's by"):
            engine.trainer(broadcast)(clients())
    else:
        check(training, engine, clients(), broadcast)


# --- what is refused, and bad clients


def test_a_model_of_another_framework_is_refused() -> None:
    training = LocalTraining(hansa.NumpyMLP((6, 3)), SGD(0.1), epochs=1)
    for name in ENGINES:
        with pytest.raises(CannotFuse, match="NumpyMLP is no model of JAX"):
            made_by(name, training)


@dataclass(frozen=True)
class Branching:
    """An optimiser that asks whether it has begun."""

    def init(self, params: Tree) -> OptimizerState:  # noqa: ARG002 - a port's signature
        return OptimizerState()

    def step(self, params: Tree, gradient: Tree, state: OptimizerState, factor: float = 1.0) -> Any:
        if any(leaf.sum() > 0 for leaf in gradient.values()):
            return params, state
        return SGD(0.1).step(params, gradient, state, factor)


def test_an_optimiser_that_branches_on_values_is_refused() -> None:
    for name in ENGINES:
        with pytest.raises(CannotFuse, match="JAX cannot trace the optimiser or the gradient transform: TracerBool"):
            made_by(name, LocalTraining(DENSE, Branching(), epochs=1))


@pytest.mark.parametrize("name", ENGINES)
def test_a_client_whose_labels_are_wrong_leaves_the_engine_usable(name: str) -> None:
    training = LocalTraining(DENSE, SGD(0.3), batch_size=4, epochs=1)
    engine, broadcast = made_by(name, training), DENSE.init(key(0))
    good = clients()
    data = dataset(9, 0)
    bad = hansa.ClientDataset({"x": data["x"], "y": np.full(9, 7)})
    too_wide = hansa.ClientDataset({"x": data["x"], "y": np.full(9, 1 << 40)})
    empty = hansa.ClientDataset({"x": data["x"][:0], "y": data["y"][:0]})
    for wrong in (bad, too_wide, empty, hansa.ClientDataset({"y": data["y"]})):
        with pytest.raises(DataError):
            engine.trainer(broadcast)([*good[: engine.chunk - 1], ClientContext("bad", {"train": wrong}, 1, key(0))])
        check(training, engine, good, broadcast)


def test_clients_of_ordinary_sizes_need_few_programs() -> None:
    sizes = np.clip(np.exp(np.random.default_rng(0).normal(5.1, 0.6, 10_000)), 20, 400).astype(int)
    assert {(bucket(int(size), 512), bucket(-(-int(size) // 20), 32)) for size in sizes} == {(512, 32)}
    assert [bucket(number, 4) for number in (1, 4, 5, 8, 9, 100)] == [4, 4, 8, 8, 16, 128]
