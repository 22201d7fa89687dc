"""The two base classes of clients: over Flower's typed messages, and over lists of NumPy arrays."""

from __future__ import annotations

from typing import Any

from hansa.core.tree import Array
from hansa.core.work import Scalar
from hansa.interop.flower.common.typing import (
    Code,
    Config,
    EvaluateIns,
    EvaluateRes,
    FitIns,
    FitRes,
    GetParametersIns,
    GetParametersRes,
    GetPropertiesIns,
    GetPropertiesRes,
    Status,
)
from hansa.interop.flower.parameters import Parameters, ndarrays_to_parameters, parameters_to_ndarrays
from hansa.training.clients.answers import checked_arrays, evaluated, fitted, plain

OK = Status(Code.OK, "Success")
NOTHING = Parameters([], "")


class Client:
    """Clients over typed messages derive from this; what they don't override answers that it is not implemented."""

    def get_properties(self, ins: GetPropertiesIns) -> GetPropertiesRes:  # noqa: ARG002 - to be overridden
        """What the client says of itself."""
        return GetPropertiesRes(_lacks(Code.GET_PROPERTIES_NOT_IMPLEMENTED, "get_properties"), {})

    def get_parameters(self, ins: GetParametersIns) -> GetParametersRes:  # noqa: ARG002 - to be overridden
        """The client's own parameters."""
        return GetParametersRes(_lacks(Code.GET_PARAMETERS_NOT_IMPLEMENTED, "get_parameters"), NOTHING)

    def fit(self, ins: FitIns) -> FitRes:  # noqa: ARG002 - to be overridden
        """Train."""
        return FitRes(_lacks(Code.FIT_NOT_IMPLEMENTED, "fit"), NOTHING, 0, {})

    def evaluate(self, ins: EvaluateIns) -> EvaluateRes:  # noqa: ARG002 - to be overridden
        """Measure."""
        return EvaluateRes(_lacks(Code.EVALUATE_NOT_IMPLEMENTED, "evaluate"), 0.0, 0, {})

    def to_client(self) -> Client:
        """The client itself."""
        return self


class NumPyClient:
    """Clients over lists of NumPy arrays derive from this; `fit` and `evaluate` are what they override."""

    def get_properties(self, config: Config) -> dict[str, Scalar]:  # noqa: ARG002 - to be overridden
        """What the client says of itself."""
        return {}

    def get_parameters(self, config: Config) -> list[Array]:  # noqa: ARG002 - to be overridden
        """The client's own parameters."""
        return []

    def fit(self, parameters: list[Array], config: Config) -> tuple[list[Array], int, dict[str, Scalar]]:  # noqa: ARG002 - to be overridden
        """Train: the trained parameters, the number of examples, metrics."""
        return [], 0, {}

    def evaluate(self, parameters: list[Array], config: Config) -> tuple[float, int, dict[str, Scalar]]:  # noqa: ARG002 - to be overridden
        """Measure: the loss, the number of examples, metrics."""
        return 0.0, 0, {}

    def to_client(self) -> Client:
        """The client as one over typed messages."""
        return NumPyClientAdapter(self)


class NumPyClientAdapter(Client):
    """A `NumPyClient`, or anything with its methods, as a `Client`."""

    def __init__(self, numpy_client: Any) -> None:
        self.numpy_client = numpy_client

    def get_properties(self, ins: GetPropertiesIns) -> GetPropertiesRes:
        """Asks `get_properties`."""
        if not self._has("get_properties"):
            return super().get_properties(ins)
        return GetPropertiesRes(OK, dict(self.numpy_client.get_properties(config=ins.config)))

    def get_parameters(self, ins: GetParametersIns) -> GetParametersRes:
        """Asks `get_parameters`."""
        if not self._has("get_parameters"):
            return super().get_parameters(ins)
        arrays = self.numpy_client.get_parameters(config=ins.config)
        return GetParametersRes(
            OK, ndarrays_to_parameters(checked_arrays(arrays, "a list of NumPy arrays", "get_parameters"))
        )

    def fit(self, ins: FitIns) -> FitRes:
        """Asks `fit`, and holds what it returns against the expected form."""
        if not self._has("fit"):
            return super().fit(ins)
        found = fitted(self.numpy_client.fit(parameters_to_ndarrays(ins.parameters), ins.config), "fit")
        metrics = {name: plain(value) for name, value in found.metrics.items()}
        return FitRes(OK, Parameters.of(found.arrays), found.examples, metrics)

    def evaluate(self, ins: EvaluateIns) -> EvaluateRes:
        """Asks `evaluate`, and holds what it returns against the expected form."""
        if not self._has("evaluate"):
            return super().evaluate(ins)
        found = evaluated(self.numpy_client.evaluate(parameters_to_ndarrays(ins.parameters), ins.config), "evaluate")
        metrics = {name: plain(value) for name, value in found.metrics.items()}
        return EvaluateRes(OK, found.loss, found.examples, metrics)

    def _has(self, method: str) -> bool:
        """Whether the client's class has a method of its own by this name."""
        kind = type(self.numpy_client)
        return getattr(kind, method, None) not in (None, getattr(NumPyClient, method))


def as_client(made: Any) -> Client:
    """What a program's `client_fn` made, as a `Client`."""
    if isinstance(made, Client):
        return made
    return made.to_client() if isinstance(made, NumPyClient) else NumPyClientAdapter(made)


def _lacks(code: Code, method: str) -> Status:
    return Status(code, f"Client does not implement `{method}`")
