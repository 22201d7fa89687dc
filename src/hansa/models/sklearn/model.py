"""SklearnModel: an estimator of scikit-learn as a Model. Its loss and its gradient are computed here, by NumPy.

scikit-learn's own code is used where a user meets it, in `native`; so a model means the same in every version of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hansa.core.keys import Key, key
from hansa.core.tree import Array, Tree, aligned, aligned_copy, is_floating
from hansa.errors import ConfigError, DataError
from hansa.models.model import Batch, Gradient, Prediction, Resident, field_of, label_outside
from hansa.models.sklearn.estimators import Form, Task, form_of
from hansa.models.sklearn.native import assembled, extracted, trained, unfitted

_quiet = np.errstate(over="ignore", invalid="ignore", under="ignore")
"""A training that diverges is reported by the update gate; NumPy's own warnings would only name an operator."""


@dataclass(frozen=True)
class SklearnModel:
    """An estimator of scikit-learn: a linear model trained by SGD, a logistic regression, or a multilayer perceptron.

    SGDClassifier, SGDRegressor, Perceptron and LogisticRegression have the leaves "coef_" and "intercept_", MLPClassifier and
    MLPRegressor "coefs_.0", "intercepts_.0", "coefs_.1", ..., in scikit-learn's shapes. Those trained by SGD have a buffer "t_"
    besides, the count of their steps, which only their own `partial_fit` moves.

    The loss is the estimator's own objective, divided by the number of examples where it is a sum. Each kind weighs its penalty
    differently. SGD: mean loss + alpha·R(w). Logistic regression: Σ loss + R(w)/C over all examples, so that a batch's mean
    loss goes with R(w)/(C·`examples`), whatever the size of the batch. Perceptrons: mean loss + alpha/(2·batch)·Σw², with
    scikit-learn's own batch size, 200 where it is "auto". A loss of several classes told one from the rest, or of several
    outputs, is the sum over them.

    Attributes:
        estimator: an instance, for its settings; it is cloned, and what it was fitted to is forgotten.
        features: numbers an example.
        classes: how many there are, labelled from 0, over all owners; None for regression.
        outputs: numbers to predict for an example; for regression.
        examples: how many examples the whole federation trains on: what LogisticRegression's C is relative to.
        inputs: the field of a batch with the inputs, shape (batch, ...), flattened.
        target: the field with the labels, shape (batch,), or the numbers, shape (batch,) or (batch, outputs).
        dtype: of the parameters and the arithmetic.

    Raises:
        ConfigError: the estimator or one of its settings is not supported.
    """

    estimator: Any
    features: int
    classes: int | None = None
    outputs: int = 1
    examples: int | None = None
    inputs: str = "x"
    target: str = "y"
    dtype: str = "float64"

    def __post_init__(self) -> None:
        if self.dtype not in ("float64", "float32"):
            raise ConfigError(f"scikit-learn computes in float64 or float32, not {self.dtype}")
        form_of(self.estimator, self._task)
        object.__setattr__(self, "estimator", unfitted(self.estimator))

    @property
    def buffers(self) -> frozenset[str]:
        """The counter "t_" where there is one, and "intercept_" where it is not fitted."""
        return self._form.body.buffers

    def init(self, key: Key) -> Tree:
        """Zeros for a linear model; what Glorot & Bengio 2010 draw for a perceptron, as scikit-learn has it."""
        return self._form.body.init(key, self.dtype)

    def load(self, params: Tree, device: str = "cpu") -> Resident:  # noqa: ARG002 - the port's signature
        """Aligned copies."""
        return aligned(params)

    def dump(self, params: Resident) -> Tree:
        """Copies."""
        return {name: np.array(leaf) for name, leaf in params.items()}

    @_quiet
    def gradient(self, params: Resident, batch: Batch, key: Key) -> Gradient:  # noqa: ARG002 - the port's signature
        """The gradient of the mean loss of a batch and the penalty."""
        form, x = self._form, self._examples(batch)
        scores, passed = form.body.forward(params, x)
        losses, slopes = form.loss(scores, self._targets(batch))
        gradient = form.body.backward(params, passed, (slopes / len(x)).astype(self.dtype))
        for name in form.body.weights:
            gradient[name] = gradient[name] + form.penalty.slope(params[name])
        return Gradient(self._total(params, losses), gradient, {})

    @_quiet
    def predict(self, params: Resident, batch: Batch) -> Prediction:
        """Scores, shape (batch, classes), for two classes 0 and what tells the second; or predictions as scikit-learn's."""
        scores, _ = self._form.body.forward(params, self._examples(batch))
        losses, _ = self._form.loss(scores, self._targets(batch))
        if self.classes == 2:
            outputs = np.concatenate([np.zeros_like(scores), scores], axis=1)
        else:
            outputs = scores[:, 0] if self.classes is None and self.outputs == 1 else scores
        return Prediction(float(self._total(params, losses)), outputs)

    def native(self, params: Tree, device: str = "cpu") -> Any:  # noqa: ARG002 - the port's signature
        """A fitted clone of the estimator: it predicts, and `partial_fit` (LogisticRegression: `fit`) goes on from here.

        Give its `partial_fit` inputs of the model's dtype: scikit-learn's SGD takes no other.
        """
        return assembled(self.estimator, self._task, params)

    def extract(self, native: Any) -> Tree:
        """The leaves of a fitted estimator.

        Raises:
            ConfigError: it was never fitted.
            TreeMismatch: it was fitted to data of other features or classes.
        """
        return extracted(native, self.init(key(0)))

    def trained(self, native: Any, batch: Batch, key: Key, epochs: int) -> Any:
        """What `native` gave, after passes over a batch in scikit-learn's own way; classes that the batch lacks are kept."""
        y = self._labels(batch) if self.classes is not None else self._numbers(batch)
        if self.classes is None and self.outputs == 1:
            y = y[:, 0]
        return trained(native, self._task, self._examples(batch), y, key, epochs)

    @property
    def _task(self) -> Task:
        return Task(self.features, self.classes, self.outputs, self.examples)

    @cached_property
    def _form(self) -> Form:
        return form_of(self.estimator, self._task)

    def _total(self, params: Resident, losses: Array) -> Any:
        penalty = sum(self._form.penalty.value(params[name]) for name in self._form.body.weights)
        return losses.sum(axis=1, dtype=np.float64).mean() + penalty

    def _examples(self, batch: Batch) -> Array:
        found = field_of(batch, self.inputs, "SklearnModel")
        x = aligned_copy(found.reshape(len(found), -1).astype(self.dtype, copy=False))
        if x.shape[1] != self.features:
            raise DataError(
                f"field {self.inputs!r} has {x.shape[1]} numbers an example, and the model takes {self.features}",
                hint=f"use features={x.shape[1]}",
            )
        if is_floating(found) and np.isnan(x).any():
            raise DataError(
                f"field {self.inputs!r} holds NaN, and scikit-learn's models take no missing values",
                hint="fill them in, as Standardised(...) does with the federation's mean; or boost trees, XGBoostModel(...)",
            )
        return x

    def _targets(self, batch: Batch) -> Array:
        if self._form.targets == "numbers":
            return self._numbers(batch)
        labels = self._labels(batch)
        if self._form.targets == "shares":
            return np.eye(self._task.scores, dtype=self.dtype)[labels]
        told = np.ones(1, np.int64) if self.classes == 2 else np.arange(self._task.scores)
        return np.where(labels[:, None] == told, 1, -1).astype(self.dtype)

    def _labels(self, batch: Batch) -> Array:
        labels = field_of(batch, self.target, "SklearnModel")
        if labels.ndim != 1:
            raise self._misshapen(labels, "one label an example")
        classes = self.classes or 0
        outside = labels[(labels < 0) | (labels >= classes)]
        if outside.size:
            raise label_outside(int(outside[0]), classes)
        return labels.astype(np.int64)

    def _numbers(self, batch: Batch) -> Array:
        numbers = field_of(batch, self.target, "SklearnModel")
        if numbers.shape[1:] not in ((self.outputs,), () if self.outputs == 1 else (self.outputs,)):
            raise self._misshapen(
                numbers, f"{self.outputs} numbers an example" if self.outputs > 1 else "one number each"
            )
        return numbers.reshape(len(numbers), self.outputs).astype(self.dtype)

    def _misshapen(self, found: Array, expected: str) -> DataError:
        return DataError(
            f"targets have shape {found.shape}, expected {expected}",
            where=f"field {self.target!r}",
            hint="reshape them, or give the model outputs=...",
        )
