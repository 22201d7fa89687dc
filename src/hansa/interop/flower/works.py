"""What a client of a Flower program is asked, as works: fit, evaluate, and the parameters to start from.

A client's answer travels as arrays and a report: a small JSON text with what the arrays don't say, types preserved.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hansa.core.metrics import Metrics
from hansa.core.population import ClientId
from hansa.core.tree import Array, Tree
from hansa.core.work import ClientContext, Scalar, Settings, Update, settings_from_json, settings_to_json
from hansa.errors import HansaError, InputError
from hansa.interop.flower.client.client import Client, as_client
from hansa.interop.flower.common.typing import (
    Code,
    EvaluateIns,
    EvaluateRes,
    FitIns,
    FitRes,
    GetParametersIns,
    GetParametersRes,
    Status,
)
from hansa.interop.flower.message import Context
from hansa.interop.flower.packing import from_leaf, from_tree, to_leaf, to_tree
from hansa.interop.flower.parameters import NUMPY, Parameters
from hansa.training.clients.answers import alike
from hansa.training.clients.answers import measured as means
from hansa.training.clients.work import only_parameter, wanted

ARRAY, REPORT = "array:", "report"
"""The leaves of an answer: its arrays by position, and its report."""

CONFIG, TENSORS, ADDRESSED, AVERAGED = "config.", "tensors", "addressed", "averaged"
"""The settings of an ask: what the client is told, what its tensors are if no arrays, that they are in its own input, and that
its answer is averaged with the others', so that it must be like what it was given."""


class NotDone(HansaError):
    """A client answered that it did not do what it was asked; `res` is its answer."""

    def __init__(self, what: str, res: Any) -> None:
        super().__init__(what)
        self.res = res


@dataclass(frozen=True)
class Nodes:
    """How clients are made.

    Attributes:
        client_fn: the program's own.
        partitions: each client's number, where they are numbered.
        run_config: what contexts say of the run.
    """

    client_fn: Callable[[Any], Any]
    partitions: Mapping[ClientId, int] = field(default_factory=dict)
    run_config: Settings = field(default_factory=dict)
    _wants: str = field(init=False, repr=False, default="")

    def __post_init__(self) -> None:
        annotation = only_parameter(self.client_fn).annotation
        ours = annotation is ClientContext or (isinstance(annotation, str) and annotation.endswith("ClientContext"))
        object.__setattr__(self, "_wants", "ours" if ours else wanted(self.client_fn))

    def context(self, context: ClientContext) -> Context:
        """Flower's form of a client's context; its state is the client's private state."""
        node: dict[str, Scalar] = {}
        if context.id in self.partitions:
            node = {"partition-id": self.partitions[context.id], "num-partitions": len(self.partitions)}
        number = self.partitions.get(context.id, -1)
        return Context(0, number, node, from_tree(context.state), dict(self.run_config))

    def made(self, context: ClientContext, node: Context) -> Client:
        """The client of one visit.

        `client_fn` is given the client's id where it asks for `cid` or a `str`, Hansa's context where it asks for a
        `ClientContext`, and Flower's otherwise.
        """
        if self._wants == "id":
            return as_client(self.client_fn(context.id))
        return as_client(self.client_fn(context if self._wants == "ours" else node))


def state_after(node: Context, context: ClientContext) -> Tree | None:
    """The client's next private state; None where it keeps the present one, which is none."""
    return to_tree(node.state) if node.state or context.state else None


@dataclass(frozen=True)
class GetParametersWork:
    """Ask a client for its own parameters."""

    nodes: Nodes

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:  # noqa: ARG002 - the port's signature
        """The work; an empty answer where the client has none to give."""
        node = self.nodes.context(context)
        with _of(context):
            res = self.nodes.made(context, node).get_parameters(GetParametersIns({}))
            _check(res, GetParametersRes)
        parameters = res.parameters if res.status.code is Code.OK else Parameters([], NUMPY)
        report = {"tensor_type": parameters.tensor_type}
        return Update(_answer(parameters.to_tree(), report), state=state_after(node, context))


@dataclass(frozen=True)
class FitWork:
    """Ask a client to train."""

    nodes: Nodes

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The work: the update's tree is the trained parameters themselves, with a report.

        Raises:
            NotDone: the client says so.
            InputError: it returned something else than it should.
            TreeMismatch: its parameters are unlike those that it was given.
        """
        node, given = self.nodes.context(context), _given(broadcast, context)
        with _of(context):
            res = self.nodes.made(context, node).fit(FitIns(given, _config(context)))
            _check(res, FitRes)
            if res.status.code is not Code.OK:
                raise NotDone(f"{res.status.code.name}: {res.status.message}", res)
            arrays = _averageable(res.parameters, given) if context.settings.get(AVERAGED) else res.parameters.to_tree()
            metrics = _scalars(res.metrics)
        report = {"n": res.num_examples, "metrics": metrics, "tensor_type": res.parameters.tensor_type}
        measured = numbers(res.metrics, res.num_examples)
        return Update(_answer(arrays, report), float(res.num_examples), measured, state_after(node, context))


@dataclass(frozen=True)
class EvaluateWork:
    """Ask a client to measure."""

    nodes: Nodes

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The work: the update's tree is a report alone, also of a client that has no `evaluate`.

        Raises:
            InputError: the client returned something else than it should.
        """
        node = self.nodes.context(context)
        with _of(context):
            client = self.nodes.made(context, node)
            res = client.evaluate(EvaluateIns(_given(broadcast, context), _config(context)))
            _check(res, EvaluateRes)
            metrics = _scalars(res.metrics)
        status = [res.status.code.value, res.status.message]
        report = {"n": res.num_examples, "loss": res.loss, "metrics": metrics, "status": status}
        done = res.status.code is Code.OK
        found = numbers({"loss": res.loss, **res.metrics}, res.num_examples) if done else Metrics()
        return Update(_answer({}, report), float(res.num_examples), found, state_after(node, context))


# --- an ask's settings, and an answer's report


def settings_of(config: Mapping[str, Any], parameters: Parameters) -> dict[str, Scalar]:
    """What an ask says of a client's config and of what its parameters are.

    Raises:
        InputError: a value of the config is no scalar.
    """
    said = {f"{CONFIG}{name}": value for name, value in _scalars(config, decoded=True).items()}
    return said if parameters.tensor_type == NUMPY else {**said, TENSORS: parameters.tensor_type}


def fit_res(arrays: Tree, leaf: Array) -> FitRes:
    """The answer that a client's arrays and report stand for."""
    report = json.loads(from_leaf(leaf))
    found = {name.removeprefix(ARRAY): each for name, each in arrays.items()}
    parameters = Parameters.from_tree(found, report["tensor_type"])
    return FitRes(Status(Code.OK, "Success"), parameters, report["n"], settings_from_json(report["metrics"]))


def evaluate_res(leaf: Array) -> EvaluateRes:
    """The answer that a client's report stands for."""
    report = json.loads(from_leaf(leaf))
    code, message = report["status"]
    return EvaluateRes(Status(Code(code), message), report["loss"], report["n"], settings_from_json(report["metrics"]))


def initial_parameters(arrays: Tree, leaf: Array) -> Parameters:
    """The parameters that a client gave to start from."""
    found = {name.removeprefix(ARRAY): each for name, each in arrays.items()}
    return Parameters.from_tree(found, json.loads(from_leaf(leaf))["tensor_type"] or NUMPY)


def numbers(metrics: Mapping[str, Any], examples: float) -> Metrics:
    """Those metrics that are finite numbers, as means over so many examples; none where there are no examples."""
    finite = {name: v for name, v in metrics.items() if isinstance(v, int | float) and math.isfinite(v)}
    return means(finite, examples, "metrics") if examples > 0 else Metrics()


def _answer(arrays: Tree, report: Mapping[str, Any]) -> Tree:
    return {**{f"{ARRAY}{name}": leaf for name, leaf in arrays.items()}, REPORT: to_leaf(json.dumps(report))}


def _averageable(parameters: Parameters, given: Parameters) -> Tree:
    """Trained parameters, if they are arrays like those that the client was given; whatever they are, where it got none."""
    if parameters.tensor_type != NUMPY:
        raise InputError(
            f"tensors of the type {parameters.tensor_type!r} have no average",
            where="fit",
            hint="return NumPy arrays, or let the strategy override aggregate_fit",
        )
    arrays, before = parameters.arrays(), given.arrays()
    return Parameters.of(alike(arrays, before, "fit") if before else arrays).to_tree()


def _given(broadcast: Tree, context: ClientContext) -> Parameters:
    tree = context.inputs if context.settings.get(ADDRESSED) else broadcast
    return Parameters.from_tree(tree, str(context.settings.get(TENSORS, NUMPY)))


def _config(context: ClientContext) -> dict[str, Scalar]:
    said = context.settings.items()
    return {name.removeprefix(CONFIG): value for name, value in said if name.startswith(CONFIG)}


def _scalars(values: Mapping[str, Any], *, decoded: bool = False) -> dict[str, Any]:
    """Scalars by name, as JSON unless they are to stay what they are.

    Raises:
        InputError: one is no scalar.
    """
    for name, value in values.items():
        if not isinstance(value, bool | int | float | str | bytes):
            raise InputError(
                f"{name!r} is a {type(value).__name__}; expected a number, text or bytes",
                where="metrics or config",
                hint="convert it, such as float(value)",
            )
    return dict(values) if decoded else settings_to_json(values)


def _check(res: object, kind: type) -> None:
    if not isinstance(res, kind):
        raise InputError(
            f"expected a {kind.__name__}, found {type(res).__name__}", where=kind.__name__, hint="return one"
        )


@contextmanager
def _of(context: ClientContext) -> Iterator[None]:
    """Say whose client code it was where its answer cannot be used."""
    try:
        yield
    except InputError as problem:
        problem.where = f"client {context.id!r}" + (f", {problem.where}" if problem.where else "")
        raise
