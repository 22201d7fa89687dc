"""Tasks: plain PyTorch functions as a client's work, in chains, with settings, and on whatever data a client has."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from hansa.algorithms import Evaluated, FedAvg
from hansa.core import tree
from hansa.core.history import MODEL as EVALUATED
from hansa.core.keys import Key, key
from hansa.core.metrics import ConfusionMatrix, Mean, Metrics
from hansa.core.tree import Tree
from hansa.core.work import ClientContext
from hansa.data import IID, ClientDataset, FederatedData, load_dataset
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.models.torch import TorchModel
from hansa.testing import blobs
from hansa.testing.laws import snapshot, unlike_bits
from hansa.training import SGD, LocalTraining
from hansa.training.tasks.batches import Batches
from hansa.training.tasks.task import task
from hansa.training.tasks.work import Tasks

DATA = blobs(2, examples=20)
HELD, TEST = DATA["0"], DATA.test["0"]


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3))


MODEL = TorchModel(linear, F.cross_entropy)
PARAMS = MODEL.init(key(0))


def visit(**changes: Any) -> ClientContext:
    return replace(ClientContext("alice", {"train": HELD, "test": TEST}, 1, key(3, "visit")), **changes)


def sgd(model: nn.Module, *, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr)


@task(train=True)
def train(model: nn.Module, optimizer: torch.optim.Optimizer, loader: Any, *, epochs: int = 1) -> dict[str, float]:
    total, seen = 0.0, 0
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
            optimizer.step()
            total, seen = total + loss.item() * len(y), seen + len(y)
    return {"loss": total / seen}


@task
def validate(model: nn.Module, loader: Any) -> dict[str, float]:
    with torch.no_grad():
        hits = sum(int((model(x).argmax(dim=1) == y).sum()) for x, y in loader)
    return {"accuracy": hits / len(loader.dataset)}


def generators() -> tuple[bytes, object, str]:
    """The states of the global generators."""
    legacy: Any = np.random.get_state()  # noqa: NPY002 - it is this one that is meant
    return torch.random.get_rng_state().numpy().tobytes(), random.getstate(), repr(legacy)


def noting(seen: list[Any], **options: Any) -> Any:
    """A task that notes what it is given."""

    def noted(model: Any, loader: Any, device: str, key: Key, *, clip: float = 1.0) -> dict[str, float]:
        seen.append({"model": model, "loader": loader, "device": device, "key": key, "clip": clip})
        return {}

    return task(**options)(noted)


# --- learning, and the same bits again


def classifier() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 10))


def on_digits() -> Any:
    digits = load_dataset("digits")
    data = FederatedData.partition(digits.train, IID(4), test=digits.test)
    model = TorchModel(classifier, F.cross_entropy)
    chained = Tasks(
        model,
        ("validate", task(split="train")(validate.function)),
        train,
        ("validate_local", task(split="train")(validate.function)),
        optimizer=lambda model: torch.optim.Adam(model.parameters(), lr=1e-2),
    )
    algorithm = Evaluated(FedAvg(chained, 5), Tasks(model, validate), every=5)
    return Federation.simulate(data).run(Experiment(model, algorithm)).history


def test_tasks_learn_digits_and_the_same_run_gives_the_same_bits() -> None:
    torch.manual_seed(1)
    random.seed(1)
    first = on_digits()
    torch.manual_seed(2)
    random.seed(2)
    second = on_digits()
    assert first.final("accuracy") > 0.9
    assert not unlike_bits(first.model, second.model)
    assert [entry.metrics for entry in first.entries] == [entry.metrics for entry in second.entries]
    last = first.entries[-2].metrics
    assert set(last) == {"validate/accuracy", "train/loss", "validate_local/accuracy"}
    assert last.value("validate_local/accuracy") > last.value("validate/accuracy")


def test_a_task_of_plain_sgd_trains_like_local_training_on_the_same_batches() -> None:
    model = TorchModel(lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), F.cross_entropy)
    params = model.init(key(0))
    found = Tasks(model, train, optimizer=sgd, batch_size=8, settings={"epochs": 2})(params, visit())
    local = LocalTraining(model, SGD(0.1), batch_size=8, epochs=2)
    expected = local(params, visit(key=visit().key.child("task", "train")))
    assert found.weight == expected.weight == len(HELD)
    assert found.metrics.value("loss") == pytest.approx(expected.metrics.value("loss"), rel=1e-5)
    assert all(np.allclose(found.tree[name], leaf, rtol=1e-4, atol=1e-6) for name, leaf in expected.tree.items())


def test_the_work_is_pure_and_leaves_every_global_generator_where_it_was() -> None:
    work = Tasks(MODEL, train, optimizer=sgd)
    before = generators()
    params = snapshot(PARAMS)
    first = work(tree.read_only(params), visit())
    after = generators()
    assert before == after
    assert not unlike_bits(params, PARAMS)
    torch.manual_seed(99)
    assert not unlike_bits(work(PARAMS, visit()).tree, first.tree)
    assert unlike_bits(work(PARAMS, visit(key=key(4))).tree, first.tree)


def test_generators_of_python_and_numpy_are_seeded_for_each_task_too() -> None:
    drawn: list[tuple[float, float, float]] = []

    @task
    def draw(loader: Any) -> dict[str, float]:
        drawn.append((random.random(), np.random.random(), float(torch.rand(()))))  # noqa: NPY002, S311 - a scientist's pipeline does
        return {}

    work = Tasks(MODEL, draw, ("again", draw))
    work(PARAMS, visit())
    work(PARAMS, visit())
    assert drawn[:2] == drawn[2:]
    assert len({number for numbers in drawn[:2] for number in numbers}) == 6


def test_a_shuffling_loader_of_the_scientists_own_gives_the_same_order_again() -> None:
    x, y = torch.tensor(HELD["x"]), torch.tensor(HELD["y"])
    loader = DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True)
    work = Tasks(MODEL, train, optimizer=sgd)
    first, second = (work(PARAMS, visit(data={"train": loader})) for _ in range(2))
    assert not unlike_bits(first.tree, second.tree)
    assert first.weight == len(HELD)


# --- chains


def test_a_chain_is_one_visit_on_one_model_with_metrics_by_task() -> None:
    work = Tasks(MODEL, validate, train, ("validate_local", validate), optimizer=sgd, settings={"epochs": 3})
    update = work(PARAMS, visit())
    assert list(update.metrics) == ["validate/accuracy", "train/loss", "validate_local/accuracy"]
    alone = Tasks(MODEL, train, optimizer=sgd, settings={"epochs": 3})(PARAMS, visit())
    assert list(alone.metrics) == ["loss"]
    assert not unlike_bits(alone.tree, update.tree)
    trained = tree.moved(PARAMS, update.tree)
    for params, name in ((PARAMS, "validate"), (trained, "validate_local")):
        measured = Tasks(MODEL, validate)(params, visit()).metrics.value("accuracy")
        assert update.metrics.value(f"{name}/accuracy") == measured


def test_an_evaluation_carries_no_arrays() -> None:
    update = Tasks(MODEL, validate)(PARAMS, visit())
    assert update.tree == {}
    assert update.weight == len(TEST)
    assert update.metrics["accuracy"] == Mean.of(update.metrics.value("accuracy"), len(TEST))


def test_several_tasks_train_the_same_model_one_after_the_other() -> None:
    both = Tasks(MODEL, train, ("more", train), optimizer=sgd)(PARAMS, visit())
    one = Tasks(MODEL, train, optimizer=sgd)(PARAMS, visit())
    assert list(both.metrics) == ["train/loss", "more/loss"]
    assert both.metrics["train/loss"] == one.metrics["loss"]
    assert unlike_bits(both.tree, one.tree)


def test_a_task_sees_the_split_it_says_or_that_of_its_kind() -> None:
    seen: list[Any] = []
    valid, other = HELD.take(3), HELD.take(5)
    data = {"train": HELD, "valid": valid, "test": TEST, "other": other}
    Tasks(MODEL, noting(seen))(PARAMS, visit(data=data))
    Tasks(MODEL, noting(seen))(PARAMS, visit())
    Tasks(MODEL, noting(seen, split="other"))(PARAMS, visit(data=data))
    Tasks(MODEL, noting(seen, train=True))(PARAMS, visit(data=data))
    assert [given["loader"].dataset for given in seen] == [valid, TEST, other, HELD]
    assert Tasks(MODEL, noting(seen, split="other")).split == "other"
    assert Tasks(MODEL, validate).split is None


def test_pytorch_s_modes_are_those_of_the_task() -> None:
    modes: list[bool] = []

    def note(model: nn.Module) -> dict[str, float]:
        modes.append(model.training)
        return {}

    Tasks(MODEL, ("a", task(note)), ("b", task(train=True)(note)), ("c", task(note)))(PARAMS, visit())
    assert modes == [False, True, False]


def test_metrics_of_hansas_own_kinds_are_kept_as_they_are() -> None:
    matrix, mean = ConfusionMatrix(((1, 2), (3, 4))), Mean.of(0.5, 3)

    @task
    def measure(model: nn.Module) -> dict[str, Any]:
        return {
            "matrix": matrix,
            "mean": mean,
            "tensor": torch.tensor(0.25, requires_grad=True),
            "array": np.float32(2),
        }

    metrics = Tasks(MODEL, measure)(PARAMS, visit()).metrics
    assert metrics["matrix"] == matrix
    assert metrics["mean"] == mean
    assert metrics["tensor"] == Mean.of(0.25, len(TEST))
    assert metrics["array"] == Mean.of(2.0, len(TEST))


def test_metrics_that_are_metrics_already_are_taken_too() -> None:
    measured = Metrics({"top": Mean.of(0.5, 3)})
    work = Tasks(MODEL, task(lambda model: measured))
    assert work(PARAMS, visit()).metrics == measured


# --- loaders


def test_batches_are_tensors_shuffled_anew_each_pass_to_train_and_in_order_to_validate() -> None:
    seen: list[Any] = []
    Tasks(MODEL, noting(seen, train=True), batch_size=8)(PARAMS, visit())
    Tasks(MODEL, noting(seen), batch_size=8)(PARAMS, visit())
    shuffled, ordered = (given["loader"] for given in seen)
    assert (len(shuffled), len(ordered)) == (3, 2)
    passes = [[(x.clone(), y) for x, y in shuffled] for _ in range(2)]
    assert [len(y) for _, y in passes[0]] == [8, 8, 4]
    assert passes[0][0][0].dtype == torch.float32
    assert passes[0][0][1].dtype == torch.int64
    whole = [torch.cat([x for x, _ in batches]) for batches in passes]
    assert not torch.equal(whole[0], whole[1])
    everything = sorted(map(tuple, HELD["x"].tolist()))
    assert all(sorted(map(tuple, each.tolist())) == everything for each in whole)
    for _ in range(2):
        assert torch.equal(torch.cat([x for x, _ in ordered]), torch.tensor(TEST["x"]))


def test_a_pass_that_is_broken_off_is_followed_by_a_whole_one() -> None:
    batches = Batches(HELD, 8, lambda batch: batch["y"], key(0))
    next(iter(batches))
    assert sum(len(y) for y in batches) == len(HELD)


def test_several_inputs_come_before_the_target() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return self.layer(a + b)  # type: ignore[no-any-return]

    data = ClientDataset({"a": np.ones((4, 2), np.float32), "b": np.zeros((4, 2), np.float32), "t": np.arange(4.0)})
    model = TorchModel(Sum, F.mse_loss, inputs=("a", "b"), target="t")
    seen: list[Any] = []
    Tasks(model, noting(seen))(model.init(key(0)), visit(data={"test": data}))
    a, b, t = next(iter(seen[0]["loader"]))
    assert (a.sum(), b.sum(), t.tolist()) == (8, 0, [0, 1, 2, 3])


def test_what_is_no_client_dataset_is_passed_through_unchanged() -> None:
    x, y = torch.tensor(HELD["x"]), torch.tensor(HELD["y"])
    loader = DataLoader(TensorDataset(x, y), batch_size=7)
    seen: list[Any] = []
    work = Tasks(MODEL, noting(seen))
    assert work(PARAMS, visit(data={"valid": loader})).weight == len(HELD)
    pairs = [(x, y)]
    assert work(PARAMS, visit(data={"valid": pairs})).weight == 1
    assert seen[0]["loader"] is loader
    assert seen[1]["loader"] is pairs


def test_a_task_may_count_its_examples_itself() -> None:
    @task(train=True)
    def stream(model: nn.Module, loader: Any) -> dict[str, float]:
        return {"loss": 1.0, "examples": sum(len(y) for _, y in loader)}

    batches = iter([(None, torch.zeros(3)), (None, torch.zeros(2))])
    update = Tasks(MODEL, stream)(PARAMS, visit(data={"train": batches}))
    assert update.weight == 5
    assert dict(update.metrics) == {"loss": Mean.of(1.0, 5)}


# --- settings


def settings_seen(ask: dict[str, Any] | None = None, **options: Any) -> list[float]:
    seen: list[Any] = []
    note = noting(seen)
    Tasks(MODEL, ("a", note), ("b", note), **options)(PARAMS, visit(settings=ask or {}))
    return [given["clip"] for given in seen]


def test_settings_are_defaults_overlaid_by_the_works_and_by_the_asks() -> None:
    assert settings_seen() == [1.0, 1.0]
    assert settings_seen(settings={"clip": 2}) == [2.0, 2.0]
    assert settings_seen(settings={"b/clip": 3.0, "clip": 2.0}) == [2.0, 3.0]
    assert settings_seen({"clip": 4.0}, settings={"b/clip": 3.0}) == [4.0, 4.0]
    assert settings_seen({"a/clip": 5.0}, settings={"clip": 2.0}) == [5.0, 2.0]
    assert settings_seen({EVALUATED: "federated"}) == [1.0, 1.0]
    assert all(type(value) is float for value in settings_seen(settings={"clip": 2}))


def test_settings_may_depend_on_the_round_and_the_optimizer_has_its_own() -> None:
    rates: list[float] = []

    def made(model: nn.Module, *, lr: float = 0.1) -> torch.optim.Optimizer:
        rates.append(lr)
        return sgd(model, lr=lr)

    work = Tasks(MODEL, train, optimizer=made, settings=lambda round_: {"lr": 0.5**round_})
    for round_ in (1, 2):
        work(PARAMS, visit(round=round_))
    work(PARAMS, visit(settings={"optimizer/lr": 0.125}))
    assert rates == [0.5, 0.25, 0.125]


# --- other frameworks


class Values:
    """A framework whose models are values: a dict of arrays, and nothing else is known of it."""

    buffers = frozenset[str]()

    def __init__(self, mlp: NumpyMLP) -> None:
        self.init, self.load, self.dump = mlp.init, mlp.load, mlp.dump
        self.gradient, self.predict = mlp.gradient, mlp.predict

    def native(self, params: Tree, device: str) -> Tree:
        assert device == "cpu"
        return {name: leaf.copy() for name, leaf in params.items()}

    def extract(self, native: Tree) -> Tree:
        return {name: leaf.copy() for name, leaf in native.items()}


def test_a_task_whose_model_is_a_value_returns_the_new_one() -> None:
    model = Values(NumpyMLP((5, 3)))
    params, given = model.init(key(0)), list[Any]()

    @task(train=True)
    def step(model: Tree, loader: Any, key: Key) -> tuple[Tree, dict[str, float]]:
        given.extend(loader)
        return {name: leaf + 1 for name, leaf in model.items()}, {"loss": 1.0}

    update = Tasks(model, step, ("again", step))(params, visit())
    assert all((leaf == 2).all() for leaf in update.tree.values())
    x, y = given[0]
    assert isinstance(x, np.ndarray)
    assert len(x) == len(y) == len(HELD)


def test_native_objects_that_hold_random_streams_get_another_key_each_visit() -> None:
    keys: list[Key] = []

    class Streams(Values):
        def native(self, params: Tree, device: str, key: Key | None = None) -> Tree:
            assert key is not None
            keys.append(key)
            return super().native(params, device)

    model = Streams(NumpyMLP((5, 3)))
    work = Tasks(model, task(lambda model: {}))
    for seed in (0, 0, 1):
        work(model.init(key(0)), visit(key=key(seed)))
    assert keys[0] == keys[1] != keys[2]
