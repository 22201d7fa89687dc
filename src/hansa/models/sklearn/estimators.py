"""Which of scikit-learn's estimators are understood, and what each of them minimises, as a `Form`.

This file must not know how a form is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hansa.errors import ConfigError, MissingExtra
from hansa.models.sklearn.bodies import ACTIVATIONS, Body, Layers, Linear
from hansa.models.sklearn.losses import (
    EpsilonInsensitive,
    Hinge,
    Huber,
    Loss,
    Penalty,
    log_loss,
    modified_huber,
    softmax_loss,
    squared_error,
    squared_hinge,
)

try:
    from sklearn.linear_model import LogisticRegression, Perceptron, SGDClassifier, SGDRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
except ImportError as missing:
    raise MissingExtra.of("scikit-learn", "sklearn", "a SklearnModel") from missing

FULL_BATCH = 200
"""The batch of scikit-learn's perceptrons where it is "auto" and there are as many examples."""


@dataclass(frozen=True)
class Form:
    """What an estimator minimises: the mean of a loss of its body's scores, plus a penalty.

    Attributes:
        body: from inputs to scores.
        loss: of the scores.
        penalty: of the body's weights.
        targets: what the loss compares with: "signs" (±1), "shares" (0 and 1), one for each score; or "numbers".
    """

    body: Body
    loss: Loss
    penalty: Penalty
    targets: Literal["signs", "shares", "numbers"]


@dataclass(frozen=True)
class Task:
    """What the data are like: what an estimator that was never fitted does not know.

    Attributes:
        features: numbers an example.
        classes: how many there are; None for regression.
        outputs: numbers to predict for an example; 1 unless it is regression of several.
        examples: how many the whole federation trains on, or None where nobody said.
    """

    features: int
    classes: int | None
    outputs: int
    examples: int | None

    @property
    def scores(self) -> int:
        """Scores an example: two classes are told apart by one."""
        return self.outputs if self.classes is None else 1 if self.classes == 2 else self.classes


def form_of(estimator: Any, task: Task) -> Form:
    """What an estimator minimises.

    Raises:
        ConfigError: the estimator, or one of its settings, is not supported; says which are.
    """
    kind = type(estimator)
    if kind not in _FORMS:
        raise ConfigError(
            f"a SklearnModel cannot train {getattr(kind, '__name__', kind)}",
            hint=f"pass an instance of {', '.join(known.__name__ for known in _FORMS)}; "
            "trees are boosted by an XGBoostModel",
        )
    _check_task(kind.__name__, kind in _REGRESSORS, task)
    for setting in ("class_weight", "average", "early_stopping"):
        if (found := getattr(estimator, setting, None)) not in (None, False):
            raise ConfigError(
                f"{setting}={found!r} is not supported in a federation",
                where=kind.__name__,
                hint="leave it out: it depends on what a single owner has, or on state that is no parameter",
            )
    return _FORMS[kind](estimator, task)


def _check_task(name: str, regressor: bool, task: Task) -> None:
    if task.features < 1 or task.outputs < 1:
        raise ConfigError(f"features and outputs are at least 1, not {task.features} and {task.outputs}")
    if regressor and task.classes is not None:
        raise ConfigError(f"a {name} has no classes", hint="leave out classes=..., or use a classifier")
    if not regressor and (task.classes is None or task.classes < 2):
        raise ConfigError(
            f"a {name} tells at least two classes apart, and classes is {task.classes}",
            hint="give classes=...: an owner alone may not have seen them all",
        )
    if task.outputs > 1 and name != "MLPRegressor":
        raise ConfigError(f"a {name} predicts one thing an example, not {task.outputs}", hint="leave out outputs=...")


def _one_of(known: Mapping[str, Any], what: str, name: Any, estimator: Any) -> Any:
    if name not in known:
        raise ConfigError(
            f"{what}={name!r} is not supported",
            where=type(estimator).__name__,
            hint=f"choose one of: {', '.join(known)}",
        )
    return known[name]


def _losses(estimator: Any) -> dict[str, Loss]:
    epsilon = getattr(estimator, "epsilon", 0.0)
    return {
        "log_loss": log_loss,
        "hinge": Hinge(),
        "perceptron": Hinge(0.0),
        "squared_hinge": squared_hinge,
        "modified_huber": modified_huber,
        "squared_error": squared_error,
        "huber": Huber(epsilon),
        "epsilon_insensitive": EpsilonInsensitive(epsilon),
        "squared_epsilon_insensitive": EpsilonInsensitive(epsilon, squared=True),
    }


def _stochastic(estimator: Any, task: Task) -> Form:
    """SGDClassifier, SGDRegressor and Perceptron: mean loss + alpha·R(w); several classes are each told from the rest."""
    regressor = task.classes is None
    ratio = estimator.l1_ratio or 0.0
    shares = {"None": (0.0, 0.0), "l2": (1.0, 0.0), "l1": (0.0, 1.0), "elasticnet": (1.0 - ratio, ratio)}
    l2, l1 = _one_of(shares, "penalty", str(estimator.penalty), estimator)
    body = Linear(task.features, task.scores, flat=regressor, intercept=estimator.fit_intercept, counts=True)
    loss = _one_of(_losses(estimator), "loss", estimator.loss, estimator)
    penalty = Penalty(estimator.alpha * l2, estimator.alpha * l1)
    return Form(body, loss, penalty, "numbers" if regressor else "signs")


def _logistic(estimator: Any, task: Task) -> Form:
    """LogisticRegression: Σ loss + R(w)/C over all examples, divided by their number."""
    if estimator.solver == "liblinear":
        raise ConfigError(
            "solver='liblinear' is not supported: it penalises the intercept, and starts anew at each fit",
            where="LogisticRegression",
            hint="choose another, such as 'lbfgs'",
        )
    if getattr(estimator, "multi_class", "auto") == "ovr":
        raise ConfigError("multi_class='ovr' is not supported", hint="leave it out, or use an SGDClassifier")
    body = Linear(task.features, task.scores, flat=False, intercept=estimator.fit_intercept, counts=False)
    binary = task.classes == 2
    return Form(
        body, log_loss if binary else softmax_loss, _inverse_penalty(estimator, task), "signs" if binary else "shares"
    )


def _inverse_penalty(estimator: Any, task: Task) -> Penalty:
    named = getattr(estimator, "penalty", "deprecated")
    if named is None or math.isinf(estimator.C):
        return Penalty()
    if task.examples is None:
        raise ConfigError(
            "LogisticRegression weighs its penalty against the sum of all examples' losses, and nobody said how many "
            "examples there are",
            hint="give examples=..., the number that the whole federation trains on; or no penalty: C=math.inf",
        )
    strength = 1 / (estimator.C * task.examples)
    ratio = {"l2": 0.0, "l1": 1.0}.get(named, estimator.l1_ratio or 0.0)
    return Penalty(strength * (1 - ratio), strength * ratio)


def _layered(estimator: Any, task: Task) -> Form:
    """MLPClassifier and MLPRegressor: mean loss + alpha/(2·batch)·Σw², as scikit-learn's gradient of a full batch is."""
    hidden: Any = estimator.hidden_layer_sizes
    sizes = (task.features, *map(int, hidden if np.iterable(hidden) else [hidden]), task.scores)
    if min(sizes) < 1:
        raise ConfigError(f"hidden_layer_sizes are each at least 1, not {hidden}", where=type(estimator).__name__)
    batch = FULL_BATCH if estimator.batch_size == "auto" else int(estimator.batch_size)
    _one_of(ACTIVATIONS, "activation", estimator.activation, estimator)
    body, penalty = Layers(sizes, estimator.activation), Penalty(estimator.alpha / batch)
    if task.classes is None:
        _one_of({"squared_error": None}, "loss", getattr(estimator, "loss", "squared_error"), estimator)
        return Form(body, squared_error, penalty, "numbers")
    return Form(body, log_loss, penalty, "signs") if task.classes == 2 else Form(body, softmax_loss, penalty, "shares")


_FORMS: Mapping[type[Any], Callable[[Any, Task], Form]] = {
    SGDClassifier: _stochastic,
    SGDRegressor: _stochastic,
    Perceptron: _stochastic,
    LogisticRegression: _logistic,
    MLPClassifier: _layered,
    MLPRegressor: _layered,
}

_REGRESSORS = (SGDRegressor, MLPRegressor)
