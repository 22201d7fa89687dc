"""A Strategy as a FederatedAlgorithm: its asks, and what it makes of the replies.

A strategy changes itself as it is called, so an algorithm made of one is no pure value: it runs once. What it is asked and
told, and in which order, is Flower's: initial parameters, its own evaluation, then for each round training, its own
evaluation, and the clients'. This file must not know who carries asks out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hansa.core import tree
from hansa.core.ask import AggregationRule, Ask, Closing, Input, Outcome, Reply, Status
from hansa.core.history import FEDERATED, MODEL
from hansa.core.population import ClientId, Population
from hansa.core.tree import Array, Tree
from hansa.core.work import Settings, Work
from hansa.errors import ConfigError, HansaError
from hansa.interop.flower.averaging import Averaged, parted
from hansa.interop.flower.common.logger import log
from hansa.interop.flower.common.typing import Code, EvaluateIns, FitIns
from hansa.interop.flower.parameters import NUMPY, Parameters
from hansa.interop.flower.server.client_manager import ClientManager, SimpleClientManager, meet
from hansa.interop.flower.server.client_proxy import ClientProxy
from hansa.interop.flower.server.history import History
from hansa.interop.flower.server.server_config import ServerConfig
from hansa.interop.flower.server.strategy.fedavg import FedAvg
from hansa.interop.flower.server.strategy.strategy import Strategy
from hansa.interop.flower.works import (
    ADDRESSED,
    ARRAY,
    AVERAGED,
    REPORT,
    EvaluateWork,
    FitWork,
    GetParametersWork,
    Nodes,
    NotDone,
    evaluate_res,
    fit_res,
    initial_parameters,
    settings_of,
)
from hansa.rules import Collect

Instructions = Sequence[tuple[ClientProxy, FitIns]] | Sequence[tuple[ClientProxy, EvaluateIns]]


@dataclass(frozen=True)
class StrategyState:
    """Today's parameters by position, and how many rounds are completed. What else there is lives in the strategy."""

    params: Tree
    round: int


class StrategyAlgorithm:
    """A run of a strategy.

    Args:
        strategy: the program's own, or one of ours.
        config: how many rounds.
        nodes: how clients are made; where they are, if not here, only their names matter.
        manager: what the strategy asks for clients.

    Attributes:
        history: what was measured so far.
    """

    def __init__(self, strategy: Strategy, config: ServerConfig, nodes: Nodes, manager: ClientManager) -> None:
        self.history = History()
        self._strategy, self._config, self._nodes, self._manager = strategy, config, nodes, manager
        self._parameters, self._round, self._version = Parameters([], NUMPY), 0, 0
        self._course = self._run()

    def follow(self, look: Callable[[], Iterable[ClientId]]) -> None:
        """Let the strategy's manager find out who is there whenever it waits for more clients."""
        if isinstance(self._manager, SimpleClientManager):
            self._manager.look = look

    @property
    def works(self) -> Mapping[str, Work]:
        """What a client may be asked."""
        return {
            "get_parameters": GetParametersWork(self._nodes),
            "fit": FitWork(self._nodes),
            "evaluate": EvaluateWork(self._nodes),
        }

    @property
    def rounds(self) -> int:
        """How many rounds there will be."""
        return self._config.num_rounds

    def start(self, params: Tree, seed: int) -> StrategyState:  # noqa: ARG002 - the strategy's manager has its own seed
        """Before the first ask."""
        return StrategyState(params, 0)

    def ask(self, state: StrategyState, population: Population) -> Ask | None:  # noqa: ARG002 - the port's signature
        """What the strategy wants next."""
        meet(self._manager, population.ids)
        return next(self._course, None)

    def tell(self, state: StrategyState, reply: Reply) -> StrategyState:  # noqa: ARG002 - the port's signature
        """Let the strategy make something of it."""
        self._course.send(reply)
        return StrategyState(self._parameters.to_tree(), self._round)

    def params(self, state: StrategyState) -> Tree:
        """Today's parameters, named by position."""
        return state.params

    def round(self, state: StrategyState) -> int:
        """How many rounds of training are completed."""
        return state.round

    # --- the course of a run: yields an ask, is sent its reply, and yields None once it has made something of that

    def _run(self) -> Generator[Ask | None, Reply, None]:
        yield from self._begin()
        self._evaluate_here(0)
        for round_ in range(1, self._config.num_rounds + 1):
            yield from self._fit(round_)
            self._evaluate_here(round_)
            yield from self._evaluate(round_)

    def _begin(self) -> Generator[Ask | None, Reply, None]:
        initial = self._strategy.initialize_parameters(client_manager=self._manager)
        if initial is not None:
            self._parameters = initial
            return
        (client,) = self._manager.sample(1)
        reply = yield Ask("get_parameters", {}, (client.cid,), Collect(), round=0, version=0)
        answer = tree.part(reply.aggregate, client.cid)
        self._parameters = initial_parameters(*_apart(answer))
        yield None

    def _fit(self, round_: int) -> Generator[Ask | None, Reply, None]:
        instructions = self._strategy.configure_fit(
            server_round=round_, parameters=self._parameters, client_manager=self._manager
        )
        if not instructions:
            self._round = round_
            return
        streaming = streams(self._strategy)
        rule = Averaged() if streaming else Collect()
        reply = yield self._ask("fit", round_, instructions, rule, {AVERAGED: True} if streaming else {})
        parameters, metrics = (
            self._averaged(round_, reply) if streaming else self._aggregated(round_, instructions, reply)
        )
        if parameters:
            self._parameters, self._version = parameters, self._version + 1
        self.history.add_metrics_distributed_fit(round_, metrics)
        self._round = round_
        yield None

    def _averaged(self, round_: int, reply: Reply) -> tuple[Parameters | None, dict[str, Any]]:
        """What FedAvg makes of a mean that was taken as the answers came."""
        assert isinstance(self._strategy, FedAvg)  # noqa: S101 - `streams` said so; for the type checker
        mean, reports = parted(reply.aggregate)
        answers = [fit_res({}, reports[client]) for client in reply.outcomes if client in reports]
        arrays = Parameters.from_tree({name.removeprefix(ARRAY): leaf for name, leaf in mean.items()}).arrays()
        pairs = [(answer.num_examples, answer.metrics) for answer in answers]
        return self._strategy.completed(round_, arrays, pairs, failures_of(reply, {}))

    def _aggregated(
        self, round_: int, instructions: Instructions, reply: Reply
    ) -> tuple[Parameters | None, dict[str, Any]]:
        """What a strategy of the program's own makes of all answers."""
        proxies, answers = {proxy.cid: proxy for proxy, _ in instructions}, tree.parts(reply.aggregate)
        results = [(proxy, fit_res(*_apart(answers[client]))) for client, proxy in proxies.items() if client in answers]
        return self._strategy.aggregate_fit(round_, results, failures_of(reply, proxies))

    def _evaluate(self, round_: int) -> Generator[Ask | None, Reply, None]:
        instructions = self._strategy.configure_evaluate(
            server_round=round_, parameters=self._parameters, client_manager=self._manager
        )
        if not instructions:
            return
        reply = yield self._ask("evaluate", round_, instructions, Collect(), {MODEL: FEDERATED})
        proxies, answers = {proxy.cid: proxy for proxy, _ in instructions}, tree.parts(reply.aggregate)
        found = [(proxy, evaluate_res(answers[cid][REPORT])) for cid, proxy in proxies.items() if cid in answers]
        results = [pair for pair in found if pair[1].status.code is Code.OK]
        failures = [*failures_of(reply, proxies), *(pair for pair in found if pair[1].status.code is not Code.OK)]
        loss, metrics = self._strategy.aggregate_evaluate(round_, results, failures)
        if loss is not None:
            self.history.add_loss_distributed(round_, loss)
            self.history.add_metrics_distributed(round_, metrics)
        yield None

    def _evaluate_here(self, round_: int) -> None:
        found = self._strategy.evaluate(round_, parameters=self._parameters)
        if found is not None:
            loss, metrics = found
            log(logging.INFO, "fit progress: (%s, %s, %s)", round_, loss, metrics)
            self.history.add_loss_centralized(round_, loss)
            self.history.add_metrics_centralized(round_, metrics)

    # --- an ask

    def _ask(
        self,
        work: str,
        round_: int,
        instructions: Instructions,
        rule: AggregationRule[Any],
        said: Settings | None = None,
    ) -> Ask:
        """What clients are told the same goes to everyone, what they are told apart to each."""
        cohort = tuple(proxy.cid for proxy, _ in instructions)
        if len(set(cohort)) != len(cohort):
            raise ConfigError("a strategy asks a client twice in one round", hint="name each client once")
        _, first = instructions[0]
        alike = all(ins.parameters is first.parameters for _, ins in instructions)
        same = all(ins.config == first.config for _, ins in instructions)
        common: Settings = settings_of(first.config, first.parameters) if alike and same else {}
        inputs = {} if alike and same else {proxy.cid: _addressed(ins, alike) for proxy, ins in instructions}
        closing = Closing.quorum(1, self._config.round_timeout)
        return Ask(
            work,
            first.parameters.to_tree() if alike else {},
            cohort,
            rule,
            round=round_,
            version=self._version,
            settings={**common, **(said or {})},
            closing=closing,
            inputs=inputs,
        )


def streams(strategy: Strategy) -> bool:
    """Whether its average can be taken as the answers come: it is a FedAvg whose `aggregate_fit` nobody has overridden."""
    return isinstance(strategy, FedAvg) and type(strategy).aggregate_fit is FedAvg.aggregate_fit


def failures_of(reply: Reply, proxies: Mapping[ClientId, ClientProxy]) -> list[Any]:
    """What became of those that gave no usable answer: their own error, or a client's answer that it did not do it."""
    return [
        _failure(outcome, proxies.get(client))
        for client, outcome in reply.outcomes.items()
        if outcome.status is not Status.UPDATED
    ]


def _failure(outcome: Outcome, proxy: ClientProxy | None) -> Any:
    cause = outcome.cause
    if isinstance(cause, NotDone) and proxy is not None:
        return proxy, cause.res
    return cause if cause is not None else HansaError(f"{outcome.status}: {outcome.why}")


def _addressed(ins: FitIns | EvaluateIns, alike: bool) -> Input:
    settings = settings_of(ins.config, ins.parameters)
    return Input({}, settings) if alike else Input(ins.parameters.to_tree(), {**settings, ADDRESSED: True})


def _apart(answer: Tree) -> tuple[Tree, Array]:
    """A client's arrays and its report."""
    return {name: leaf for name, leaf in answer.items() if name != REPORT}, answer[REPORT]
