"""scikit-learn's estimators pass the published kit of models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Perceptron, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor

from hansa.models.sklearn import SklearnModel
from hansa.testing import check_model

GENERATOR = np.random.default_rng(3)
X = GENERATOR.standard_normal((9, 4))
BINARY = {"x": X, "y": np.arange(9) % 2}
THREE = {"x": X, "y": np.arange(9) % 3}
NUMBERS = {"x": X, "y": GENERATOR.standard_normal(9)}
PAIRS = {"x": X, "y": GENERATOR.standard_normal((9, 2))}


def binary(estimator: Any, **said: Any) -> SklearnModel:
    return SklearnModel(estimator, features=4, classes=2, **said)


def three(estimator: Any, **said: Any) -> SklearnModel:
    return SklearnModel(estimator, features=4, classes=3, **said)


def numbers(estimator: Any, **said: Any) -> SklearnModel:
    return SklearnModel(estimator, features=4, **said)


CASES: dict[str, tuple[SklearnModel, dict[str, Any], dict[str, Any]]] = {
    **{
        f"SGDClassifier, {loss}": (binary(SGDClassifier(loss=loss)), BINARY, {})
        for loss in ("log_loss", "hinge", "squared_hinge", "modified_huber", "squared_error", "huber")
    },
    "SGDClassifier, three classes": (three(SGDClassifier(loss="log_loss", alpha=0.1)), THREE, {}),
    "SGDClassifier, elastic net": (three(SGDClassifier(penalty="elasticnet", alpha=0.1)), THREE, {}),
    "SGDClassifier without an intercept": (binary(SGDClassifier(loss="log_loss", fit_intercept=False)), BINARY, {}),
    "Perceptron, all of it a kink at zero": (three(Perceptron()), THREE, {"deterministic": False}),
    **{
        f"SGDRegressor, {loss}": (numbers(SGDRegressor(loss=loss)), NUMBERS, {})
        for loss in ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")
    },
    "LogisticRegression, two classes": (binary(LogisticRegression(C=0.1), examples=100), BINARY, {}),
    "LogisticRegression, three classes": (three(LogisticRegression(C=0.1), examples=100), THREE, {}),
    "LogisticRegression in float32": (three(LogisticRegression(C=np.inf), dtype="float32"), THREE, {}),
    **{
        f"MLPClassifier, {activation}": (
            three(MLPClassifier((6, 5), activation=activation, alpha=1.0)),
            THREE,
            {"random_init": True},
        )
        for activation in ("identity", "logistic", "tanh", "relu")
    },
    "MLPClassifier, two classes": (binary(MLPClassifier((5,), alpha=1.0)), BINARY, {"random_init": True}),
    "MLPRegressor": (numbers(MLPRegressor(hidden_layer_sizes=(5,), alpha=1.0)), NUMBERS, {"random_init": True}),
    "MLPRegressor of two numbers": (
        numbers(MLPRegressor(hidden_layer_sizes=(5,)), outputs=2),
        PAIRS,
        {"random_init": True},
    ),
}


@pytest.mark.parametrize(("model", "batch", "said"), CASES.values(), ids=CASES)
def test_estimators_keep_the_promises_of_the_model_port(
    model: SklearnModel, batch: dict[str, Any], said: dict[str, Any]
) -> None:
    check_model(model, batch, **{"tolerance": 1e-3, **said})
