"""Every PyTorch engine gives what LocalTraining gives: the exact one to the last bit, the others within rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hansa.core import tree
from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.data import ClientDataset
from hansa.errors import DataError
from hansa.experiment.reference import threads
from hansa.models import NumpyMLP
from hansa.models.torch import TorchModel
from hansa.simulation.engines.engine import CannotFuse, Engine
from hansa.simulation.engines.torch import kinds
from hansa.training import (
    SGD,
    Adagrad,
    Adam,
    Chain,
    ClipNorm,
    ExponentialDecay,
    LocalTraining,
    Optimizer,
    Proximal,
    Yogi,
)
from hansa.training.optimizers import OptimizerState

Data = Callable[[int, int], ClientDataset]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with threads("reference"):
        yield


class Tied(nn.Module):
    """An embedding that is the output layer too, and a layer that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.frozen, self.output = nn.Embedding(9, 7), nn.Linear(7, 7), nn.Linear(7, 9)
        self.output.weight = self.embedding.weight
        self.frozen.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output(torch.tanh(self.frozen(self.embedding(x)))).transpose(1, 2)
        return out


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm, self.output = nn.Embedding(9, 4), nn.LSTM(4, 8, 2, batch_first=True), nn.Linear(8, 9)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output(self.lstm(self.embedding(x))[0]).transpose(1, 2)
        return out


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 5))


def convolutions() -> nn.Module:
    # Without a bias before the normalisation: its gradient is nothing but rounding.
    first = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(first, nn.Dropout(0.3), nn.Flatten(), nn.Linear(36, 5))


def drawn(shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    return key(seed, "x").generator().standard_normal(shape).astype(np.float32)


def labels(shape: tuple[int, ...] | int, classes: int, seed: int) -> np.ndarray[Any, Any]:
    return key(seed, "y").generator().integers(0, classes, shape)


def flat(rows: int, seed: int) -> ClientDataset:
    return ClientDataset({"x": drawn((rows, 12), seed), "y": labels(rows, 5, seed).astype(np.uint8)})


def pictures(rows: int, seed: int) -> ClientDataset:
    return ClientDataset({"x": drawn((rows, 1, 8, 8), seed), "y": labels(rows, 5, seed)})


def text(rows: int, seed: int) -> ClientDataset:
    return ClientDataset({"x": labels((rows, 6), 9, seed), "y": labels((rows, 6), 9, seed + 1)})


MODELS: dict[str, tuple[TorchModel, Data]] = {
    "mlp": (TorchModel(mlp, F.cross_entropy), flat),
    "convolutions": (TorchModel(convolutions, F.cross_entropy), pictures),
    "tied": (TorchModel(Tied, F.cross_entropy), text),
    "lstm": (TorchModel(Recurrent, F.cross_entropy), text),
}
OPTIMIZERS: dict[str, Optimizer] = {
    "SGD": SGD(0.1),
    "momentum": SGD(0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "Adam": Adam(0.01, weight_decay=0.1),
    "Yogi": Yogi(0.01),
}
INEXACT = ("script", "resident", "vmap-4")
CANNOT = {("vmap-4", "convolutions"): "in-place", ("vmap-4", "lstm"): "batching rule"}


def contexts(data: Data, sizes: Sequence[int] = (16, 19, 5, 30), round_: int = 2, **more: Any) -> list[ClientContext]:
    return [
        ClientContext(str(place), {"train": data(size, place)}, round=round_, key=key(1, round_, place), **more)
        for place, size in enumerate(sizes)
    ]


def by(engine: Engine, broadcast: Tree, visits: Sequence[ClientContext]) -> list[Update]:
    trainer = engine.trainer(broadcast)
    chunks = [visits[first : first + engine.chunk] for first in range(0, len(visits), engine.chunk)]
    return [update for chunk in chunks for update in trainer(chunk)]


def alike(found: Update, expected: Update) -> bool:
    """To the bit."""
    same = found.tree.keys() == expected.tree.keys() and (found.metrics, found.weight) == (
        expected.metrics,
        expected.weight,
    )
    return same and bits(found.tree) == bits(expected.tree) and bits(found.state or {}) == bits(expected.state or {})


def bits(leaves: Tree) -> dict[str, Any]:
    return {name: (leaf.dtype, leaf.shape, leaf.tobytes()) for name, leaf in leaves.items()}


def close(found: Update, expected: Update, tolerance: float = 1e-3) -> bool:
    """Every leaf's change within a thousandth of its largest; and there is a change."""
    assert found.tree.keys() == expected.tree.keys()
    assert found.weight == expected.weight
    assert found.metrics.value("loss") == pytest.approx(expected.metrics.value("loss"), rel=tolerance)
    for name, leaf in expected.tree.items():
        assert (found.tree[name].dtype, found.tree[name].shape) == (leaf.dtype, leaf.shape)
        if np.abs(found.tree[name] - leaf).max() > tolerance * np.abs(leaf).max():
            return False
    return any(leaf.any() for leaf in found.tree.values())


PAIRS = [
    *(("mlp", optimizer) for optimizer in OPTIMIZERS),
    *(("convolutions", "SGD"), ("convolutions", "Adam")),
    *(("tied", "momentum"), ("tied", "Adam"), ("lstm", "Adam")),
]
"""Models and optimisers; not all of them with each other, since tracing takes its time."""


@pytest.mark.parametrize(("model", "optimizer"), PAIRS)
def test_the_traced_step_gives_the_definition_s_bits(model: str, optimizer: str) -> None:
    made, data = MODELS[model]
    training = LocalTraining(made, OPTIMIZERS[optimizer], batch_size=8, epochs=2, schedule=ExponentialDecay(0.5))
    engine, params = kinds()["traced"](training, "cpu"), made.init(key(0))
    assert engine.exact
    for round_ in (1, 3):  # another broadcast, another learning rate, the same graphs
        visits = contexts(data, round_=round_)
        found = by(engine, params, visits)
        expected = [training(params, visit) for visit in visits]
        assert all(map(alike, found, expected))
        assert any(leaf.any() for leaf in found[0].tree.values())
        params = tree.moved(params, found[0].tree)


@pytest.mark.parametrize(("model", "optimizer"), [*PAIRS[:3], *PAIRS[4:6], *PAIRS[-2:]])
@pytest.mark.parametrize("name", INEXACT)
def test_the_others_give_its_numbers_within_rounding(name: str, model: str, optimizer: str) -> None:
    made, data = MODELS[model]
    training = LocalTraining(made, OPTIMIZERS[optimizer], batch_size=8, epochs=1, schedule=ExponentialDecay(0.5))
    engine, params = kinds()[name](training, "cpu"), made.init(key(0))
    assert not engine.exact
    if why := CANNOT.get((name, model)):
        with pytest.raises(CannotFuse, match=why):
            by(engine, params, contexts(data))
        return
    for round_ in (1, 3):
        visits = contexts(data, round_=round_)
        found = by(engine, params, visits)
        expected = [training(params, visit) for visit in visits]
        assert all(map(close, found, expected))
        params = tree.moved(params, expected[0].tree)


@pytest.mark.parametrize("name", ["traced", *INEXACT])
@pytest.mark.parametrize(
    "limits",
    [{"epochs": 2, "drop_remainder": True}, {"steps": 7}, {"epochs": 2, "steps": 3}, {"epochs": 1, "batch_size": 1}],
    ids=str,
)
def test_it_ends_where_the_definition_does(name: str, limits: dict[str, Any]) -> None:
    made, data = MODELS["mlp"]
    training = LocalTraining(made, SGD(0.1), **{"batch_size": 5, **limits})
    params, visits = made.init(key(0)), contexts(data, (5, 12, 33))
    found = by(kinds()[name](training, "cpu"), params, visits)
    for mine, visit in zip(found, visits, strict=True):
        expected = training(params, visit)
        assert alike(mine, expected) if name == "traced" else close(mine, expected)


class Counting:
    """An optimiser of somebody's own, with numbers that change from step to step and a slot that is no parameter's."""

    def init(self, params: Tree) -> OptimizerState:
        return OptimizerState(3, {"norms": {name: (leaf * leaf).sum() for name, leaf in params.items()}})

    def step(
        self, params: Tree, gradient: Tree, state: OptimizerState, factor: float = 1.0
    ) -> tuple[Tree, OptimizerState]:
        rate = 0.1 * factor / (1 + state.steps) ** 0.5
        shrink = 1 - abs(-rate) * 0.01
        norms = tree.apply(
            lambda n, g: (2 / (1 + state.steps)) / (1 + n) + (g * g).sum() * rate, state.slots["norms"], gradient
        )
        moved = tree.apply(lambda x, g, n: shrink * x - rate * (g / (1.5 + n)), params, gradient, norms)
        return moved, OptimizerState(state.steps + 2, {"norms": norms})


class Repeating(Counting):
    """Remembers the parameters twice over: what it gives back are several names for the same memory."""

    def init(self, params: Tree) -> OptimizerState:
        return OptimizerState(0, {"last": params, "again": params})

    def step(
        self, params: Tree, gradient: Tree, state: OptimizerState, factor: float = 1.0
    ) -> tuple[Tree, OptimizerState]:
        ahead = tree.apply(lambda x, last: x + (x - last) * 0.5, params, state.slots["last"])
        moved = tree.apply(lambda x, g: x - g * (0.1 * factor), ahead, gradient)
        mixed = tree.apply(lambda x, again: x * 0.9 + again * 0.1, moved, state.slots["again"])
        return mixed, OptimizerState(state.steps + 1, {"last": params, "again": mixed})


@pytest.mark.parametrize("name", ["traced", "script", "resident"])
def test_an_optimiser_may_remember_what_it_moves(name: str) -> None:
    made, data = MODELS["mlp"]
    training, params = LocalTraining(made, Repeating(), batch_size=4, epochs=1), made.init(key(0))
    for found, visit in zip(by(kinds()[name](training, "cpu"), params, contexts(data)), contexts(data), strict=True):
        expected = training(params, visit)
        assert alike(found, expected) if name == "traced" else close(found, expected)


class Looking(Counting):
    def step(self, params: Tree, gradient: Tree, state: OptimizerState, factor: float = 1.0) -> Any:
        return super().step(params, gradient, state, factor if state.steps < 5 else 0.1)


@pytest.mark.parametrize("policy", ["reset", "keep", "federate"])
@pytest.mark.parametrize("name", ["traced", "script", "resident"])
@pytest.mark.parametrize("optimizer", [Counting(), Adam(0.01)], ids=["own", "Adam"])
def test_an_optimiser_goes_on_from_where_it_stood(name: str, policy: Any, optimizer: Optimizer) -> None:
    made, data = MODELS["mlp"]
    gradient = Chain((Proximal(0.3), ClipNorm(0.5)))
    training = LocalTraining(made, optimizer, batch_size=8, epochs=1, gradient=gradient, optimizer_state=policy)
    engine, broadcast, state = kinds()[name](training, "cpu"), made.init(key(0)), Tree()
    for round_ in (1, 2):
        (visit,) = contexts(data, (19,), round_=round_, state=state)
        (found,), expected = by(engine, broadcast, [visit]), training(broadcast, visit)
        assert alike(found, expected) if name == "traced" else close(found, expected)
        state = expected.state or {}
        assert (policy == "keep") == bool(state)
        carried = {
            leaf: value
            for leaf, value in expected.tree.items()
            if leaf not in broadcast or leaf in training.carried(made.init(key(0)))
        }
        broadcast = {
            **tree.moved(made.init(key(0)), {leaf: expected.tree[leaf] for leaf in made.init(key(0))}),
            **carried,
        }


def test_an_optimiser_that_looks_at_its_count_is_told_off() -> None:
    made, data = MODELS["mlp"]
    training = LocalTraining(made, Looking(), batch_size=8, epochs=1)
    with pytest.raises(CannotFuse, match="looks at its count of steps"):
        by(kinds()["traced"](training, "cpu"), made.init(key(0)), contexts(data))


def doubled(batch: dict[str, Any]) -> dict[str, Any]:
    return {**batch, "x": batch["x"] * 2}


class TwoInputs(nn.Module):
    """Two inputs, and a constant that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(12, 5), nn.Parameter(torch.tensor(1.5))
        self.shift: Tensor
        self.register_buffer("shift", torch.linspace(0, 1, 12), persistent=False)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        out: Tensor = self.layer(x * other + self.shift) * self.scale
        return out


@pytest.mark.parametrize("name", ["traced", *INEXACT])
def test_several_inputs_a_transform_an_index_and_a_scalar_parameter(name: str) -> None:
    made = TorchModel(TwoInputs, F.cross_entropy, inputs=("x", "z"), target="label")

    def data(rows: int, seed: int) -> ClientDataset:
        whole = {"x": drawn((40, 12), seed), "z": drawn((40, 12), seed + 1), "label": labels(40, 5, seed)}
        return ClientDataset(whole).select(np.arange(40)[::-1][:rows])

    training, params = LocalTraining(made, SGD(0.1), batch_size=8, epochs=1), made.init(key(0))
    engine = kinds()[name](training, "cpu")
    for made_of in (data, lambda rows, seed: data(rows, seed).with_transform(doubled)):
        visits = contexts(made_of)
        for found, visit in zip(by(engine, params, visits), visits, strict=True):
            expected = training(params, visit)
            assert alike(found, expected) if name == "traced" else close(found, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
@pytest.mark.parametrize("name", ["traced", "resident"])
def test_narrow_and_wide_leaves(name: str, dtype: str) -> None:
    made = TorchModel(lambda: mlp().to(getattr(torch, dtype)), F.cross_entropy)
    kind: Any = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float64

    def data(rows: int, seed: int) -> ClientDataset:
        return flat(rows, seed).with_transform(lambda batch: {**batch, "x": batch["x"].astype(kind)})

    training, params, visits = (
        LocalTraining(made, Adam(0.01), batch_size=8, epochs=1),
        made.init(key(0)),
        contexts(data),
    )
    for found, visit in zip(by(kinds()[name](training, "cpu"), params, visits), visits, strict=True):
        expected = training(params, visit)
        assert alike(found, expected) if name == "traced" else found.tree.keys() == expected.tree.keys()
        assert {leaf.dtype for leaf in found.tree.values()} == {np.dtype(kind)}


@pytest.mark.parametrize("name", ["traced", *INEXACT])
def test_a_client_that_fails_leaves_the_engine_usable(name: str) -> None:
    made, data = MODELS["mlp"]
    training, params = LocalTraining(made, SGD(0.1), batch_size=8, epochs=1), made.init(key(0))
    engine, visits = kinds()[name](training, "cpu"), contexts(data)
    good = flat(16, 0)
    bad = ClientContext("bad", {"train": ClientDataset({"x": good["x"], "y": np.full(16, 77)})}, key=key(5))
    empty = ClientContext("empty", {"train": flat(3, 0).take(0)}, key=key(6))
    trainer = engine.trainer(params)
    generator = torch.random.get_rng_state()
    for _ in range(2):
        with pytest.raises((IndexError, RuntimeError, DataError)):
            trainer([bad])
        with pytest.raises((DataError, CannotFuse)):
            trainer([empty])
        for found, visit in zip(by(engine, params, visits), visits, strict=True):
            expected = training(params, visit)
            assert alike(found, expected) if name == "traced" else close(found, expected)
    assert torch.equal(generator, torch.random.get_rng_state())
    assert not torch.is_inference_mode_enabled()


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out * 2 if bool(out.sum() > 0) else out


class Baking(Branching):
    """Takes a number out of a tensor by another way than PyTorch's: a trace holds it as a constant."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x) * torch.from_numpy(np.cos(x.numpy()).sum(1, keepdims=True))
        return out


@pytest.mark.parametrize("name", ["traced", "script", "vmap-4"])
@pytest.mark.parametrize("module", [Branching, Baking])
def test_a_step_that_is_no_straight_line_is_refused(name: str, module: type[nn.Module]) -> None:
    made = TorchModel(module, F.cross_entropy)
    training = LocalTraining(made, SGD(0.1), batch_size=8, epochs=1)
    with pytest.raises((CannotFuse, RuntimeError)):
        by(kinds()[name](training, "cpu"), made.init(key(0)), contexts(flat))


def test_a_loss_that_is_no_mean_cannot_be_masked() -> None:
    def total(outputs: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(outputs, target, reduction="sum")

    made = TorchModel(mlp, total)
    training = LocalTraining(made, SGD(0.01), batch_size=8, epochs=1)
    with pytest.raises(CannotFuse, match="differ"):
        by(kinds()["vmap-4"](training, "cpu"), made.init(key(0)), contexts(flat, (16, 19, 5, 30)))


@pytest.mark.parametrize("name", kinds())
def test_other_models_are_refused(name: str) -> None:
    with pytest.raises(CannotFuse, match="LocalTraining with a NumpyMLP"):
        kinds()[name](LocalTraining(NumpyMLP((5, 3)), SGD(0.1), epochs=1), "cpu")


def test_bfloat16_learns_the_same_thing() -> None:
    made, data = MODELS["convolutions"]
    training, params = LocalTraining(made, SGD(0.1), batch_size=8, epochs=1), made.init(key(0))
    try:
        engine = kinds()["resident-bf16"](training, "cpu")
    except CannotFuse as why:
        pytest.skip(str(why))
    for found, visit in zip(by(engine, params, contexts(data)), contexts(data), strict=True):
        expected = training(params, visit)
        assert found.metrics.value("loss") == pytest.approx(expected.metrics.value("loss"), rel=0.05)
        mine, other = (np.concatenate([leaf.ravel() for leaf in each.tree.values()]) for each in (found, expected))
        assert np.linalg.norm(mine - other) < 0.2 * np.linalg.norm(other)


def test_optimisers_of_pytorch_s_own_kernels_and_the_definition_s_agree() -> None:
    made, data = MODELS["convolutions"]
    params, visits = made.init(key(0)), contexts(data)
    for optimizer in (Adagrad(0.1), Adam(0.01, debias=False), SGD(0.1, weight_decay=0.1), SGD(0.1, momentum=0.9)):
        training = LocalTraining(made, optimizer, batch_size=8, epochs=1)
        found = by(kinds()["resident"](training, "cpu"), params, visits)
        assert all(close(mine, training(params, visit)) for mine, visit in zip(found, visits, strict=True))
