"""FedAvg over messages, and FedProx, which differs at the nodes only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hansa.core.keys import key
from hansa.core.work import Update
from hansa.errors import CohortTooLarge, DataError
from hansa.interop.flower.common.logger import log
from hansa.interop.flower.message import Message, MessageType
from hansa.interop.flower.records import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hansa.interop.flower.serverapp.grid import Grid
from hansa.interop.flower.serverapp.strategy.strategy import Strategy
from hansa.rules import WeightedMean

AggregateMetrics = Callable[[list[RecordDict], str], MetricRecord]


class FedAvg(Strategy):
    """Federated averaging (McMahan et al. 2017).

    Each reply has one ArrayRecord (of training) and one MetricRecord, with the number of examples in it.

    Args:
        fraction_train: the share of the nodes that train in a round, rounded down; 0 for nobody.
        fraction_evaluate: the share that evaluates.
        min_train_nodes: at least so many train.
        min_evaluate_nodes: at least so many evaluate.
        min_available_nodes: so many must be there before any is chosen.
        weighted_by_key: the metric by which replies are weighted.
        arrayrecord_key: what the model is called in messages.
        configrecord_key: what the settings are called in messages.
        train_metrics_aggr_fn: makes one MetricRecord of the replies' records; the weighted mean unless given.
        evaluate_metrics_aggr_fn: the same for evaluation.
        seed: of the choice of nodes.
    """

    def __init__(
        self,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 1.0,
        min_train_nodes: int = 2,
        min_evaluate_nodes: int = 2,
        min_available_nodes: int = 2,
        weighted_by_key: str = "num-examples",
        arrayrecord_key: str = "arrays",
        configrecord_key: str = "config",
        train_metrics_aggr_fn: AggregateMetrics | None = None,
        evaluate_metrics_aggr_fn: AggregateMetrics | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.fraction_train, self.fraction_evaluate = fraction_train, fraction_evaluate
        self.min_train_nodes = min_train_nodes if fraction_train else 0
        self.min_evaluate_nodes = min_evaluate_nodes if fraction_evaluate else 0
        self.min_available_nodes, self.weighted_by_key = min_available_nodes, weighted_by_key
        self.arrayrecord_key, self.configrecord_key = arrayrecord_key, configrecord_key
        self.train_metrics_aggr_fn = train_metrics_aggr_fn or mean_metrics
        self.evaluate_metrics_aggr_fn = evaluate_metrics_aggr_fn or mean_metrics
        self.seed = seed

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """A message to a sample of the nodes, the same for all; its config says "server-round"."""
        if not self.fraction_train:
            return []
        return self._messages(
            MessageType.TRAIN, server_round, arrays, config, grid, self.fraction_train, self.min_train_nodes
        )

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """A message to a sample of the nodes, the same for all; its config says "server-round"."""
        if not self.fraction_evaluate:
            return []
        return self._messages(
            MessageType.EVALUATE, server_round, arrays, config, grid, self.fraction_evaluate, self.min_evaluate_nodes
        )

    def aggregate_train(
        self,
        server_round: int,
        replies: Iterable[Message],
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The mean of the replies' arrays and metrics."""
        contents = self._usable(replies, arrays=True)
        if not contents:
            return None, None
        mean = mean_arrays(contents, self.weighted_by_key)
        return self.stepped(server_round, mean), self.train_metrics_aggr_fn(contents, self.weighted_by_key)

    def stepped(self, server_round: int, mean: ArrayRecord) -> ArrayRecord:  # noqa: ARG002 - for the server optimisers' sake
        """The next model: the mean itself. A server optimiser goes its own way."""
        return mean

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:  # noqa: ARG002 - the port's signature
        """The mean of the replies' metrics."""
        contents = self._usable(replies, arrays=False)
        return self.evaluate_metrics_aggr_fn(contents, self.weighted_by_key) if contents else None

    def _messages(
        self,
        kind: str,
        server_round: int,
        arrays: ArrayRecord,
        config: ConfigRecord,
        grid: Grid,
        fraction: float,
        least: int,
    ) -> list[Message]:
        nodes = grid.get_node_ids()
        size = max(int(len(nodes) * fraction), least)
        if len(nodes) < max(size, self.min_available_nodes):
            raise CohortTooLarge(
                f"the strategy wants {max(size, self.min_available_nodes)} nodes, and there are {len(nodes)}",
                hint="see its min_train_nodes, min_evaluate_nodes and min_available_nodes, which are 2 unless given",
            )
        config["server-round"] = server_round
        record = RecordDict({self.arrayrecord_key: arrays, self.configrecord_key: config})
        chosen = key(self.seed, kind, server_round).generator().choice(len(nodes), size, replace=False)
        return [Message(record, nodes[index], kind) for index in chosen]

    def _usable(self, replies: Iterable[Message], *, arrays: bool) -> list[RecordDict]:
        """The records of the replies that are no errors.

        Raises:
            DataError: one has not what its average needs; says which node's.
        """
        contents = []
        for reply in replies:
            if reply.has_error():
                log(logging.INFO, "error of node %d: %s", reply.metadata.src_node_id, reply.error.reason)
                continue
            found = {"ArrayRecord": len(reply.content.array_records), "MetricRecord": len(reply.content.metric_records)}
            for kind in ("ArrayRecord", "MetricRecord") if arrays else ("MetricRecord",):
                if found[kind] != 1:
                    raise DataError(
                        f"expected one {kind} in a reply, found {found[kind]}",
                        where=f"node {reply.metadata.src_node_id}",
                        hint="let the app reply with its model and its metrics, one record each",
                    )
            _weight(reply.content, self.weighted_by_key, f"node {reply.metadata.src_node_id}")
            contents.append(reply.content)
        return contents


class FedProx(FedAvg):
    """FedAvg that tells nodes "proximal-mu", for the proximal term of their own loss (Li et al. 2020)."""

    def __init__(self, *, proximal_mu: float = 0.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.proximal_mu = proximal_mu

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As FedAvg, with "proximal-mu" in the config."""
        config["proximal-mu"] = self.proximal_mu
        return super().configure_train(server_round, arrays, config, grid)


def mean_arrays(contents: Sequence[RecordDict], weighted_by: str) -> ArrayRecord:
    """The mean of the records' arrays, weighted by a metric."""
    rule = WeightedMean()
    total = rule.zero()
    for number, content in enumerate(contents):
        (arrays,) = content.array_records.values()
        leaves = {name: array.lent() for name, array in arrays.items()}
        total = rule.accumulate(total, Update(leaves, _weight(content, weighted_by), client=str(number)))
    return ArrayRecord(rule.finish(total))


def mean_metrics(contents: list[RecordDict], weighted_by: str) -> MetricRecord:
    """The mean of the records' metrics, weighted by one of them, which is left out; lists element by element."""
    weights = [_weight(content, weighted_by) for content in contents]
    records = [next(iter(content.metric_records.values())) for content in contents]
    total = sum(weights)
    mean = MetricRecord()
    for name in records[0]:
        if name != weighted_by:
            values: list[Any] = [record[name] for record in records]
            mean[name] = _mean(values, [weight / total for weight in weights])
    return mean


def _mean(values: Sequence[Any], shares: Sequence[float]) -> Any:
    if isinstance(values[0], list):
        return [_mean(column, shares) for column in zip(*values, strict=True)]
    return sum(value * share for value, share in zip(values, shares, strict=True))


def _weight(content: RecordDict, name: str, where: str = "") -> float:
    (metrics,) = content.metric_records.values()
    weight = metrics.get(name)
    if not isinstance(weight, int | float):
        raise DataError(
            f"the reply's metrics have no number {name!r}, by which it is weighted; they have {', '.join(metrics)}",
            where=where,
            hint=f"report it: MetricRecord({{..., {name!r}: len(dataset)}})",
        )
    return float(weight)
