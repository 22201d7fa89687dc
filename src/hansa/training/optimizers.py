"""Optimisers: pure functions of (parameters, gradient, state), by plain operators, so that they run on any framework's arrays.

A client's LocalTraining and a server's FedOpt use the same ones. With the default settings SGD and Adam compute what
`torch.optim` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from hansa.core import tree
from hansa.core.tree import Tree
from hansa.errors import ConfigError


@dataclass(frozen=True)
class OptimizerState:
    """What an optimiser remembers: how many steps it made, and trees shaped like the parameters, by name."""

    steps: int = 0
    slots: Mapping[str, Tree] = field(default_factory=dict)


class Optimizer(Protocol):
    """Moves parameters against a gradient."""

    def init(self, params: Tree) -> OptimizerState:
        """The state before the first step."""
        ...

    def step(
        self, params: Tree, gradient: Tree, state: OptimizerState, factor: float = 1.0
    ) -> tuple[Tree, OptimizerState]:
        """The parameters and the state after one step; `factor` multiplies the learning rate."""
        ...


def _check_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not number > 0:
            raise ConfigError(f"{name} is a positive number, not {number}")


def _check_decay(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 <= number < 1:
            raise ConfigError(f"{name} lies in [0, 1), not {number}")


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent: m ← momentum·m + g, x ← x − η·m.

    Attributes:
        learning_rate: η.
        momentum: 0 keeps no state.
        nesterov: step along g + momentum·m instead of m.
        weight_decay: λ, adds λ·x to the gradient.
    """

    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_positive(learning_rate=self.learning_rate)
        _check_decay(momentum=self.momentum)

    def init(self, params: Tree) -> OptimizerState:
        """No step; m = 0."""
        return OptimizerState(0, {"momentum": tree.zeros_like(params)} if self.momentum else {})

    def step(
        self, params: Tree, gradient: Tree, state: OptimizerState, factor: float = 1.0
    ) -> tuple[Tree, OptimizerState]:
        """One step."""
        rate, slots = self.learning_rate * factor, state.slots
        if self.weight_decay:
            gradient = tree.apply(lambda g, x: g + x * self.weight_decay, gradient, params)
        if self.momentum:
            momentum = tree.apply(lambda m, g: m * self.momentum + g, state.slots["momentum"], gradient)
            slots = {"momentum": tree.as_types(momentum, params)}
            gradient = tree.apply(lambda g, m: g + m * self.momentum, gradient, momentum) if self.nesterov else momentum
        moved = tree.apply(lambda x, g: x - g * rate, params, gradient)
        return tree.as_types(moved, params), OptimizerState(state.steps + 1, slots)


def _adaptive_init(params: Tree, initial: float) -> OptimizerState:
    zeros = tree.zeros_like(params)
    return OptimizerState(0, {"m": zeros, "v": tree.as_types(tree.apply(lambda x: x + initial, zeros), params)})


def _adaptive_step(
    params: Tree,
    gradient: Tree,
    state: OptimizerState,
    rate: float,
    beta1: float,
    epsilon: float,
    second: Callable[[Any, Any], Any],
    m_scale: float = 1.0,
    v_scale: float = 1.0,
) -> tuple[Tree, OptimizerState]:
    """m ← β1·m + (1−β1)·g, v ← second(v, g²), x ← x − η·m / (√v + ε): the kinds below differ in what becomes of v."""
    m = tree.apply(lambda m, g: m * beta1 + g * (1 - beta1), state.slots["m"], gradient)
    v = tree.apply(lambda v, g: second(v, g * g), state.slots["v"], gradient)
    moved = tree.apply(lambda x, m, v: x - (m * m_scale) / ((v * v_scale) ** 0.5 + epsilon) * rate, params, m, v)
    slots = {"m": tree.as_types(m, params), "v": tree.as_types(v, params)}
    return tree.as_types(moved, params), OptimizerState(state.steps + 1, slots)


@dataclass(frozen=True)
class Adagrad:
    """v ← v + g² (Duchi, Hazan & Singer 2011), with a first moment as in Reddi et al. 2021 where `beta1` is not 0.

    Attributes:
        learning_rate: η.
        beta1: decay of the first moment.
        epsilon: ε; the τ of the federated papers, which bounds how adaptive a step may be.
        initial: what v starts from.
    """

    learning_rate: float
    beta1: float = 0.0
    epsilon: float = 1e-10
    initial: float = 0.0

    def __post_init__(self) -> None:
        _check_positive(learning_rate=self.learning_rate, epsilon=self.epsilon)
        _check_decay(beta1=self.beta1)

    def init(self, params: Tree) -> OptimizerState:
        """No step; m = 0, v = `initial`."""
        return _adaptive_init(params, self.initial)

    def step(
        self, params: Tree, gradient: Tree, state: OptimizerState, factor: float = 1.0
    ) -> tuple[Tree, OptimizerState]:
        """One step."""
        rate = self.learning_rate * factor
        return _adaptive_step(params, gradient, state, rate, self.beta1, self.epsilon, lambda v, square: v + square)


@dataclass(frozen=True)
class Adam:
    """v ← β2·v + (1−β2)·g² (Kingma & Ba 2015), with decoupled weight decay (Loshchilov & Hutter 2019).

    Attributes:
        learning_rate: η.
        beta1: decay of m.
        beta2: decay of v.
        epsilon: ε; the τ of the federated papers.
        weight_decay: λ, takes η·λ·x off x at each step.
        debias: divide m by 1−β1^t and v by 1−β2^t; the federated papers do not.
        initial: what v starts from.
    """

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    debias: bool = True
    initial: float = 0.0

    def __post_init__(self) -> None:
        _check_positive(learning_rate=self.learning_rate, epsilon=self.epsilon)
        _check_decay(beta1=self.beta1, beta2=self.beta2)

    def init(self, params: Tree) -> OptimizerState:
        """No step; m = 0, v = `initial`."""
        return _adaptive_init(params, self.initial)

    def step(
        self, params: Tree, gradient: Tree, state: OptimizerState, factor: float = 1.0
    ) -> tuple[Tree, OptimizerState]:
        """One step."""
        rate, t = self.learning_rate * factor, state.steps + 1
        m_scale, v_scale = (1 / (1 - self.beta1**t), 1 / (1 - self.beta2**t)) if self.debias else (1.0, 1.0)
        if self.weight_decay:
            params = tree.scale(params, 1 - rate * self.weight_decay)

        def second(v: Any, square: Any) -> Any:
            return v * self.beta2 + square * (1 - self.beta2)

        return _adaptive_step(params, gradient, state, rate, self.beta1, self.epsilon, second, m_scale, v_scale)


@dataclass(frozen=True)
class Yogi:
    """v ← v − (1−β2)·g²·sign(v − g²) (Zaheer et al. 2018): v grows as fast as Adam's but shrinks slowly.

    Attributes:
        learning_rate: η.
        beta1: decay of m.
        beta2: decay of v.
        epsilon: ε; the τ of the federated papers.
        initial: what v starts from.
    """

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-3
    initial: float = 1e-6

    def __post_init__(self) -> None:
        _check_positive(learning_rate=self.learning_rate, epsilon=self.epsilon)
        _check_decay(beta1=self.beta1, beta2=self.beta2)

    def init(self, params: Tree) -> OptimizerState:
        """No step; m = 0, v = `initial`."""
        return _adaptive_init(params, self.initial)

    def step(
        self, params: Tree, gradient: Tree, state: OptimizerState, factor: float = 1.0
    ) -> tuple[Tree, OptimizerState]:
        """One step."""

        def second(v: Any, square: Any) -> Any:
            larger, smaller = v > square, v < square  # sign(v − g²), without a sign function that all frameworks share
            return v - (square * larger - square * smaller) * (1 - self.beta2)

        rate = self.learning_rate * factor
        return _adaptive_step(params, gradient, state, rate, self.beta1, self.epsilon, second)
