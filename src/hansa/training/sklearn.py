"""Local training in scikit-learn's own way: an estimator's `partial_fit`, or `fit` from where it stands.

This file must not know of rounds, servers or other clients.
"""

from __future__ import annotations

from dataclasses import dataclass

from hansa.core import tree
from hansa.core.metrics import Mean, Metrics
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import ConfigError
from hansa.models.sklearn import SklearnModel
from hansa.training.examples import training_examples


@dataclass(frozen=True)
class SklearnTraining:
    """Train an estimator on the client's "train" split by its own `partial_fit`; the update is what moves the broadcast there.

    Steps, their lengths and the batches are the estimator's own; what a perceptron's solver remembers of its steps begins anew
    at every visit. A LogisticRegression is fitted from where it stands, by at most `epochs` iterations of its solver; its
    penalty counts for the client's share of the federation's examples. Random choices come from the visit's key, whatever
    `random_state` says. The client's examples are held in memory at once.

    The update's weight is the number of the client's examples, its metric "loss" the mean over them before the training.

    Attributes:
        model: what is trained.
        epochs: passes over the client's examples.
    """

    model: SklearnModel
    epochs: int = 1

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ConfigError(f"epochs is at least 1, not {self.epochs}")

    @property
    def buffers(self) -> frozenset[str]:
        """The leaves of its updates that no optimiser should touch, at the server either."""
        return self.model.buffers

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The work: `broadcast` is the model's parameters and buffers.

        Raises:
            DataError: the client has nothing to train on.
        """
        examples = training_examples(context)
        everything = examples.all()
        loss = self.model.predict(self.model.load(broadcast), everything).loss
        native = self.model.trained(self.model.native(broadcast), everything, context.key.child("fit"), self.epochs)
        change = tree.difference(self.model.extract(native), broadcast)
        return Update(change, float(len(examples)), Metrics({"loss": Mean.of(loss, len(examples))}))
