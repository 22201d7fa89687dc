"""The port of strategies over messages, and the order in which their methods are called."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from hansa.interop.flower.common.logger import log
from hansa.interop.flower.message import Message
from hansa.interop.flower.records import ArrayRecord, ConfigRecord, MetricRecord
from hansa.interop.flower.serverapp.grid import Grid
from hansa.interop.flower.serverapp.strategy.result import Result

Evaluate = Callable[[int, ArrayRecord], MetricRecord | None]


class Strategy(ABC):
    """Says which messages go out in each round, and what is made of the replies."""

    @abstractmethod
    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The messages of a round's training."""

    @abstractmethod
    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The next model, or None to keep the present one, and the round's metrics."""

    @abstractmethod
    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The messages of a round's evaluation."""

    @abstractmethod
    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """The metrics of a round's evaluation."""

    def summary(self) -> None:
        """Log the strategy's settings; a strategy of a program's own may."""
        log(logging.INFO, "%r", self)

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float | None = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Evaluate | None = None,
    ) -> Result:
        """Train a model.

        Args:
            grid: where the nodes are.
            initial_arrays: the model to start from.
            num_rounds: how many.
            timeout: seconds that the nodes have for each message.
            train_config: what nodes are told for training.
            evaluate_config: what they are told for evaluation.
            evaluate_fn: measures the model here, before the first round and after each.
        """
        self.summary()
        result, configs = Result(initial_arrays), (train_config or ConfigRecord(), evaluate_config or ConfigRecord())
        _measure(result, 0, evaluate_fn)
        for round_ in range(1, num_rounds + 1):
            messages = self.configure_train(round_, result.arrays, configs[0], grid)
            arrays, metrics = self.aggregate_train(round_, grid.send_and_receive(messages, timeout=timeout))
            if arrays is not None:
                result.arrays = arrays
            if metrics is not None:
                result.train_metrics_clientapp[round_] = metrics
            messages = self.configure_evaluate(round_, result.arrays, configs[1], grid)
            metrics = self.aggregate_evaluate(round_, grid.send_and_receive(messages, timeout=timeout))
            if metrics is not None:
                result.evaluate_metrics_clientapp[round_] = metrics
            _measure(result, round_, evaluate_fn)
        return result


def _measure(result: Result, round_: int, evaluate_fn: Evaluate | None) -> None:
    measured = evaluate_fn(round_, result.arrays) if evaluate_fn is not None else None
    if measured is not None:
        result.evaluate_metrics_serverapp[round_] = measured
