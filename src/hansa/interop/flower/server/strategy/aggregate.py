"""The averages that strategies of a program's own call, by Hansa's rule: exact, and the same for every order of clients."""

from __future__ import annotations

from collections.abc import Sequence

from hansa.core.work import Update
from hansa.interop.flower.common.typing import FitRes
from hansa.interop.flower.parameters import NDArrays
from hansa.interop.flower.server.client_proxy import ClientProxy
from hansa.rules import WeightedMean
from hansa.training.clients.answers import in_order, named


def aggregate(results: Sequence[tuple[NDArrays, int]]) -> NDArrays:
    """The mean of lists of arrays, weighted by numbers of examples. Arrays that are no floats: their maximum.

    Raises:
        TreeMismatch: the lists are not alike.
        AggregationError: there are none, or all weights are zero.
    """
    rule = WeightedMean()
    total = rule.zero()
    for number, (arrays, examples) in enumerate(results):
        total = rule.accumulate(total, Update(named(arrays), float(examples), client=str(number)))
    return in_order(rule.finish(total))


def aggregate_inplace(results: Sequence[tuple[ClientProxy, FitRes]]) -> NDArrays:
    """The same of results as `aggregate_fit` gets them."""
    return aggregate([(res.parameters.arrays(), res.num_examples) for _, res in results])


def weighted_loss_avg(results: Sequence[tuple[int, float]]) -> float:
    """Σ n·loss / Σ n, of pairs (number of examples, loss)."""
    return sum(examples * loss for examples, loss in results) / sum(examples for examples, _ in results)
