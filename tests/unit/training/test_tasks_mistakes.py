"""What is wrong with a task, where, and what to do: as it is written, as it is put together, and at the visit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from hansa.core.keys import key
from hansa.core.work import ClientContext
from hansa.errors import ConfigError, DataError, HansaError, TreeMismatch, UnknownName
from hansa.models import NumpyMLP
from hansa.models.torch import TorchModel
from hansa.rules import Collect, WeightedMean
from hansa.testing import blobs
from hansa.training.tasks.task import Task, task
from hansa.training.tasks.work import Tasks

DATA = blobs(1, examples=20)
MODEL = TorchModel(lambda: nn.Linear(5, 3), F.cross_entropy)
PARAMS = MODEL.init(key(0))


def visit(**changes: Any) -> ClientContext:
    return ClientContext(
        **{"id": "alice", "data": {"train": DATA["0"], "test": DATA.test["0"]}, "key": key(1), **changes}
    )


@task(train=True)
def train(model: nn.Module, optimizer: Any, loader: Any, *, clip: float = 1.0, name: str = "a") -> dict[str, float]:
    return {"loss": 1.0}


@task
def validate(model: nn.Module, loader: Any, device: str) -> dict[str, float]:
    return {"accuracy": 1.0}


def adam(model: nn.Module, *, lr: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=lr)


# --- as it is written


def unknown(model, lodaer): ...  # type: ignore[no-untyped-def]
def defaulted(model, loader, clip=1.0): ...  # type: ignore[no-untyped-def]
def starred(model, *args): ...  # type: ignore[no-untyped-def]
def keywords(model, **kwargs): ...  # type: ignore[no-untyped-def]
def positional(model, /): ...  # type: ignore[no-untyped-def]
def needed(model, *, clip): ...  # type: ignore[no-untyped-def]
def given(*, model=None): ...  # type: ignore[no-untyped-def]
def trains(model, optimizer): ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (unknown, "has the parameter 'lodaer', which nobody gives it; did you mean 'loader'?"),
        (defaulted, "has the parameter 'clip', which nobody gives it; write a * before it, if it is a setting"),
        (starred, "has the parameter '*args', and tasks are given everything by name"),
        (keywords, "has the parameter '**kwargs', and tasks are given everything by name"),
        (positional, "has the parameter 'model', and tasks are given everything by name"),
        (needed, "has the parameter 'clip', which nobody gives it"),
        (given, "has a default for 'model', which it is always given"),
        (trains, "asks for an optimizer, and is not marked with train=True"),
    ],
)
def test_a_function_that_cannot_be_a_task_is_shown_beside_one_that_can(function: Callable[..., Any], what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        task(function)
    first, found, expected = caught.value.what.splitlines()
    assert first == f"the task {function.__name__!r} {what}"
    assert found.startswith(f"  found:    def {function.__name__}(")
    assert expected.startswith(f"  expected: def {function.__name__}(model, loader, device, *, setting=1.0)")


def test_a_training_task_is_shown_one_that_trains() -> None:
    with pytest.raises(ConfigError, match=r"found:    def unknown\(model, lodaer\)") as caught:
        task(train=True)(unknown)
    assert "expected: def unknown(model, optimizer, loader, device, *, setting=1.0)" in caught.value.what


@pytest.mark.parametrize(
    ("mark", "what"),
    [
        (lambda: task(3), "a task is a function, not 3"),  # type: ignore[call-overload]  # on purpose
        (lambda: task(rule=Collect())(validate.function), "'validate' does not train, and has no changes for a rule"),
        (lambda: task(leaves="head.")(validate.function), "'validate' does not train"),
        (lambda: task(dict), "the parameters of <class 'dict'> are not known"),
    ],
)
def test_marks_that_make_no_sense_are_refused(mark: Callable[[], Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        mark()


def test_a_marked_function_is_called_as_before() -> None:
    assert isinstance(validate, Task)
    assert validate(None, [], device="cpu") == {"accuracy": 1.0}


# --- as they are put together


def plain(model: nn.Module) -> dict[str, float]:
    return {}


@pytest.mark.parametrize(
    ("make", "what", "hint"),
    [
        (lambda: Tasks(MODEL), "there is no task", "Tasks(model, train)"),
        (lambda: Tasks(MODEL, plain), "plain is no task", "@hansa.task"),  # type: ignore[arg-type]  # on purpose
        (lambda: Tasks(MODEL, validate, validate), "two tasks are called 'validate'", '("validate_again", validate)'),
        (lambda: Tasks(MODEL, ("a/b", validate)), "a task cannot be called 'a/b'", '("name", function)'),
        (lambda: Tasks(MODEL, ("", validate)), "a task cannot be called ''", '("name", function)'),
        (lambda: Tasks(MODEL, ("optimizer", validate)), "cannot be called 'optimizer'", '("name", function)'),
        (lambda: Tasks(NumpyMLP((5, 3)), validate), "NumpyMLP has no object of a framework's own", "TorchModel"),  # type: ignore[arg-type]  # on purpose
        (lambda: Tasks(MODEL, validate, batch_size=0), "batch_size is at least 1, not 0", ""),
        (lambda: Tasks(MODEL, train), "the task 'train' asks for an optimizer, and there is none", "optimizer=lambda"),
        (lambda: Tasks(MODEL, validate, optimizer=adam), "no task asks for the optimizer", "parameter `optimizer`"),
        (
            lambda: Tasks(MODEL, validate, optimizer_state="keep"),
            "optimizer_state='keep' without an optimizer",
            "optimizer=lambda",
        ),
        (lambda: Tasks(MODEL, train, optimizer=torch.optim.Adam), "from that visit's model; found Adam", "lambda"),
        (lambda: Tasks(MODEL, train, optimizer=adam(nn.Linear(1, 1))), "found Adam", "lambda"),  # type: ignore[arg-type]  # on purpose
        (
            lambda: Tasks(MODEL, train, optimizer=lambda model, lr: None),
            r"is given the model alone; its parameters are \(model, lr\)",
            "lambda",
        ),
        (lambda: Tasks(MODEL, train, optimizer=lambda: None), r"its parameters are \(\)", "lambda"),
        (
            lambda: Tasks(MODEL, train, optimizer=adam, settings={"cilp": 1.0}),
            "there is no setting 'cilp'",
            "choose one of: clip",
        ),
        (
            lambda: Tasks(MODEL, train, optimizer=adam, settings={"train/cilp": 1.0}),
            "there is no setting 'train/cilp'",
            "train/clip",
        ),
        (
            lambda: Tasks(MODEL, train, optimizer=adam, settings={"lr": "fast"}),
            "'lr' is of type float, not str",
            "0.001",
        ),
    ],
)
def test_works_that_make_no_sense_are_refused(make: Callable[[], Any], what: str, hint: str) -> None:
    with pytest.raises(HansaError, match=what) as caught:
        make()
    assert hint in caught.value.hint


def test_keeping_the_optimizer_of_a_framework_that_cannot_is_refused() -> None:
    class Bare:
        native = extract = None

    with pytest.raises(ConfigError, match="Bare cannot take out the state of an optimizer"):
        Tasks(Bare(), train, optimizer=adam, optimizer_state="keep")  # type: ignore[arg-type]  # on purpose


# --- rules


def trainer(name: str, **options: Any) -> tuple[str, Task]:
    return name, task(train=True, **options)(plain)


def test_two_rules_for_the_same_leaves_are_refused() -> None:
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"rule": Collect()}, {}),
        ({"rule": Collect()}, {"rule": WeightedMean(equal=True)}),
        ({"rule": Collect(), "leaves": "head."}, {"leaves": "head.top."}),
        ({"rule": Collect(), "leaves": "head."}, {"rule": WeightedMean()}),
    ]
    for one, other in pairs:
        with pytest.raises(ConfigError, match="train the same leaves by different rules") as caught:
            Tasks(MODEL, trainer("a", **one), trainer("b", **other))
        assert 'leaves="generator."' in caught.value.hint


def test_rules_that_do_not_meet_are_told_by_the_leaves_they_are_for() -> None:
    collect, equal = Collect(), WeightedMean(equal=True)
    apart = Tasks(MODEL, trainer("a", rule=collect, leaves="head."), trainer("b", rule=equal, leaves="body."))
    assert apart.rules == {"head.": collect, "body.": equal}
    assert Tasks(MODEL, trainer("a", rule=equal), trainer("b", rule=equal)).rules == {"": equal}
    assert Tasks(MODEL, trainer("a", rule=collect), trainer("b"), rule=equal).rules == {"": equal}
    assert Tasks(MODEL, trainer("a")).rules == {}


def test_leaves_that_the_model_does_not_have_are_told_with_those_that_it_has() -> None:
    work = Tasks(MODEL, trainer("a", rule=Collect(), leaves="wieght"))
    with pytest.raises(UnknownName, match="there is no leaf that begins with 'wieght'") as caught:
        work(PARAMS, visit())
    assert "weight" in caught.value.hint
    assert caught.value.where == "client 'alice', task 'a'"


# --- at the visit


@pytest.mark.parametrize(
    ("settings", "what", "hint"),
    [
        ({"cilp": 1.0}, "there is no setting 'cilp'", "clip"),
        ({"clip": "1"}, "the setting 'clip' is of type float, not str: '1'", "its default is 1.0"),
        ({"clip": True}, "the setting 'clip' is of type float, not bool: True", "its default is 1.0"),
        ({"name": 3}, "the setting 'name' is of type str, not int: 3", "its default is 'a'"),
    ],
)
def test_an_asks_setting_that_is_not_one_is_told(settings: dict[str, Any], what: str, hint: str) -> None:
    with pytest.raises(HansaError, match=what) as caught:
        Tasks(MODEL, train, optimizer=adam)(PARAMS, visit(settings=settings))
    assert hint in caught.value.hint
    assert caught.value.where == "client 'alice', the ask's settings"


def test_a_setting_that_is_no_scalar_cannot_be_set() -> None:
    @task
    def measure(model: nn.Module, *, criterion: Any = F.cross_entropy, share: float | None = None) -> dict[str, float]:
        assert criterion is F.cross_entropy
        return {"share": share or 0.0}

    assert Tasks(MODEL, measure, settings={"share": 1})(PARAMS, visit()).metrics.value("share") == 1
    with pytest.raises(ConfigError, match=r"the setting .criterion. is <function cross_entropy .* and cannot be set"):
        Tasks(MODEL, measure, settings={"criterion": "mse"})


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "returned NoneType, expected numbers by name"),
        (0.5, "returned float, expected numbers by name"),
        ((MODEL, {"loss": 1.0}), "returned tuple, expected numbers by name"),
        ({"loss": "low"}, "returned str as 'loss', expected a number, or a metric of Hansa's"),
        ({"loss": torch.ones(2)}, "returned Tensor as 'loss', expected a number"),
        ({1: 0.5}, "returned a metric named 1, and names are texts"),
        ({"examples": float("nan")}, 'returned nan as "examples", which is no number of examples'),
        ({"examples": -1}, 'returned -1.0 as "examples"'),
    ],
)
def test_what_is_no_metrics_is_told_with_the_task_and_both_signatures(value: Any, what: str) -> None:
    @task
    def measure(model: nn.Module, loader: Any) -> Any:
        return value

    with pytest.raises(ConfigError, match=f"the task 'measure' {what}") as caught:
        Tasks(MODEL, ("held", measure))(PARAMS, visit())
    assert "found:    def measure(model: 'nn.Module', loader: 'Any')" in caught.value.what
    assert 'expected: def measure(model, loader, device, *, setting=1.0): ...; return {"accuracy"' in caught.value.what
    assert caught.value.where == "client 'alice', task 'held'"


@pytest.mark.parametrize("data", [{}, {"test": DATA["0"]}, {"train": DATA["0"].take(0)}, {"train": []}])
def test_a_client_without_examples_is_told_by_name(data: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="there are no examples in the split 'train'") as caught:
        Tasks(MODEL, train, optimizer=adam)(PARAMS, visit(data=data))
    assert caught.value.where == "client 'alice', task 'train'"


class Stream(IterableDataset[Any]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[Any]:
        return iter([(torch.zeros(5), torch.tensor(0))] * self.count)


@pytest.mark.parametrize("loader", [iter([]), DataLoader(Stream(3), batch_size=2)], ids=["iterator", "stream"])
def test_a_loader_without_a_length_needs_a_task_that_counts(loader: Any) -> None:
    with pytest.raises(ConfigError, match="nobody knows how many examples there are") as caught:
        Tasks(MODEL, validate)(PARAMS, visit(data={"test": loader}))
    assert '"examples": count' in caught.value.hint


def test_a_stream_that_turns_out_empty_is_told() -> None:
    @task
    def count(model: nn.Module, loader: Any) -> dict[str, float]:
        return {"examples": sum(len(y) for _, y in loader)}

    assert Tasks(MODEL, count)(PARAMS, visit(data={"test": DataLoader(Stream(3), batch_size=2)})).weight == 3
    with pytest.raises(DataError, match="there are no examples"):
        Tasks(MODEL, count)(PARAMS, visit(data={"test": DataLoader(Stream(0), batch_size=2)}))


def grown(model: nn.Module) -> dict[str, float]:
    model.extra = nn.Parameter(torch.zeros(1))
    return {}


def reshaped(model: nn.Module) -> dict[str, float]:
    model.weight = nn.Parameter(torch.zeros(2, 5))
    return {}


def narrowed(model: nn.Module) -> dict[str, float]:
    model.half()
    return {}


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (grown, r"leaves differ: missing none, unexpected \['extra'\]"),
        (reshaped, r"leaf 'weight' has shape \(2, 5\), expected \(3, 5\)"),
        (narrowed, "leaf 'weight' has dtype float16, expected float32"),
    ],
)
def test_a_task_that_changes_the_form_of_the_model_is_told(function: Callable[..., Any], what: str) -> None:
    with pytest.raises(TreeMismatch, match=what) as caught:
        Tasks(MODEL, ("change", task(train=True)(function)))(PARAMS, visit())
    assert caught.value.where == "client 'alice', after change"
    assert "not their names, shapes or dtypes" in caught.value.hint


def test_parameters_of_another_model_are_told() -> None:
    with pytest.raises(TreeMismatch, match=r"another model's: missing \['bias'\], unexpected \['w'\]"):
        Tasks(MODEL, validate)({"weight": PARAMS["weight"], "w": np.zeros(1)}, visit())


def test_what_a_task_raises_stays_what_it_is() -> None:
    @task
    def broken(model: nn.Module) -> dict[str, float]:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        Tasks(MODEL, broken)(PARAMS, visit())
