"""The values of Flower's strategies and clients, under the names that programs import them by.

They may be changed, as their users' programs do. This file must not know how they travel.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from hansa.core.tree import Array as NDArray
from hansa.core.work import Scalar
from hansa.interop.flower.parameters import NDArrays, Parameters

__all__ = ["NDArray", "NDArrays", "Parameters", "Scalar"]

Config = dict[str, Scalar]
Properties = dict[str, Scalar]
Metrics = dict[str, Scalar]
MetricsAggregationFn = Callable[[list[tuple[int, Metrics]]], Metrics]
"""Makes one dict of metrics of many: for each client its number of examples and its own."""


class Code(enum.Enum):
    """Whether a client did what it was asked."""

    OK = 0
    GET_PROPERTIES_NOT_IMPLEMENTED = 1
    GET_PARAMETERS_NOT_IMPLEMENTED = 2
    FIT_NOT_IMPLEMENTED = 3
    EVALUATE_NOT_IMPLEMENTED = 4


@dataclass
class Status:
    """A code, and words for people."""

    code: Code
    message: str


@dataclass
class GetParametersIns:
    """A client is asked for its parameters."""

    config: Config


@dataclass
class GetParametersRes:
    """A client's parameters."""

    status: Status
    parameters: Parameters


@dataclass
class GetPropertiesIns:
    """A client is asked about itself."""

    config: Config


@dataclass
class GetPropertiesRes:
    """What a client says of itself."""

    status: Status
    properties: Properties


@dataclass
class FitIns:
    """What a client is to train, and how."""

    parameters: Parameters
    config: Config


@dataclass
class FitRes:
    """What a client has trained, on how many examples, and what it measured."""

    status: Status
    parameters: Parameters
    num_examples: int
    metrics: Metrics


@dataclass
class EvaluateIns:
    """What a client is to measure, and how."""

    parameters: Parameters
    config: Config


@dataclass
class EvaluateRes:
    """What a client has measured, on how many examples."""

    status: Status
    loss: float
    num_examples: int
    metrics: Metrics
