"""XGBoost: an ensemble of boosted trees as a Model. It has no gradient; `LocalBoosting` grows it.

Its one leaf is the whole ensemble, in XGBoost's own JSON format: what a run ends with loads with `xgboost.Booster` alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from hansa.core.keys import Key
from hansa.core.tree import Array, Tree, aligned_copy
from hansa.errors import ConfigError, DataError, MissingExtra, UnknownName
from hansa.models import ensemble
from hansa.models.ensemble import LEAF, Trees
from hansa.models.model import Batch, Prediction, Resident, field_of, label_outside

try:
    import xgboost
except ImportError as missing:
    raise MissingExtra.of("XGBoost", "xgboost", "an XGBoostModel") from missing

Loss = Callable[[Array, Array], Array]
"""(margins, shape (examples,) or (examples, classes), targets) -> the loss of each example."""


def _logistic(margins: Array, labels: Array) -> Array:
    loss: Array = np.logaddexp(0, np.where(labels == 1, -margins, margins))
    return loss


def _softmax(margins: Array, labels: Array) -> Array:
    shifted = margins - margins.max(axis=1, keepdims=True)
    loss: Array = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
    return loss


def _squared(margins: Array, numbers: Array) -> Array:
    loss: Array = (margins - numbers) ** 2 / 2
    return loss


LOSSES: Mapping[str, Loss] = {"binary:logistic": _logistic, "multi:softprob": _softmax, "reg:squarederror": _squared}
"""The objectives that are supported, each with what it minimises."""

_OWN = ("seed", "random_state", "num_class", "booster", "multi_strategy", "process_type", "eval_metric")
"""Parameters of XGBoost that are not the user's to set here."""


@dataclass(frozen=True)
class Ensemble:
    """The ensemble inside XGBoost, beside the bytes that it was read from."""

    leaf: Array
    booster: Any


@dataclass(frozen=True)
class XGBoostModel:
    """Boosted trees for two classes, for several, or for a number. NaN among the inputs is a missing value.

    The model's leaf is "trees": the ensemble in XGBoost's JSON format, uint8, shape (bytes,). It begins without a tree.

    Attributes:
        features: numbers an example.
        classes: how many there are, labelled from 0, over all owners; None for regression.
        params: XGBoost's own by name, such as {"max_depth": 3, "eta": 0.3}; the objective follows from `classes`. All owners
            start from `base_score`, 0.5 unless given, because an estimate by each from its own data would set them apart.
            "nthread" is 1 unless given.
        inputs: the field of a batch with the inputs, shape (batch, ...), flattened.
        target: the field with the labels or numbers, shape (batch,).

    Raises:
        ConfigError: a parameter cannot be chosen in a federation, or the objective is not supported.
    """

    features: int
    classes: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: str = "x"
    target: str = "y"

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", dict(self.params))
        if self.features < 1 or (self.classes is not None and self.classes < 2):
            raise ConfigError(
                f"boosted trees need a feature and, to classify, two classes, not {self.features} and {self.classes}",
                hint="leave out classes=... for regression",
            )
        if taken := [name for name in _OWN if name in self.params]:
            raise ConfigError(
                f"params has {', '.join(taken)}, which Hansa sets itself",
                hint="randomness comes from the run's seed, classes from classes=..., and the trees are gbtree's",
            )
        objective = self.params.get("objective", self.objective)
        if objective not in LOSSES:
            raise UnknownName.among("objective", objective, LOSSES)
        if objective != self.objective:
            raise ConfigError(
                f"the objective {objective!r} does not go with classes={self.classes}", hint=f"use {self.objective!r}"
            )

    @property
    def objective(self) -> str:
        """XGBoost's name of what is minimised."""
        return (
            "reg:squarederror" if self.classes is None else "binary:logistic" if self.classes == 2 else "multi:softprob"
        )

    @property
    def buffers(self) -> frozenset[str]:
        """The trees: no optimiser changes them."""
        return frozenset({LEAF})

    def init(self, key: Key) -> Tree:  # noqa: ARG002 - the port's signature
        """No trees yet; every key gives the same."""
        nothing = xgboost.DMatrix(np.zeros((1, self.features), np.float32), label=[0])
        return self.extract(xgboost.train(self._parameters(0), nothing, num_boost_round=0))

    def load(self, params: Tree, device: str = "cpu") -> Resident:  # noqa: ARG002 - the port's signature
        """The ensemble in XGBoost, and a copy of its bytes."""
        return {LEAF: Ensemble(aligned_copy(params[LEAF]), self.native(params))}

    def dump(self, params: Resident) -> Tree:
        """A copy of the bytes."""
        return {name: np.array(each.leaf) for name, each in params.items()}

    def gradient(self, params: Resident, batch: Batch, key: Key) -> NoReturn:  # noqa: ARG002 - the port's signature
        """Trees have none.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "boosted trees have no gradient to follow",
            where="XGBoostModel",
            hint="grow them: Bagging(LocalBoosting(model, rounds=1), rounds=...)",
        )

    def predict(self, params: Resident, batch: Batch) -> Prediction:
        """Margins, shape (batch, classes), for two classes 0 and what tells the second; or numbers, shape (batch,)."""
        matrix, targets = self._matrix(batch), self._targets(batch)
        margins = params[LEAF].booster.predict(matrix, output_margin=True).astype(np.float32, copy=False)
        loss = LOSSES[self.objective](margins.astype(np.float64), targets).mean()
        outputs = np.stack([np.zeros_like(margins), margins], axis=1) if self.classes == 2 else margins
        return Prediction(float(loss), outputs)

    def native(self, params: Tree, device: str = "cpu") -> Any:  # noqa: ARG002 - the port's signature
        """An `xgboost.Booster` of its own; `predict` gives what its objective says, such as probabilities.

        Raises:
            DataError: the leaf is no ensemble, or one for other data.
        """
        document = ensemble.from_leaf(params[LEAF], where=f"leaf {LEAF!r}")
        try:
            found = ensemble.head_of(document)
            # Only how to compute: a parameter of the model itself, such as base_score, would be written anew.
            own = {"nthread": self.params.get("nthread", 1), "verbosity": 0}
            booster = xgboost.Booster(own, model_file=bytearray(params[LEAF].tobytes()))
        except (LookupError, TypeError, xgboost.core.XGBoostError) as problem:
            raise DataError(f"XGBoost cannot read these trees: {problem!s:.200}", where=f"leaf {LEAF!r}") from problem
        shape = found["learner_model_param"]
        if (int(shape["num_feature"]), int(shape["num_class"])) != (self.features, self._several):
            raise DataError(
                f"these trees are for {shape['num_feature']} features and {shape['num_class']} classes",
                where=f"leaf {LEAF!r}",
                hint=f"the model has features={self.features} and classes={self.classes}",
            )
        return booster

    def extract(self, native: Any) -> Tree:
        """The ensemble of a booster."""
        return {LEAF: ensemble.to_leaf(json.loads(native.save_raw("json")))}

    def boosted(self, params: Tree, batch: Batch, key: Key, rounds: int) -> Trees:
        """The trees that so many rounds of boosting add on a batch, going on from an ensemble."""
        matrix = self._matrix(batch, self._targets(batch))
        before = self.native(params)
        after = xgboost.train(self._parameters(key.integer(31)), matrix, num_boost_round=rounds, xgb_model=before)
        return ensemble.since(json.loads(after.save_raw("json")), ensemble.count(ensemble.from_leaf(params[LEAF])))

    @property
    def _several(self) -> int:
        """How XGBoost counts classes: 0 where one margin tells two apart."""
        return self.classes if self.classes is not None and self.classes > 2 else 0

    def _parameters(self, seed: int) -> dict[str, Any]:
        own = {"objective": self.objective, "seed": seed, "booster": "gbtree"}
        if self._several:
            own["num_class"] = self._several
        return {"base_score": 0.5, "nthread": 1, "tree_method": "hist", "verbosity": 0, **self.params, **own}

    def _matrix(self, batch: Batch, targets: Array | None = None) -> Any:
        found = field_of(batch, self.inputs, "XGBoostModel")
        x = aligned_copy(found.reshape(len(found), -1).astype(np.float32, copy=False))
        if x.shape[1] != self.features:
            raise DataError(
                f"field {self.inputs!r} has {x.shape[1]} numbers an example, and the model takes {self.features}",
                hint=f"use features={x.shape[1]}",
            )
        if np.isinf(x).any():
            raise DataError(f"field {self.inputs!r} holds an infinite number", hint="a missing value is NaN")
        return xgboost.DMatrix(x, label=targets, nthread=self.params.get("nthread", 1))

    def _targets(self, batch: Batch) -> Array:
        targets = field_of(batch, self.target, "XGBoostModel")
        if targets.ndim != 1:
            raise DataError(
                f"targets have shape {targets.shape}, expected one an example",
                where=f"field {self.target!r}",
                hint="flatten them",
            )
        if self.classes is None:
            return targets.astype(np.float64)
        outside = targets[(targets < 0) | (targets >= self.classes)]
        if outside.size:
            raise label_outside(int(outside[0]), self.classes)
        return targets.astype(np.int64)
