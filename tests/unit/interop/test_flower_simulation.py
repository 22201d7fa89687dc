"""Flower's programs in this process: the quickstart with its import line changed, strategies of one's own, and mistakes."""

# ruff: noqa: ARG002 - client classes and strategies have the arguments that they are called with, used or not

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import hansa.interop.flower as fl
from hansa.core.population import Population
from hansa.core.work import ClientContext
from hansa.errors import CohortTooLarge, ConfigError, InputError, RunFailed
from hansa.interop.flower.algorithm import StrategyAlgorithm
from hansa.interop.flower.averaging import Averaged
from hansa.interop.flower.client import Client, NumPyClient
from hansa.interop.flower.common import (
    Code,
    EvaluateIns,
    EvaluateRes,
    FitIns,
    FitRes,
    GetParametersIns,
    GetParametersRes,
    MetricRecord,
    Parameters,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from hansa.interop.flower.server import ServerAppComponents, ServerConfig, SimpleClientManager
from hansa.interop.flower.server.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedProx, FedYogi, Strategy
from hansa.interop.flower.works import Nodes
from hansa.rules import Collect

FL: Any = fl


class Adds(NumPyClient):
    """Adds its number to the parameters; has ten examples more than the one before it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def get_parameters(self, config: Any) -> Any:
        return [np.zeros((2, 2), np.float32), np.zeros(3)]

    def fit(self, parameters: Any, config: Any) -> Any:
        for array in parameters:
            array += self.number
        return parameters, 10 * (self.number + 1), {"loss": 0.5 * self.number, "who": f"client {self.number}", **config}

    def evaluate(self, parameters: Any, config: Any) -> Any:
        return float(parameters[1].mean()), 10, {"accuracy": self.number / 10}


def by_cid(cid: str) -> Any:
    return Adds(int(cid)).to_client()


def weighted(metrics: Any) -> Any:
    return {"accuracy": sum(n * m["accuracy"] for n, m in metrics) / sum(n for n, _ in metrics)}


def simulate(client_fn: Any = by_cid, rounds: int = 2, clients: int = 3, **details: Any) -> Any:
    config = ServerConfig(num_rounds=rounds)
    return FL.simulation.start_simulation(client_fn=client_fn, num_clients=clients, config=config, **details)


MEAN = (0 * 10 + 1 * 20 + 2 * 30) / 60


# --- the quickstart


def test_the_quickstart_gives_what_flower_gives_and_prints() -> None:
    """What is expected here was printed by flwr 1.42.0 for the same program."""
    strategy = FedAvg(
        min_available_clients=3,
        evaluate_metrics_aggregation_fn=weighted,
        evaluate_fn=lambda round_, arrays, config: (float(arrays[0].sum()), {"round": round_}),
    )
    history = simulate(strategy=strategy)
    assert [round_ for round_, _ in history.losses_distributed] == [1, 2]
    np.testing.assert_allclose([loss for _, loss in history.losses_distributed], [MEAN, 2 * MEAN])
    assert [round_ for round_, _ in history.losses_centralized] == [0, 1, 2]
    assert history.metrics_distributed == {"accuracy": [(1, pytest.approx(0.1)), (2, pytest.approx(0.1))]}
    assert history.metrics_centralized == {"round": [(0, 0), (1, 1), (2, 2)]}
    assert history.metrics_distributed_fit == {}
    assert repr(history).splitlines()[0] == "History (loss, distributed):"
    assert repr(history).splitlines()[1].startswith("\tround 1: 1.33333")
    assert "History (metrics, centralized):\n{'round': [(0, 0), (1, 1), (2, 2)]}" in repr(history)


def test_the_run_is_kept_as_hansas_own_history() -> None:
    run = simulate().run
    assert [(entry.work, entry.round) for entry in run.entries] == [
        ("get_parameters", 0),
        ("fit", 1),
        ("evaluate", 1),
        ("fit", 2),
        ("evaluate", 2),
    ]
    np.testing.assert_allclose(run.model["1"], 2 * MEAN)
    assert run.entries[1].outcomes["2"].metrics.numbers() == {"loss": 1.0}  # text is no metric of Hansa's
    assert [round_ for round_, _ in run.series("loss")] == [1, 2]


def test_the_same_seed_asks_the_same_clients() -> None:
    def asked(seed: int) -> Any:
        strategy = FedAvg(fraction_fit=0.2, min_fit_clients=2, min_available_clients=20, fraction_evaluate=0.0)
        run = simulate(clients=20, strategy=strategy, seed=seed).run
        return [list(entry.outcomes) for entry in run.entries]

    assert asked(1) == asked(1) != asked(2)
    assert [len(cohort) for cohort in asked(1)] == [1, 4, 4]


def test_what_clients_are_told_is_the_config_of_the_round() -> None:
    reports: list[Any] = []

    def remember(metrics: Any) -> Any:
        reports.append(metrics)
        return {"clients": len(metrics)}

    strategy = FedAvg(
        on_fit_config_fn=lambda round_: {"round": round_, "lr": 0.1, "model": "small", "raw": b"\x00\xff", "on": True},
        fit_metrics_aggregation_fn=remember,
        min_fit_clients=3,
        min_available_clients=3,
    )
    history = simulate(strategy=strategy)
    assert history.metrics_distributed_fit == {"clients": [(1, 3), (2, 3)]}
    (first, _) = reports
    told = {"round": 1, "lr": 0.1, "model": "small", "raw": b"\x00\xff", "on": True}
    assert sorted(first, key=lambda pair: pair[0]) == [
        (10 * (n + 1), {"loss": 0.5 * n, "who": f"client {n}", **told}) for n in range(3)
    ]
    assert type(first[0][1]["round"]) is int
    assert type(first[0][1]["on"]) is bool


def test_older_programs_arguments_are_understood() -> None:
    strategy = FedAvg(
        fraction_eval=0.1, min_eval_clients=1, eval_fn=lambda arrays: (float(arrays[0].sum()), {"arrays": len(arrays)})
    )
    history = FL.simulation.start_simulation(
        client_fn=by_cid, num_clients=3, config={"num_rounds": 1}, strategy=strategy
    )
    assert history.metrics_centralized == {"arrays": [(0, 2), (1, 2)]}
    assert len(history.run.entries[-1].outcomes) == 1


# --- how clients are made


def test_client_fn_is_given_flowers_context_which_keeps_state() -> None:
    seen: dict[int, list[int]] = {}

    def client_fn(context: fl.common.Context) -> Any:
        number = int(context.node_config["partition-id"])
        record = context.state.setdefault("visits", MetricRecord({"count": 0}))
        assert isinstance(record, MetricRecord)
        seen.setdefault(number, []).append(int(str(record["count"])))
        record["count"] = seen[number][-1] + 1
        assert (context.node_config["num-partitions"], context.run_config["lr"]) == (3, 0.5)
        return Adds(number).to_client()

    strategy = FedAvg(initial_parameters=ndarrays_to_parameters(Adds(0).get_parameters({})), min_fit_clients=3)
    simulate(client_fn, strategy=strategy, run_config={"lr": 0.5})
    assert seen == {number: [0, 1, 2, 3] for number in range(3)}


def test_client_fn_is_given_hansas_context_where_it_says_so() -> None:
    def client_fn(context: ClientContext) -> Any:
        return Adds(int(context.id))

    np.testing.assert_allclose(simulate(client_fn).run.model["1"], 2 * MEAN)


def test_a_typed_client_and_clients_by_name() -> None:
    class Typed(Client):
        def get_parameters(self, ins: GetParametersIns) -> GetParametersRes:
            return GetParametersRes(Status(Code.OK, ""), ndarrays_to_parameters([np.zeros(2)]))

        def fit(self, ins: FitIns) -> FitRes:
            arrays = [array + 1 for array in parameters_to_ndarrays(ins.parameters)]
            return FitRes(Status(Code.OK, ""), ndarrays_to_parameters(arrays), 3, {})

        def evaluate(self, ins: EvaluateIns) -> EvaluateRes:
            return EvaluateRes(Status(Code.OK, ""), float("nan"), 0, {})

    history = FL.simulation.start_simulation(
        client_fn=lambda cid: Typed(), clients_ids=["array:0", "b/report"], strategy=FedAvg(fraction_evaluate=0.0)
    )
    assert history.run.model["0"].tolist() == [1.0, 1.0]
    assert set(history.run.entries[-1].outcomes) == {"array:0", "b/report"}


def test_clients_that_cannot_evaluate_are_no_error_and_leave_no_loss() -> None:
    class OnlyFits(NumPyClient):
        def fit(self, parameters: Any, config: Any) -> Any:
            return [np.ones(2)], 1, {}

    failures: list[Any] = []

    class Looks(FedAvg):
        def aggregate_evaluate(self, server_round: int, results: Any, failed: Any) -> Any:
            failures.extend(failed)
            return super().aggregate_evaluate(server_round, results, failed)

    history = simulate(lambda cid: OnlyFits(), rounds=1, strategy=Looks(min_fit_clients=3))
    assert history.losses_distributed == []
    assert [res.status.code for _, res in failures] == [Code.EVALUATE_NOT_IMPLEMENTED] * 3
    assert history.run.model["0"].tolist() == [1.0, 1.0]  # it started from nothing, as there was nothing to start from


# --- strategies


def test_a_strategy_of_ones_own_sees_every_result_and_every_failure() -> None:
    seen: list[Any] = []

    class Mine(FedAvg):
        def configure_fit(self, server_round: int, parameters: Parameters, client_manager: Any) -> Any:
            assert client_manager.num_available() == 3
            assert client_manager.wait_for(3)
            clients = client_manager.all()
            other = ndarrays_to_parameters([np.full((2, 2), 5, np.float32), np.zeros(3)])
            return [
                (clients["0"], FitIns(parameters, {"lr": 1})),
                (clients["1"], FitIns(other, {"only": "me"})),
                (clients["2"], FitIns(parameters, {})),
            ]

        def configure_evaluate(self, server_round: int, parameters: Parameters, client_manager: Any) -> Any:
            return None

        def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
            seen.append((results, failures))
            return results[1][1].parameters, {"own": "text"}

    class Fails(Adds):
        def fit(self, parameters: Any, config: Any) -> Any:
            if self.number == 2:
                raise RuntimeError("no")
            return super().fit(parameters, config)

    history = simulate(lambda cid: Fails(int(cid)), rounds=1, strategy=Mine())
    ((results, failures),) = seen
    assert [(client.cid, res.num_examples, res.metrics) for client, res in results] == [
        ("0", 10, {"loss": 0.0, "who": "client 0", "lr": 1}),
        ("1", 20, {"loss": 0.5, "who": "client 1", "only": "me"}),
    ]
    assert parameters_to_ndarrays(results[1][1].parameters)[0].tolist() == [[6.0, 6.0], [6.0, 6.0]]
    assert [str(failure) for failure in failures] == ["no"]
    assert history.metrics_distributed_fit == {"own": [(1, "text")]}
    assert history.run.model["0"].tolist() == [[6.0, 6.0], [6.0, 6.0]]
    assert history.losses_distributed == []


def test_only_a_strategy_with_its_own_average_collects_every_update() -> None:
    class Mine(FedAvg):
        def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
            return super().aggregate_fit(server_round, results, failures)

    def rule(strategy: Strategy) -> Any:
        algorithm = StrategyAlgorithm(strategy, ServerConfig(), Nodes(by_cid), SimpleClientManager())
        ask = algorithm.ask(algorithm.start({}, 0), Population(("0", "1")))
        assert ask is not None
        return ask.rule

    initial = ndarrays_to_parameters([np.zeros(2)])
    assert rule(Mine(initial_parameters=initial)) == Collect()
    assert rule(FedAvg(initial_parameters=initial)) == Averaged()
    assert simulate(strategy=Mine(min_fit_clients=3)).run.model["1"].tolist() == (
        simulate(strategy=FedAvg(min_fit_clients=3)).run.model["1"].tolist()
    )


def test_failures_that_are_not_accepted_leave_the_parameters_as_they_were() -> None:
    class Fails(Adds):
        def fit(self, parameters: Any, config: Any) -> Any:
            if self.number == 1:
                raise RuntimeError("no")
            return super().fit(parameters, config)

    run = simulate(lambda cid: Fails(int(cid)), strategy=FedAvg(accept_failures=False, min_fit_clients=3)).run
    assert run.model["1"].tolist() == [0.0, 0.0, 0.0]
    accepted = simulate(lambda cid: Fails(int(cid)), strategy=FedAvg(min_fit_clients=3)).run
    assert accepted.model["1"].tolist() == [3.0, 3.0, 3.0]  # twice the mean of 0 (10 examples) and 2 (30)


def test_tensors_that_are_no_arrays_go_through_a_strategy_of_ones_own() -> None:
    class Trees(Client):
        def fit(self, ins: FitIns) -> FitRes:
            return FitRes(Status(Code.OK, ""), Parameters([ins.parameters.tensors[0] + b"x"], "bytes"), 1, {})

    class Longest(FedAvg):
        def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
            return max((res.parameters for _, res in results), key=lambda each: len(each.tensors[0])), {}

    initial = Parameters([b"\x00a"], "bytes")
    strategy = Longest(initial_parameters=initial, fraction_evaluate=0.0)
    assert simulate(lambda cid: Trees(), strategy=strategy).run.model["0"].tobytes() == b"\x00axx"
    with pytest.raises(RunFailed, match="tensors of the type 'bytes' have no average"):
        simulate(lambda cid: Trees(), strategy=FedAvg(initial_parameters=initial, fraction_evaluate=0.0))


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (FedAvgM(server_momentum=0.5, server_learning_rate=0.5, min_fit_clients=3), 0.5 * MEAN + 0.5 * 1.5 * MEAN),
        (FedAdagrad(min_fit_clients=3), 0.1 + 0.1 / np.sqrt(2)),
    ],
)
def test_a_server_optimiser_follows_its_formula(strategy: Any, expected: float) -> None:
    np.testing.assert_allclose(simulate(strategy=strategy).run.model["1"], expected, rtol=1e-6)


def test_adam_and_yogi_follow_flowers_arithmetic() -> None:
    """The same two steps of Δ = MEAN, written out: v from 0, and for Adam the exponent t + 1."""
    delta, m, v, x = MEAN, 0.0, 0.0, 0.0
    for t in (1, 2):
        m, v = 0.9 * m + 0.1 * delta, 0.99 * v + 0.01 * delta**2
        x += 0.1 * np.sqrt(1 - 0.99 ** (t + 1)) / (1 - 0.9 ** (t + 1)) * m / (np.sqrt(v) + 1e-9)
    np.testing.assert_allclose(simulate(strategy=FedAdam(min_fit_clients=3)).run.model["1"], x, rtol=1e-6)
    m, v, y = 0.0, 0.0, 0.0
    for _ in range(2):
        m, v = 0.9 * m + 0.1 * delta, v - 0.01 * delta**2 * np.sign(v - delta**2)
        y += 0.01 * m / (np.sqrt(v) + 1e-3)
    np.testing.assert_allclose(simulate(strategy=FedYogi(min_fit_clients=3)).run.model["1"], y, rtol=1e-6)


def test_fedprox_tells_clients_its_mu() -> None:
    told: list[Any] = []

    class Listens(Adds):
        def fit(self, parameters: Any, config: Any) -> Any:
            told.append(config)
            return super().fit(parameters, config)

    simulate(lambda cid: Listens(int(cid)), rounds=1, strategy=FedProx(proximal_mu=0.25, min_fit_clients=3))
    assert told == [{"proximal_mu": 0.25}] * 3


# --- apps


def test_run_simulation_of_a_server_fn_is_the_same_run() -> None:
    app = FL.client.ClientApp(client_fn=by_cid)
    components = ServerAppComponents(strategy=FedAvg(min_fit_clients=3), config=ServerConfig(num_rounds=2))
    server = FL.server.ServerApp(server_fn=lambda context: components)
    history = FL.simulation.run_simulation(server, app, num_supernodes=3, backend_config={"client_resources": {}})
    np.testing.assert_allclose(history.run.model["1"], 2 * MEAN)


# --- mistakes


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (([np.zeros((2, 2), np.float32)], 3, {}), "it returned 1 arrays, and it was given 2 (client '0', fit)"),
        (
            (np.zeros(3), 3),
            "expected a tuple (list of NumPy arrays, number of examples, dict of metrics); found a tuple",
        ),
        (([np.zeros((2, 2), np.float32), np.zeros(3)], 3, {"a": None}), "'a' is a NoneType; expected a number, text"),
    ],
)
def test_a_wrong_answer_names_the_client(answer: Any, said: str) -> None:
    class Wrong(Adds):
        def fit(self, parameters: Any, config: Any) -> Any:
            return answer

    with pytest.raises(RunFailed) as raised:
        simulate(lambda cid: Wrong(0), strategy=FedAvg(min_fit_clients=3))
    assert isinstance(raised.value.__cause__, InputError)
    assert said in str(raised.value)
    assert "(client '0', " in str(raised.value)


def test_too_few_clients_are_told_of_at_once() -> None:
    with pytest.raises(CohortTooLarge, match="the strategy wants 4 clients, and there are 3"):
        simulate(strategy=FedAvg(min_available_clients=4))


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({}, "there are no clients"),
        ({"num_clients": 2, "clients_ids": ["a"]}, "num_clients is 2, and clients_ids names 1"),
        ({"clients_ids": ["a", "a"]}, "each named once"),
        ({"num_clients": 2, "server": object()}, "a Server of one's own is not supported"),
        ({"num_clients": 2, "config": {"rounds": 3}}, "there is no setting 'rounds' of a server"),
        ({"num_clients": 2, "config": ServerConfig(num_rounds=-1)}, "the number of rounds is at least 0, not -1"),
    ],
)
def test_a_call_that_makes_no_sense_says_why(details: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        FL.simulation.start_simulation(client_fn=by_cid, **details)


def test_a_strategy_that_calls_a_client_is_told_how_it_is_done() -> None:
    class Calls(FedAvg):
        def configure_fit(self, server_round: int, parameters: Parameters, client_manager: Any) -> Any:
            client_manager.sample(1)[0].fit(FitIns(parameters, {}), timeout=None, group_id=1)

    with pytest.raises(ConfigError, match="a strategy does not call its clients"):
        simulate(strategy=Calls())


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, hansa.interop.flower; print(*({'torch', 'ray', 'grpc', 'flwr', 'PIL'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert ended.stdout == "\n"


@pytest.mark.parametrize(
    "line",
    [
        "from hansa.interop.flower.client import Client, ClientApp, NumPyClient, start_client, start_numpy_client",
        "from hansa.interop.flower.server import Grid, ServerApp, ServerAppComponents, ServerConfig, start_server",
        "from hansa.interop.flower.server.client_manager import ClientManager, SimpleClientManager",
        "from hansa.interop.flower.server.client_proxy import ClientProxy",
        "from hansa.interop.flower.server.strategy.aggregate import aggregate, weighted_loss_avg",
        "from hansa.interop.flower.common.typing import FitRes, Metrics, NDArrays, Parameters, Scalar",
        "from hansa.interop.flower.common.parameter import ndarrays_to_parameters",
        "from hansa.interop.flower.common.logger import log",
        "from hansa.interop.flower.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict",
        "from hansa.interop.flower.clientapp import ClientApp",
        "from hansa.interop.flower.serverapp import Grid, ServerApp",
        "from hansa.interop.flower.serverapp.strategy import FedAdam, FedAvg, FedProx, Result, Strategy",
        "from hansa.interop.flower.simulation import run_simulation, start_simulation",
        "from hansa.interop.flower.datasets import FederatedDataset",
        "from hansa.interop.flower.datasets.partitioner import DirichletPartitioner, IidPartitioner",
    ],
)
def test_an_import_line_of_flowers_has_its_counterpart(line: str) -> None:
    exec(line, {})  # noqa: S102 - one of the lines above
