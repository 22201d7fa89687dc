"""scikit-learn's own objects: fitted estimators made of leaves, trained in scikit-learn's own way, and taken apart again.

This file must not know of gradients.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor

from hansa.core import tree
from hansa.core.keys import Key
from hansa.core.tree import Array, Tree
from hansa.errors import ConfigError
from hansa.models.sklearn.estimators import Task

HIGHEST_SEED = 31
"""Bits of a seed that scikit-learn takes."""


def unfitted(estimator: Any) -> Any:
    """A clone: its settings, and nothing that it was fitted to."""
    return clone(estimator)


def assembled(estimator: Any, task: Task, params: Tree) -> Any:
    """A clone that is fitted: it has these parameters, and everything else that scikit-learn wants before it predicts."""
    made = unfitted(estimator)
    dtype = next(iter(params.values())).dtype
    if isinstance(made, MLPClassifier | MLPRegressor):
        _open(made, task, dtype)
        layers = len(made.coefs_)
        for name in ("coefs_", "intercepts_"):
            setattr(made, name, [np.array(params[f"{name}.{layer}"]) for layer in range(layers)])
        return made
    made.coef_, made.intercept_ = np.array(params["coef_"]), np.array(params["intercept_"])
    made.n_features_in_ = task.features
    if task.classes is not None:
        made.classes_ = np.arange(task.classes)
    if "t_" in params:
        made.t_ = float(params["t_"])
    if isinstance(made, LogisticRegression):
        made.warm_start, made.n_iter_ = True, np.zeros(1, np.int32)
    else:
        made.n_iter_ = 1
    return made


def extracted(estimator: Any, form: Tree) -> Tree:
    """The leaves of a fitted estimator, in the names, shapes and dtypes of `form`.

    Raises:
        ConfigError: it was never fitted.
        TreeMismatch: it was fitted to other data: other features, or other classes.
    """
    found: Tree = {}
    for attribute in dict.fromkeys(name.partition(".")[0] for name in form):
        if not hasattr(estimator, attribute):
            raise ConfigError(
                f"this {type(estimator).__name__} has no {attribute}: it was never fitted",
                hint="fit it first, or begin with model.native(params)",
            )
        value = getattr(estimator, attribute)
        layers = enumerate(value) if isinstance(value, list) else []
        found |= {f"{attribute}.{layer}": np.array(each) for layer, each in layers} or {attribute: np.array(value)}
    found = {name: leaf.astype(form[name].dtype) if name in form else leaf for name, leaf in found.items()}
    tree.check_alike(found, form, where=f"a fitted {type(estimator).__name__}", hint="fit it to data of this form")
    return {name: found[name] for name in form}


def trained(estimator: Any, task: Task, x: Array, y: Array, key: Key, epochs: int) -> Any:
    """An estimator of `assembled` after passes over these examples in its own way; the same object.

    `partial_fit` where it has one, a pass a call; otherwise, for LogisticRegression, one `fit` from where it stands, of at most
    `epochs` iterations of its solver.
    """
    if isinstance(estimator, LogisticRegression):
        return _refitted(estimator, task, x, y, key, epochs)
    if not hasattr(estimator, "partial_fit"):
        raise ConfigError(
            f"solver={estimator.solver!r} cannot go on from where it stands: the estimator has no partial_fit",
            where=type(estimator).__name__,
            hint="choose solver='sgd' or 'adam', or train it with LocalTraining",
        )
    if isinstance(getattr(estimator, "batch_size", None), int):
        estimator.batch_size = min(estimator.batch_size, len(x))
    for epoch in range(epochs):
        # A number, or scikit-learn would draw from NumPy's global generator.
        estimator.random_state = key.child("epoch", epoch).integer(HIGHEST_SEED)
        estimator.partial_fit(x, y)
    return estimator


def _open(perceptron: Any, task: Task, dtype: np.dtype[Any]) -> None:
    """Let a perceptron set up all that it keeps, by one step on one example; then forget the step and its optimiser."""
    own = {name: getattr(perceptron, name) for name in ("solver", "batch_size", "random_state")}
    perceptron.set_params(solver="sgd", batch_size="auto", random_state=0)
    nothing = np.zeros((1, task.features), dtype)
    if task.classes is None:
        perceptron.partial_fit(nothing, np.zeros(1 if task.outputs == 1 else (1, task.outputs)))
    else:
        perceptron.partial_fit(nothing, np.zeros(1, np.int64), classes=np.arange(task.classes))
    perceptron.set_params(**own)
    del perceptron._optimizer
    perceptron.t_, perceptron.n_iter_, perceptron.loss_curve_, perceptron.best_loss_ = 0, 0, [], np.inf


def _refitted(estimator: Any, task: Task, x: Array, y: Array, key: Key, iterations: int) -> Any:
    """LogisticRegression's `fit` on an owner's share of the federation's examples.

    C weighs the penalty against a sum of losses, so that a share n of N examples needs N/n times the C for the same optimum.
    `fit` takes its classes from the labels: for one that this owner never saw, an example is added that weighs nothing.
    """
    absent = np.setdiff1d(np.arange(task.classes or 0), y)
    weights = np.concatenate([np.ones(len(x)), np.zeros(len(absent))]).astype(x.dtype)
    own = {name: getattr(estimator, name) for name in ("C", "max_iter", "random_state")}
    if task.examples is not None and getattr(estimator, "penalty", "l2") is not None:
        estimator.C *= task.examples / len(x)
    estimator.set_params(max_iter=iterations, random_state=key.integer(HIGHEST_SEED))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped early on purpose
        estimator.fit(
            np.concatenate([x, np.repeat(x[:1], len(absent), axis=0)]),
            np.concatenate([y, absent]),
            sample_weight=weights,
        )
    return estimator.set_params(**own)
