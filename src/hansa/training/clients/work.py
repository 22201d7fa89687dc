"""Client classes: client work written as a class over lists of NumPy arrays, as Flower's users write it.

A class has `fit`, `evaluate`, or both, and a function of the user's own makes an object of it for every visit. What they return
is held against the expected form, so that a mistake names the client and says what was expected and what was found.

This file must not know of rounds, servers or other clients, nor of any framework's own types.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol, cast

import numpy as np

from hansa.core import tree
from hansa.core.keys import Key
from hansa.core.population import ClientId
from hansa.core.tree import Array, Tree
from hansa.core.work import ClientContext, Scalar, Settings, Update
from hansa.errors import ConfigError
from hansa.models import Batch, Gradient, Resident
from hansa.models.model import Prediction
from hansa.training.clients.answers import alike, checked_arrays, evaluated, fitted, in_order, measured, named, writable

Config = dict[str, Scalar]
"""What the ask says to the client: numbers, text and bytes by name."""


class ArrayClient(Protocol):
    """A client class, by shape: nothing is to be inherited. A work calls only the method that it is for."""

    def get_parameters(self, config: Config, /) -> list[Array]:
        """The client's own parameters, from which a run may start."""
        ...

    def fit(self, parameters: list[Array], config: Config, /) -> tuple[list[Array], int, dict[str, Scalar]]:
        """Train these parameters: the trained ones, the number of examples, and what was measured."""
        ...

    def evaluate(self, parameters: list[Array], config: Config, /) -> tuple[float, int, dict[str, Scalar]]:
        """Measure these parameters: the loss, the number of examples, and what else was measured."""
        ...


@dataclass(frozen=True)
class NodeContext(ClientContext):
    """A client's context with the two mappings that client functions written for Flower look into.

    Attributes:
        node_config: "partition-id" is the client's id as a number, where its id is one.
        run_config: what `Clients` was given.
    """

    node_config: Settings = field(default_factory=dict)
    run_config: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class Clients:
    """Client classes as works: `FedAvg(clients.train, ...)`, `Evaluated(..., clients.evaluate)`.

    `client_fn` makes a client for every visit, so it keeps nothing from one to the next. It takes one argument: a parameter
    that is named `cid` or annotated `str` is given the client's id; any other a `NodeContext`, whose `data` are the client's
    examples by split.

    The client's config is what the ask says (`Ask.settings`). It is lent copies of the parameters, which it may change.

    Attributes:
        client_fn: makes a client.
        names: of the parameters, in their order; by position ("0", "1", ..., padded with zeros) unless given.
        buffers: the leaves that no server optimiser touches: statistics, counters, frozen parameters.
        run_config: is handed to `client_fn` in its context.

    Raises:
        ConfigError: `client_fn` does not take one argument.
    """

    client_fn: Callable[[Any], Any]
    names: tuple[str, ...] | None = None
    buffers: frozenset[str] = frozenset()
    run_config: Settings = field(default_factory=dict)
    _wants: str = field(init=False, repr=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "_wants", wanted(self.client_fn))  # once, because looking at a signature takes long

    @property
    def train(self) -> ClientFit:
        """The work that calls `fit`."""
        return ClientFit(self)

    @property
    def evaluate(self) -> ClientEvaluate:
        """The work that calls `evaluate`."""
        return ClientEvaluate(self)

    def initial(self, client: ClientId, data: Mapping[str, Any] | None = None) -> Tree:
        """What `get_parameters` of one client gives, as a tree: parameters to start a run from."""
        context = ClientContext(client, data or {})
        arrays = self.made(context).get_parameters({})
        return named(checked_arrays(arrays, "a list of NumPy arrays", f"client {client!r}, get_parameters"), self.names)

    def made(self, context: ClientContext) -> ArrayClient:
        """The client of one visit."""
        if self._wants == "id":
            return cast("ArrayClient", self.client_fn(context.id))
        known = {each.name: getattr(context, each.name) for each in fields(ClientContext)}
        node: Config = {"partition-id": int(context.id)} if context.id.isdecimal() else {}
        return cast("ArrayClient", self.client_fn(NodeContext(**known, node_config=node, run_config=self.run_config)))


@dataclass(frozen=True)
class ClientFit:
    """Train with a client class. The update moves the broadcast parameters to those that `fit` returned.

    The update's weight is the number of examples that `fit` returned, its metrics are the mean of each number over them.
    """

    clients: Clients

    @property
    def buffers(self) -> frozenset[str]:
        """The leaves of its updates that no optimiser should touch."""
        return self.clients.buffers

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The work: `broadcast` is the model's parameters.

        Raises:
            InputError: `fit` returned something else than arrays, a number of examples and a dict of numbers.
            TreeMismatch: it returned another number of arrays than it was given, or other shapes.
        """
        names, where = self.clients.names, f"client {context.id!r}, fit"
        given = in_order(broadcast, names)
        found = fitted(self.clients.made(context).fit(writable(given), dict(context.settings)), where)
        arrays = alike(found.arrays, given, where)
        change = tree.difference(named(arrays, names), named(given, names))
        return Update(change, float(found.examples), measured(found.metrics, found.examples, where))


@dataclass(frozen=True)
class ClientEvaluate:
    """Evaluate with a client class. The update has no arrays; its metrics are "loss" and what else `evaluate` returned."""

    clients: Clients

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The work: `broadcast` is the model's parameters.

        Raises:
            InputError: `evaluate` returned something else than a loss, a number of examples and a dict of numbers.
        """
        where = f"client {context.id!r}, evaluate"
        given = in_order(broadcast, self.clients.names)
        answer = self.clients.made(context).evaluate(writable(given), dict(context.settings))
        found = evaluated(answer, where)
        metrics = {"loss": found.loss, **found.metrics}
        return Update({}, float(found.examples), measured(metrics, found.examples, where))


@dataclass(frozen=True, eq=False)
class ArrayModel:
    """A model of which only the parameters are known: what an `Experiment` of client classes starts from.

    Attributes:
        arrays: the initial parameters, in order.
        names: theirs; by position unless given.
        buffers: the leaves that no optimiser changes.
    """

    arrays: Sequence[Array] = ()
    names: tuple[str, ...] | None = None
    buffers: frozenset[str] = frozenset()

    def init(self, key: Key) -> Tree:  # noqa: ARG002 - the port's signature
        """The initial parameters, for any key."""
        return tree.aligned(named(list(self.arrays), self.names))

    def load(self, params: Tree, device: str) -> Resident:  # noqa: ARG002 - the port's signature
        """A copy."""
        return tree.aligned(params)

    def dump(self, params: Resident) -> Tree:
        """A copy."""
        return {name: np.array(leaf) for name, leaf in params.items()}

    def gradient(self, params: Resident, batch: Batch, key: Key) -> Gradient:  # noqa: ARG002 - the port's signature
        """Raises ConfigError: nobody knows its loss."""
        raise _unknown_loss()

    def predict(self, params: Resident, batch: Batch) -> Prediction:  # noqa: ARG002 - the port's signature
        """Raises ConfigError: nobody knows its outputs."""
        raise _unknown_loss()


def _unknown_loss() -> ConfigError:
    return ConfigError(
        "an ArrayModel holds parameters and knows no loss",
        hint="train and evaluate with client classes: hansa.Clients(client_fn).train and .evaluate",
    )


# --- how a client is made


def wanted(client_fn: Callable[..., Any]) -> Literal["id", "context"]:
    """What a function that makes clients wants to be given: the client's id, or its context.

    Raises:
        ConfigError: it does not take one argument.
    """
    parameter = only_parameter(client_fn)
    return "id" if parameter.name == "cid" or parameter.annotation in (str, "str") else "context"


def only_parameter(client_fn: Callable[..., Any]) -> inspect.Parameter:
    """The one parameter of a function that makes clients.

    Raises:
        ConfigError: it is no function, has none, or needs several.
    """
    hint = "write def client_fn(cid: str), or def client_fn(context)"
    if not callable(client_fn):
        raise ConfigError(f"client_fn is a function that makes a client, not {type(client_fn).__name__}", hint=hint)
    takes = [
        each
        for each in inspect.signature(client_fn).parameters.values()
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    needed = [each for each in takes if each.default is each.empty]
    if len(needed) > 1 or not takes:
        names = ", ".join(each.name for each in needed) or "nothing"
        raise ConfigError(f"client_fn takes one argument, and this one takes {names}", hint=hint)
    return takes[0]
