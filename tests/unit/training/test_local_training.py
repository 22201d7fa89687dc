"""Local training is what a plain PyTorch loop over the same batches computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hansa.core import tree
from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.core.work import ClientContext
from hansa.data import ClientDataset
from hansa.errors import ConfigError, DataError
from hansa.models import NumpyMLP
from hansa.models.torch import TorchModel
from hansa.testing import blobs
from hansa.training import SGD, Adam, ClipNorm, ExponentialDecay, LocalTraining, Optimizer


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


MODEL = TorchModel(mlp, F.cross_entropy)
DATA = blobs(2, examples=40)["0"]
CONTEXT = ClientContext("0", {"train": DATA}, round=3, key=key(9, "visit"))


def plain(
    params: Tree, make: Callable[[Any], torch.optim.Optimizer], batches: list[Any], clip: float | None = None
) -> tuple[Tree, list[float]]:
    """The loop that anybody would write."""
    module = mlp()
    module.load_state_dict({name: torch.tensor(leaf) for name, leaf in params.items()})
    optimizer, losses = make(module.parameters()), []
    module.train()
    for batch in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(module(torch.tensor(batch["x"])), torch.tensor(batch["y"]))
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}, losses


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (SGD(0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
        (
            SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
            lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
        ),
        (Adam(0.01, weight_decay=0.1), lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1)),
    ],
    ids=["SGD", "momentum", "AdamW"],
)
def test_a_plain_pytorch_loop_over_the_same_batches_gives_the_same_parameters(ours: Optimizer, theirs: Any) -> None:
    training, params = LocalTraining(MODEL, ours, batch_size=8, epochs=3), MODEL.init(key(1))
    batches = list(DATA.shuffle_repeat(8, CONTEXT.key.child("shuffle"), epochs=3))
    expected, losses = plain(params, theirs, batches)
    update = training(params, CONTEXT)
    trained = tree.moved(params, update.tree)
    assert trained.keys() == expected.keys()
    for name, leaf in expected.items():
        assert trained[name].dtype == leaf.dtype
        assert np.allclose(trained[name], leaf, rtol=1e-4, atol=1e-5)
    sizes = [len(batch["y"]) for batch in batches]
    assert update.metrics.value("loss") == pytest.approx(np.average(losses, weights=sizes), rel=1e-5)
    assert update.weight == len(DATA)
    assert update.state is None


def test_the_batches_are_those_of_the_visit_s_own_shuffle() -> None:
    training = LocalTraining(MODEL, SGD(0.1), batch_size=7, epochs=2)
    expected = list(DATA.shuffle_repeat(7, CONTEXT.key.child("shuffle"), epochs=2))
    for _ in range(2):
        found = list(training.batches(CONTEXT))
        assert len(found) == len(expected) == 12
        for mine, other in zip(found, expected, strict=True):
            assert np.array_equal(mine["x"], other["x"])
            assert np.array_equal(mine["y"], other["y"])


@pytest.mark.parametrize(
    ("limits", "steps"),
    [
        ({"epochs": 2}, 10),
        ({"steps": 3}, 3),
        ({"steps": 13}, 13),
        ({"epochs": 1, "steps": 3}, 3),
        ({"epochs": 1, "steps": 99}, 5),
    ],
)
def test_training_ends_after_so_many_epochs_or_steps(limits: dict[str, Any], steps: int) -> None:
    training = LocalTraining(MODEL, SGD(0.1), batch_size=8, **limits)
    params = MODEL.init(key(0))
    state = training.init(params, CONTEXT)
    for batch in training.batches(CONTEXT):
        state = training.step(state, batch)
    assert state.steps == steps
    assert state.examples == 8 * steps
    by_hand, at_once = training.finish(state, params, CONTEXT), training(params, CONTEXT)
    assert all(np.array_equal(by_hand.tree[name], at_once.tree[name]) for name in params)


def test_the_last_batch_of_an_epoch_may_be_smaller_and_counts_by_its_examples() -> None:
    training, params = LocalTraining(MODEL, SGD(1e-30), batch_size=34, epochs=1), MODEL.init(key(1))
    batches = list(training.batches(CONTEXT))
    assert [len(batch["y"]) for batch in batches] == [34, 6]
    losses = [float(MODEL.gradient(MODEL.load(params), batch, key(0)).loss) for batch in batches]
    found = training(params, CONTEXT).metrics.value("loss")
    assert found == pytest.approx((34 * losses[0] + 6 * losses[1]) / 40, rel=1e-5)


def test_training_is_a_pure_function_of_broadcast_and_context() -> None:
    training, params = LocalTraining(MODEL, Adam(0.01), batch_size=8, epochs=2), MODEL.init(key(1))
    copies = {name: leaf.copy() for name, leaf in params.items()}
    one, other = training(params, CONTEXT), training(params, CONTEXT)
    assert all(one.tree[name].tobytes() == other.tree[name].tobytes() for name in params)
    assert one.metrics == other.metrics
    assert all(np.array_equal(params[name], copies[name]) for name in params)
    elsewhere = training(params, ClientContext("0", {"train": DATA}, round=3, key=key(9, "another")))
    assert any(not np.array_equal(one.tree[name], elsewhere.tree[name]) for name in params)


def test_the_schedule_multiplies_the_learning_rate_of_the_round() -> None:
    params = MODEL.init(key(1))
    scheduled = LocalTraining(MODEL, SGD(0.4), epochs=1, schedule=ExponentialDecay(0.5))(params, CONTEXT)
    plainly = LocalTraining(MODEL, SGD(0.1), epochs=1)(params, CONTEXT)  # round 3: 0.4 · 0.5²
    assert all(np.array_equal(scheduled.tree[name], plainly.tree[name]) for name in params)


def test_clipping_is_that_of_pytorch() -> None:
    params = MODEL.init(key(1))
    training = LocalTraining(MODEL, SGD(0.5), batch_size=8, epochs=2, gradient=ClipNorm(0.1))
    expected, _ = plain(params, lambda p: torch.optim.SGD(p, lr=0.5), list(training.batches(CONTEXT)), clip=0.1)
    trained = tree.moved(params, training(params, CONTEXT).tree)
    assert all(np.allclose(trained[name], leaf, rtol=1e-4, atol=1e-5) for name, leaf in expected.items())


def test_dropout_draws_anew_at_every_step_of_a_visit() -> None:
    model = TorchModel(lambda: nn.Sequential(nn.Linear(5, 32), nn.Dropout(0.5), nn.Linear(32, 3)), F.cross_entropy)
    training, params = LocalTraining(model, SGD(1e-30), batch_size=40, steps=3), model.init(key(0))
    batches = list(training.batches(CONTEXT))
    assert len(batches) == 3
    keys = [CONTEXT.key.child("step", step) for step in range(3)]
    losses = [
        float(model.gradient(model.load(params), batch, step).loss) for batch, step in zip(batches, keys, strict=True)
    ]
    at_first = [float(model.gradient(model.load(params), batch, keys[0]).loss) for batch in batches]
    assert training(params, CONTEXT).metrics.value("loss") == pytest.approx(np.mean(losses), rel=1e-6)
    assert np.mean(losses) != pytest.approx(np.mean(at_first), rel=1e-4)


def test_gradient_transforms_are_applied_one_after_another() -> None:
    seen: list[str] = []

    def noted(name: str) -> Any:
        def transform(gradient: Tree, params: Tree, start: Tree) -> Tree:
            seen.append(name)
            return gradient

        return transform

    training = LocalTraining(MODEL, SGD(0.1), steps=1, gradient=noted("first")).with_gradient(noted("second"))
    training(MODEL.init(key(0)), CONTEXT)
    assert seen == ["first", "second"]


def test_gradient_transforms_see_trained_leaves_only_and_where_the_client_began() -> None:
    params, starts = MODEL.init(key(0)), []

    def transform(gradient: Tree, now: Tree, start: Tree) -> Tree:
        assert gradient.keys() == now.keys() == start.keys() == params.keys() - MODEL.buffers
        starts.append({name: np.asarray(leaf).copy() for name, leaf in start.items()})
        return gradient

    LocalTraining(MODEL, SGD(0.1), steps=3, gradient=transform)(params, CONTEXT)
    assert len(starts) == 3
    assert all(np.array_equal(start[name], params[name]) for start in starts for name in start)


def test_frozen_parameters_do_not_move_even_under_weight_decay() -> None:
    module = mlp()
    module[0].requires_grad_(False)  # type: ignore[index]  # a Sequential
    model = TorchModel(module, F.cross_entropy)
    update = LocalTraining(model, SGD(0.1, momentum=0.9, weight_decay=0.1), epochs=2)(model.init(key(0)), CONTEXT)
    assert not update.tree["0.weight"].any()
    assert update.tree["3.weight"].any()


def narrow(dtype: torch.dtype) -> TorchModel:
    return TorchModel(lambda: nn.Linear(5, 3, dtype=dtype), F.cross_entropy)


def in_bfloat16(data: ClientDataset) -> ClientDataset:
    return data.with_transform(lambda batch: {**batch, "x": batch["x"].astype(ml_dtypes.bfloat16)})


def test_a_bfloat16_model_learns_and_stays_bfloat16() -> None:
    model = narrow(torch.bfloat16)
    context = ClientContext("0", {"train": in_bfloat16(DATA)}, key=key(0))
    params = model.init(key(0))
    update = LocalTraining(model, SGD(0.1), batch_size=8, epochs=5)(params, context)
    assert {leaf.dtype.name for leaf in update.tree.values()} == {"bfloat16"}
    everything = in_bfloat16(DATA).all()
    before = model.predict(model.load(params), everything).loss
    after = model.predict(model.load(tree.moved(params, update.tree)), everything).loss
    assert after < 0.8 * before


def test_the_loss_of_a_narrow_model_is_the_mean_over_all_steps() -> None:
    model = narrow(torch.bfloat16)
    context = ClientContext("0", {"train": in_bfloat16(DATA)}, key=key(0))
    training = LocalTraining(model, SGD(1e-30), batch_size=8, steps=200)  # nothing moves: every step has the same loss
    params = model.init(key(0))
    losses = [float(model.gradient(model.load(params), batch, key(0)).loss) for batch in training.batches(context)]
    assert training(params, context).metrics.value("loss") == pytest.approx(np.mean(losses), rel=0.01)


def test_a_client_without_examples_is_told_by_name() -> None:
    training = LocalTraining(NumpyMLP((5, 3)), SGD(0.1), epochs=1)
    for data in ({}, {"test": DATA}, {"train": DATA.take(0)}):
        with pytest.raises(DataError, match="no examples to train on") as caught:
            training(NumpyMLP((5, 3)).init(key(0)), ClientContext("alice", data))
        assert "client 'alice'" in str(caught.value)
        assert '"train" split' in caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({}, "without an end"),
        ({"epochs": 0}, "epochs is at least 1, not 0"),
        ({"steps": -1}, "steps is at least 1, not -1"),
        ({"epochs": 1, "batch_size": 0}, "batch_size is at least 1, not 0"),
    ],
)
def test_training_that_makes_no_sense_is_refused(arguments: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        LocalTraining(MODEL, SGD(0.1), **arguments)
