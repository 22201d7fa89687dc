"""Client classes as works: what they are given, what becomes of what they return, and what is said of mistakes."""

# ruff: noqa: ARG002 - client classes have the arguments that they are called with, used or not

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hansa
from hansa.core import tree
from hansa.core.work import ClientContext
from hansa.data import ClientDataset, FederatedData
from hansa.errors import ConfigError, InputError, RunFailed, TreeMismatch
from hansa.training.clients.answers import in_order, named
from hansa.training.clients.work import ArrayModel, Clients, NodeContext

ARRAYS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(3, np.float32)]
CONTEXT = ClientContext("7", {})


class Adds:
    """Adds a number to every parameter, in place: what it is lent is its own."""

    def __init__(self, number: float = 1.0, examples: Any = 4) -> None:
        self.number, self.examples = number, examples

    def get_parameters(self, config: Any) -> Any:
        return ARRAYS

    def fit(self, parameters: Any, config: Any) -> Any:
        for array in parameters:
            array += config.get("step", self.number)
        return parameters, self.examples, {"loss": np.float32(0.5), "epoch": 3, "done": True}

    def evaluate(self, parameters: Any, config: Any) -> Any:
        return float(parameters[0].sum()), 5, {"accuracy": 0.25}


class Returns:
    """Returns whatever it was made with."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def fit(self, parameters: Any, config: Any) -> Any:
        return self.answer

    evaluate = fit


def data(clients: int = 3) -> FederatedData:
    return FederatedData({str(n): ClientDataset({"x": np.zeros(4 * (n + 1))}) for n in range(clients)})


def of(client: Any) -> Clients:
    return Clients(lambda cid: client)


# --- what a work gives


def test_fit_gives_the_change_the_number_of_examples_and_the_metrics() -> None:
    broadcast = tree.read_only(named(ARRAYS))
    update = of(Adds(2.0)).train(broadcast, CONTEXT)
    assert list(update.tree) == ["0", "1"]
    assert all((change == 2.0).all() for change in update.tree.values())
    assert update.weight == 4.0
    assert update.metrics.numbers() == {"loss": 0.5, "epoch": 3.0, "done": 1.0}
    assert update.metrics.merge(update.metrics).value("loss") == 0.5


def test_evaluate_gives_no_arrays_but_the_loss_and_metrics_by_examples() -> None:
    clients = {"7": Adds(), "8": Returns((1.0, 15, {"accuracy": 1.0}))}
    work = Clients(lambda cid: clients[cid]).evaluate
    first, second = (work(named(ARRAYS), ClientContext(cid, {})) for cid in clients)
    assert (first.tree, first.weight) == ({}, 5.0)
    assert first.metrics.numbers() == {"loss": 15.0, "accuracy": 0.25}
    assert first.metrics.merge(second.metrics).value("accuracy") == (5 * 0.25 + 15 * 1.0) / 20


def test_the_config_is_what_the_ask_says() -> None:
    update = of(Adds()).train(
        named(ARRAYS), ClientContext("7", {}, settings={"step": 3.0, "name": "x", "raw": b"\x00"})
    )
    assert (update.tree["0"] == 3.0).all()


def test_a_float_that_arithmetic_widened_comes_back_in_its_own_dtype() -> None:
    update = of(Returns(([a.astype(np.float64) + 1 for a in ARRAYS], 1, {}))).train(named(ARRAYS), CONTEXT)
    assert {leaf.dtype for leaf in update.tree.values()} == {np.dtype(np.float32)}


def test_names_that_are_given_are_the_leaves() -> None:
    names = ("weight", "bias")
    clients = Clients(lambda cid: Adds(), names=names)
    update = clients.train({"bias": ARRAYS[1], "weight": ARRAYS[0]}, CONTEXT)  # in whatever order they travelled
    assert update.tree["weight"].shape == (2, 3)
    assert list(clients.initial("0")) == list(names)


@given(st.integers(0, 120))
def test_positions_keep_their_order_when_names_are_sorted(count: int) -> None:
    arrays = [np.array(number) for number in range(count)]
    travelled = dict(sorted(named(arrays).items()))
    assert [int(array) for array in in_order(travelled)] == list(range(count))


def test_client_classes_train_a_model_and_evaluate_it() -> None:
    clients = Clients(lambda cid: Adds(float(cid), examples=int(cid) + 1))
    algorithm = hansa.Evaluated(hansa.FedAvg(clients.train, rounds=2), clients.evaluate, split="train")
    history = hansa.Federation.simulate(data()).run(hansa.Experiment(ArrayModel(ARRAYS), algorithm)).history
    mean = (0 * 1 + 1 * 2 + 2 * 3) / 6
    np.testing.assert_allclose(history.model["0"], ARRAYS[0] + 2 * mean, rtol=1e-6)
    assert [round_ for round_, _ in history.series("loss")] == [0, 1, 2]
    train = [entry for entry in history.entries if entry.work == "train"]
    assert train[0].outcomes["2"].metrics.value("epoch") == 3.0


# --- how a client is made


def test_client_fn_is_given_what_it_asks_for() -> None:
    given: list[Any] = []

    def by_id(cid: Any) -> Any:
        given.append(cid)
        return Adds()

    def by_type(whoever: str) -> Any:
        return by_id(whoever)

    def by_context(context: Any) -> Any:
        return by_id(context)

    examples = {"train": ClientDataset({"x": np.zeros(2)})}
    for client_fn in (by_id, by_type, by_context):
        Clients(client_fn, run_config={"lr": 0.5}).train(named(ARRAYS), ClientContext("7", examples, round=3))
    context = given.pop()
    assert given == ["7", "7"]
    assert isinstance(context, NodeContext)
    assert (context.id, context.round, context.data) == ("7", 3, examples)
    assert (context.node_config, context.run_config) == ({"partition-id": 7}, {"lr": 0.5})


@pytest.mark.parametrize("client_fn", [lambda: None, lambda a, b: None])
def test_a_client_fn_that_takes_no_single_argument_is_refused(client_fn: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"client_fn takes one argument, and this one takes (nothing|a, b)"):
        Clients(client_fn)


def test_an_object_that_is_no_function_is_refused() -> None:
    with pytest.raises(ConfigError, match="client_fn is a function that makes a client, not Adds"):
        Clients(Adds())  # type: ignore[arg-type]  # that is the point


# --- what client code gets wrong

FIT = "a tuple (list of NumPy arrays, number of examples, dict of metrics)"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, f"expected {FIT}; found None"),
        (ARRAYS, f"expected {FIT}; found list"),
        ((ARRAYS, 3), f"expected {FIT}; found a tuple (list, int)"),
        ((3, ARRAYS, {}), f"expected {FIT}, its arrays in a list; found 3"),
        ((ARRAYS, "3", {}), f"expected {FIT}, its number of examples at least 0; found str"),
        ((ARRAYS, -1, {}), f"expected {FIT}, its number of examples at least 0; found -1"),
        ((ARRAYS, 3, [0.5]), f"expected {FIT}, its metrics by name; found list"),
        (([ARRAYS[0], [0.0]], 3, {}), "array 1 is a list; expected a NumPy array"),
        (([ARRAYS[0], np.array([None])], 3, {}), "array 1 is a ndarray; expected a NumPy array"),
        ((ARRAYS, 3, {"who": "me"}), "metric 'who' is a str; expected a number"),
        ((ARRAYS, 3, {"all": np.zeros(2)}), "metric 'all' is a ndarray; expected a number"),
    ],
)
def test_a_bad_answer_of_fit_names_the_client_the_expected_and_the_found(answer: Any, said: str) -> None:
    with pytest.raises(InputError) as raised:
        of(Returns(answer)).train(named(ARRAYS), CONTEXT)
    assert raised.value.what == said
    assert raised.value.where == "client '7', fit"


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (ARRAYS[:1], "it returned 1 arrays, and it was given 2"),
        (ARRAYS[::-1], "array 0 has shape (3,) and dtype float32, expected (2, 3) and float32"),
        ([ARRAYS[0].astype(int), ARRAYS[1]], "array 0 has shape (2, 3) and dtype int64, expected (2, 3) and float32"),
    ],
)
def test_other_arrays_than_were_given_are_refused(arrays: Any, said: str) -> None:
    with pytest.raises(TreeMismatch, match=re.escape(said)) as raised:
        of(Returns((arrays, 3, {}))).train(named(ARRAYS), CONTEXT)
    assert raised.value.where == "client '7', fit"


@pytest.mark.parametrize("answer", [0.5, (0.5, 3), ("low", 3, {}), (True, 3, {}), ([0.5], 3, {})])
def test_a_bad_answer_of_evaluate_says_what_was_expected(answer: Any) -> None:
    with pytest.raises(InputError, match=re.escape("expected a tuple (loss, number of examples, dict of metrics)")):
        of(Returns(answer)).evaluate(named(ARRAYS), CONTEXT)


def test_parameters_with_other_names_ask_for_their_order() -> None:
    with pytest.raises(TreeMismatch, match="the parameters are named 'w', 'b', and not '0', '1'") as raised:
        of(Adds()).train({"w": ARRAYS[0], "b": ARRAYS[1]}, CONTEXT)
    assert "names=" in raised.value.hint


def test_a_mistake_ends_a_run_with_the_client_in_its_message() -> None:
    experiment = hansa.Experiment(ArrayModel(ARRAYS), hansa.FedAvg(of(Returns(None)).train, rounds=1))
    with pytest.raises(RunFailed, match="client '0', fit"):
        hansa.Federation.simulate(data()).run(experiment)


def test_an_array_model_has_no_loss() -> None:
    model = ArrayModel(ARRAYS)
    params = model.init(hansa.key(0))
    assert all(np.array_equal(model.dump(model.load(params, "cpu"))[name], params[name]) for name in params)
    for ask in (lambda: model.gradient(params, {}, hansa.key(0)), lambda: model.predict(params, {})):
        with pytest.raises(ConfigError, match="knows no loss"):
            ask()
