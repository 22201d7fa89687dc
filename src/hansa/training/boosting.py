"""Local boosting: a client grows trees on its own examples, on top of the federation's.

This file must not know of rounds, servers or other clients.
"""

from __future__ import annotations

from dataclasses import dataclass

from hansa.core.metrics import Mean, Metrics
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import ConfigError
from hansa.models.ensemble import trees_to_tree
from hansa.models.xgboost import XGBoostModel
from hansa.training.examples import training_examples


@dataclass(frozen=True)
class LocalBoosting:
    """Boost trees on the client's "train" split; the update is the new trees alone.

    Its weight is the number of the client's examples, its metric "loss" the mean over them before the new trees. Random
    choices, such as of rows where `subsample` is below 1, come from the visit's key. The examples are held in memory at once.

    Attributes:
        model: what is boosted.
        rounds: how many rounds of boosting a visit; each grows one tree, or one for each class where there are several.
    """

    model: XGBoostModel
    rounds: int = 1

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ConfigError(f"rounds is at least 1, not {self.rounds}")

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The work: `broadcast` is the ensemble.

        Raises:
            DataError: the client has nothing to train on.
        """
        examples = training_examples(context)
        everything = examples.all()
        loss = self.model.predict(self.model.load(broadcast), everything).loss
        new = self.model.boosted(broadcast, everything, context.key.child("boost"), self.rounds)
        return Update(trees_to_tree(new), float(len(examples)), Metrics({"loss": Mean.of(loss, len(examples))}))
