"""A run that fails says what, where and what to do, and hands over what there was before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from torch import nn
from torch.nn import functional as F

from hansa.algorithms import Evaluated, FedAvg
from hansa.core import tree
from hansa.core.ask import Closing, Status
from hansa.core.history import History
from hansa.core.metrics import Mean, Metrics, Sum
from hansa.core.sampling import FixedClients
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.data import ClientDataset
from hansa.errors import AggregationError, RunFailed, TreeMismatch
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.models.torch import TorchModel
from hansa.testing import blobs
from hansa.training import SGD, Evaluation, LocalTraining

DATA = blobs(3)
MODEL = NumpyMLP((5, 3))
TORCH = TorchModel(lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), F.cross_entropy)


@dataclass(frozen=True)
class Misbehaving:
    """Adds 1 to the model, unless this client does something else in this round."""

    acts: dict[tuple[str, int], Callable[[Update], Any]] = field(default_factory=dict)
    buffers: frozenset[str] = frozenset()

    def __call__(self, broadcast: Tree, context: ClientContext, /) -> Update:
        update = Update({name: np.ones_like(leaf) for name, leaf in broadcast.items()}, 2.0, Metrics({"n": Sum.of(1)}))
        act: Any = self.acts.get((context.id, context.round))
        return act(update) if act else update


def run(algorithm: Any, data: Any = DATA, model: Any = MODEL) -> History:
    return Federation.simulate(data).run(Experiment(model, algorithm)).history


def failing(algorithm: Any, data: Any = DATA, model: Any = MODEL) -> RunFailed:
    with pytest.raises(RunFailed) as caught:
        run(algorithm, data, model)
    return caught.value


def raising(error: BaseException) -> Callable[[Update], Any]:
    def act(update: Update) -> Any:
        raise error

    return act


# --- a client's work raises


@pytest.mark.parametrize(
    "error", [ValueError("no such column"), SystemExit(3), SystemExit("bye"), KeyError("x"), MemoryError()]
)
def test_a_work_that_raises_ends_the_run_with_client_round_and_the_error_itself(error: BaseException) -> None:
    failure = failing(FedAvg(Misbehaving({("1", 2): raising(error)}), 5))
    text = str(failure)
    assert f"1: failed: {type(error).__name__}: {error}" in text
    assert "1 of 3 clients failed, and everyone was needed" in text
    assert "where: round 2, work 'train'" in text
    assert "what to do: the History holds the last good model" in text
    assert failure.__cause__ is error
    history = failure.history
    assert (history.rounds, len(history.entries)) == (1, 2)
    assert [outcome.status for outcome in history.entries[1].outcomes.values()] == [
        Status.UPDATED,
        Status.FAILED,
        Status.UPDATED,
    ]
    assert (history.model["layer1.bias"] == 1).all(), "the model after the round before"


def test_a_work_that_raises_does_not_end_a_run_that_needs_only_some() -> None:
    history = run(FedAvg(Misbehaving({("1", 2): raising(ValueError("x"))}), 3, closing=Closing.quorum(2)))
    assert history.rounds == 3
    assert history.entries[1].outcomes["1"].why == "ValueError: x"
    assert isinstance(history.entries[1].outcomes["1"].cause, ValueError)
    assert (history.model["layer1.bias"] == 3).all()


def test_ctrl_c_is_no_client_s_outcome() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(FedAvg(Misbehaving({("1", 1): raising(KeyboardInterrupt())}), 1))


def test_many_failures_are_told_by_the_first_few() -> None:
    data = {f"client{n}": DATA["0"] for n in range(9)}
    acts = {(client, 1): raising(ValueError(client)) for client in data}
    text = str(failing(FedAvg(Misbehaving(acts), 1), data))
    assert text.count("failed: ValueError") == 5
    assert "... and 4 more, see the History" in text


@pytest.mark.parametrize(
    "answer",
    [
        lambda update: None,
        lambda update: update.tree,
        lambda update: Update(update.tree, "many"),  # type: ignore[arg-type]  # on purpose
        lambda update: Update({name: leaf.tolist() for name, leaf in update.tree.items()}),
        lambda update: Update(None),  # type: ignore[arg-type]  # on purpose
    ],
    ids=["nothing", "a tree", "a weight that is text", "leaves that are lists", "no tree"],
)
def test_an_answer_that_is_no_update_is_its_client_s_failure(answer: Callable[[Update], Any]) -> None:
    history = run(FedAvg(Misbehaving({("1", 1): answer}), 2, closing=Closing.quorum(2)))
    assert history.rounds == 2
    assert history.entries[0].outcomes["1"].status in (Status.FAILED, Status.REJECTED)


def test_a_metric_of_another_kind_does_not_stop_the_others() -> None:
    other = {("1", 1): lambda update: Update(update.tree, 2.0, Metrics({"n": Mean.of(1)}))}
    history = run(FedAvg(Misbehaving(other), 2))
    assert history.entries[0].outcomes["1"].status is Status.REJECTED
    assert "'n'" in history.entries[0].outcomes["1"].why


# --- updates that cannot be used


def reshaped(update: Update) -> Update:
    return Update({name: np.zeros((*leaf.shape, 2), leaf.dtype) for name, leaf in update.tree.items()}, 2.0)


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (reshaped, r"leaf 'layer1.weight' has shape (3, 5, 2), expected (3, 5)"),
        (lambda update: Update({}), "leaves differ: missing ['layer1.bias', 'layer1.weight'], unexpected none"),
        (lambda update: Update(update.tree, -1.0), "its weight is -1.0"),
        (lambda update: Update(tree.scale(update.tree, float("inf"))), "leaf 'layer1.weight' is not finite"),
        (
            lambda update: Update({name: leaf.astype(np.float64) for name, leaf in update.tree.items()}),
            "leaf 'layer1.weight' has dtype float64, expected float32",
        ),
    ],
    ids=["shape", "leaves", "weight", "not finite", "dtype"],
)
def test_an_update_that_cannot_be_used_is_left_out_and_shown(act: Callable[[Update], Any], why: str) -> None:
    history = run(FedAvg(Misbehaving({("2", 1): act}), 2))
    outcome = history.entries[0].outcomes["2"]
    assert outcome.status is Status.REJECTED
    assert why in outcome.why
    assert history.rounds == 2
    assert history.entries[0].metrics.numbers() == {"n": 2}
    assert (history.model["layer1.bias"] == 2).all()
    assert history.entries[1].outcomes["2"].status is Status.UPDATED


def test_an_update_of_another_shape_is_left_out_whoever_comes_first() -> None:
    history = run(FedAvg(Misbehaving({("0", 1): reshaped}), 1))
    statuses = [outcome.status for outcome in history.entries[0].outcomes.values()]
    assert statuses == [Status.REJECTED, Status.UPDATED, Status.UPDATED]


def test_no_usable_update_at_all_ends_the_run() -> None:
    acts = {(client, 2): lambda update: Update(update.tree, float("nan")) for client in DATA}
    failure = failing(FedAvg(Misbehaving(acts), 3))
    assert "0 of 3 clients gave a usable update, and 1 were needed" in str(failure)
    assert "0: rejected: its weight is nan" in str(failure)
    assert failure.history.rounds == 1


def test_weights_that_are_all_zero_end_the_run_and_the_history_reports_the_round() -> None:
    acts = {(client, 2): lambda update: Update(update.tree, 0.0) for client in DATA}
    failure = failing(FedAvg(Misbehaving(acts), 3))
    assert "the weights of all 3 updates are zero" in str(failure)
    assert "where: round 2, work 'train'" in str(failure)
    assert "what to do: a client's weight is its number of examples" in str(failure)
    assert isinstance(failure.__cause__, AggregationError)
    assert failure.history.rounds == 1
    assert [entry.round for entry in failure.history.entries] == [1, 2]
    assert (failure.history.model["layer1.bias"] == 1).all()


def test_updates_that_are_no_change_of_the_model_are_told_at_the_server() -> None:
    acts = {(client, 1): lambda update: Update({"mean": np.ones(2)}) for client in DATA}
    with pytest.raises((TreeMismatch, RunFailed), match=r"missing .*layer1.bias.*unexpected .*mean") as caught:
        run(FedAvg(Misbehaving(acts), 1))
    assert "the aggregated update" in str(caught.value) or "expected" in str(caught.value)


# --- training that diverges

EXPLODING = LocalTraining(TORCH, SGD(1e30), batch_size=8, epochs=3)


def test_a_learning_rate_that_is_too_large_ends_the_run_with_the_last_good_model() -> None:
    failure = failing(FedAvg(EXPLODING, 3), model=TORCH)
    text = str(failure)
    assert "0 of 3 clients gave a usable update" in text
    assert "is not finite (NaN or infinity); it reports loss = nan" in text
    assert "where: round 1, work 'train'" in text
    assert "lower the learning rate, or clip gradients; the History holds the last good model" in text
    history = failure.history
    assert [(entry.round, entry.work) for entry in history.entries] == [(1, "train")]
    assert {outcome.status for outcome in history.entries[0].outcomes.values()} == {Status.REJECTED}
    assert len(history.entries[0].outcomes) == 3
    assert history.rounds == 0
    assert tree.not_finite(history.model) is None
    assert all(np.array_equal(leaf, history.model[name]) for name, leaf in Experiment(TORCH, None).start().items())  # type: ignore[arg-type]  # none is needed


def test_one_client_that_diverges_is_left_out_and_the_run_goes_on() -> None:
    columns = DATA["1"].all()
    data = {
        **{client: DATA[client] for client in DATA},
        "1": ClientDataset({"x": columns["x"] * 1e25, "y": columns["y"]}),
    }
    history = run(FedAvg(LocalTraining(TORCH, SGD(0.1), batch_size=8, epochs=2), 3), data, TORCH)
    assert history.rounds == 3
    for entry in history.entries:
        assert [outcome.status for outcome in entry.outcomes.values()] == [
            Status.UPDATED,
            Status.REJECTED,
            Status.UPDATED,
        ]
        assert "not finite" in entry.outcomes["1"].why
        assert np.isfinite(entry.metrics.value("loss"))
    assert tree.not_finite(history.model) is None


def test_a_server_that_diverges_ends_the_run_with_the_last_good_model() -> None:
    huge = {("0", 2): lambda update: Update({name: leaf * np.float32(3e38) for name, leaf in update.tree.items()}, 2.0)}
    with np.errstate(all="ignore"):
        failure = failing(FedAvg(Misbehaving(huge), 3, FixedClients(["0"]), server=SGD(10.0)))
    assert "global model is no longer finite, in leaf 'layer1" in str(failure)
    assert "where: round 2" in str(failure)
    assert "learning rate" in failure.hint
    assert "the History holds the last good model" in failure.hint
    assert [entry.round for entry in failure.history.entries] == [1, 2]
    assert (failure.history.model["layer1.bias"] == 10).all()


def test_a_model_whose_loss_is_nan_ends_the_run_with_the_one_before_it() -> None:
    def explode(update: Update) -> Any:
        signs = np.array([[3e38], [-3e38], [3e38]], np.float32)
        return Update({**update.tree, "layer1.weight": update.tree["layer1.weight"] * signs}, 2.0)

    acts: dict[tuple[str, int], Callable[[Update], Any]] = {(client, 2): explode for client in DATA}
    with np.errstate(all="ignore"):
        failure = failing(Evaluated(FedAvg(Misbehaving(acts), 3), Evaluation(MODEL)))
    assert "loss of the federated model is NaN" in str(failure)
    assert "where: round 2, work 'evaluate'" in str(failure)
    history = failure.history
    assert [(entry.round, entry.work) for entry in history.entries][-2:] == [(2, "train"), (2, "evaluate")]
    assert np.isnan(history.entries[-1].metrics.value("loss"))
    assert history.rounds == 1
    assert (history.model["layer1.bias"] == 1).all()
    assert (history.model["layer1.weight"] == 1).all()


def test_more_updates_than_there_can_be_end_an_asynchronous_run() -> None:
    failure = failing(FedAvg(Misbehaving(), 1, closing=Closing.first(4)))
    assert "3 of 3 clients gave a usable update, and 4 were needed" in str(failure)
