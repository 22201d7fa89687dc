"""The area under the ROC curve, as a measure of an `Evaluation`."""

from __future__ import annotations

from hansa.core.ranking import Ranking
from hansa.core.tree import Array
from hansa.errors import ConfigError


def auc(outputs: Array, labels: Array) -> Ranking:
    """The area under the ROC curve over all examples, of whatever client; scores (n, 2), labels (n,) of 0 and 1.

    Examples are ranked by the difference of their two scores, in bins of 1/32 up to ±16: log-odds, where the scores are those
    of a logistic loss. `Ranking.bound` says how far that may be from the area of the scores themselves, usually under 0.01.

    Raises:
        ConfigError: the scores are not of two classes.
    """
    if outputs.ndim != 2 or outputs.shape[1] != 2:
        raise ConfigError(
            f"the area under the ROC curve is of two classes, and the outputs have shape {outputs.shape}",
            hint="measure accuracy or confusion_matrix instead",
        )
    return Ranking.of(outputs[:, 1] - outputs[:, 0], labels)
