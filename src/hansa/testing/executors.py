"""The conformance kit of executors: whoever carries asks out, a loop, processes or a cluster, does the same with them.

This file must not know how an executor works: everything is seen through the probe's reports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hansa.core import tree
from hansa.core.ask import Ask, Closing, Executor, Input, Reply, Status
from hansa.core.keys import key
from hansa.core.population import ClientId
from hansa.core.tree import Tree
from hansa.core.work import Work
from hansa.data import ClientDataset, FederatedData
from hansa.errors import AggregationError
from hansa.rules import WeightedMean
from hansa.testing.laws import require, unlike_bits
from hansa.testing.probes import FATES, REPORT, Witness, broadcast, probe

MakeExecutor = Callable[[Mapping[str, Work], FederatedData, int], Executor]
"""(works, data, seed) -> a fresh executor."""

TRAINERS = ("delta", "alpha", "echo", "bravo", "charlie")
JUDGE = "judge"
SEED = 7
WORKS: Mapping[str, Work] = {"probe": probe, "other": probe}


def check_executor(make_executor: MakeExecutor) -> None:
    """Check that an executor carries asks out as the port promises.

    Args:
        make_executor: makes a fresh executor of works, data and a seed. The works are `WORKS`, which other processes find
            as "hansa.testing.executors:WORKS"; they pickle as well.

    Raises:
        AssertionError: a law is broken; the message says which.
    """
    for law in (
        _population,
        _contexts,
        _fates,
        _private_state,
        _several_failures,
        _no_aggregate,
        _form,
        _asynchrony,
        _failures_do_not_close,
        _keys,
        _repeatable,
    ):
        law(make_executor)


def _data() -> FederatedData:
    """Five trainers with 1, 2, ... examples whose inputs sum to 1, 2, ..., the second of them with test data, and a judge."""

    def examples(count: int) -> ClientDataset:
        return ClientDataset({"x": np.ones(count, np.float32), "y": np.zeros(count, np.int64)})

    train = {client: examples(number) for number, client in enumerate(TRAINERS, 1)}
    return FederatedData(train, {TRAINERS[1]: examples(10), JUDGE: examples(20)})


def _made(make_executor: MakeExecutor, seed: int = SEED) -> Executor:
    return make_executor(WORKS, _data(), seed)


def _ask(cohort: Sequence[ClientId] = TRAINERS, value: float = 0.0, **details: Any) -> Ask:
    arguments: dict[str, Any] = {"work": "probe", "rule": Witness(), "round": 1, "version": 0, **details}
    return Ask(broadcast=broadcast(value), cohort=tuple(cohort), **arguments)


def _told(acts: Mapping[ClientId, str]) -> dict[ClientId, Input]:
    return {client: Input(settings={"act": act}) for client, act in acts.items()}


def _reports(reply: Reply) -> dict[ClientId, Tree]:
    return tree.parts(reply.aggregate)


def _number(report: Tree, name: str) -> float:
    return float(report[name])


def _same(found: object, expected: object, law: str) -> None:
    require(found == expected, law, f"{found} instead of {expected}")


# --- the laws


def _population(make_executor: MakeExecutor) -> None:
    data, population = _data(), _made(make_executor).population()
    _same(tuple(population.ids), data.clients, "the population lists every client, in the data's order")
    for split in ("train", "test"):
        law = f"the population says how many examples each client holds in {split!r}"
        held = {client: count for client, count in population.examples.get(split, {}).items() if count}
        _same(held, dict(data.sizes(split)), law)


def _contexts(make_executor: MakeExecutor) -> None:
    executor, cohort = _made(make_executor), (*reversed(TRAINERS), JUDGE)
    inputs = {"echo": Input({"addressed": np.array(5.0)}, {"number": 8})}
    given = broadcast(2.5)
    ask = Ask("probe", given, cohort, Witness(), round=3, version=2, settings={"number": 4}, inputs=inputs)
    reply = executor.execute(ask)
    _same(unlike_bits(given, broadcast(2.5)), "", "an ask is not changed")
    _same(reply.work, "probe", "a reply names the work that was asked")
    _same(reply.failure, None, "a reply with an aggregate has no failure")
    _same(list(reply.outcomes), list(cohort), "outcomes are given for the cohort, in its order")
    _same({outcome.status for outcome in reply.outcomes.values()}, {Status.UPDATED}, "a good update counts")
    reports = _reports(reply)
    _same(sorted(reports), sorted(cohort), "every update reaches the rule")
    _same(reply.metrics.numbers(), {"visits": len(cohort)}, "the metrics of all that count are merged")
    for client, report in reports.items():
        number = TRAINERS.index(client) + 1 if client in TRAINERS else -1
        test = {TRAINERS[1]: 10, JUDGE: 20}.get(client, -1)
        expected: dict[str, float] = {
            "round": 3,
            "number": 8 if client == "echo" else 4,
            "addressed": 5 if client == "echo" else 0,
            "train": number,
            "test": test,
            "staleness": 0,
            "weight": 2,
            "visits": 0,
        }
        for name, value in expected.items():
            _same(_number(report, name), float(value), f"a work sees what it should ({name!r}, client {client!r})")
        _same(report["value"].tolist(), [2.5] * 3, "a work sees the broadcast")
        _same(reply.outcomes[client].weight, 2.0, "an outcome tells the update's weight")
        _same(reply.outcomes[client].metrics.numbers(), {"visits": 1.0}, "an outcome tells the client's metrics")


def _fates(make_executor: MakeExecutor) -> None:
    """One client misbehaves among others that do not, whichever place it has."""
    for act, fate in FATES.items():
        for place in (0, 2, 4):
            executor, culprit = _made(make_executor), TRAINERS[place]
            reply = executor.execute(_ask(inputs=_told({culprit: act})))
            told = f"after {act!r} by client {place + 1} of 5"
            outcome = reply.outcomes[culprit]
            _same(str(outcome.status), fate, f"the outcome of {act!r} is {fate}")
            require(bool(outcome.why), "an outcome that does not count says why", told)
            if act == "raise":
                said = "RuntimeError" in outcome.why
                require(said, "the outcome of a work that raised names its error", f"it says {outcome.why!r}")
            others = [client for client in TRAINERS if client != culprit]
            counted = [client for client in TRAINERS if reply.outcomes[client].status is Status.UPDATED]
            _same(counted, others, f"a client's mistake does not touch the others ({told})")
            _same(sorted(_reports(reply)), sorted(others), f"only updates that count reach the aggregate ({told})")
            _same(reply.metrics.numbers(), {"visits": 4.0}, f"only metrics that count are merged ({told})")
            _same(
                tuple(executor.population().ids), _data().clients, f"a client that failed may be asked again ({told})"
            )


def _private_state(make_executor: MakeExecutor) -> None:
    for act in FATES:
        executor, culprit = _made(make_executor), TRAINERS[1]
        visits = []
        for round_, told in enumerate(["", "", act, "", act, act, ""], 1):
            inputs = _told({culprit: told}) if told else {}
            reply = executor.execute(_ask(round=round_, version=round_ - 1, inputs=inputs))
            if not told:
                reports = _reports(reply)
                visits.append((_number(reports[culprit], "visits"), _number(reports["echo"], "visits")))
        law = "private state is kept when the update counted, and rolled back when it did not"
        _same(visits, [(0, 0), (1, 1), (2, 3), (3, 6)], f"{law} ({act!r})")
    fresh = _reports(_made(make_executor).execute(_ask()))
    _same({_number(each, "visits") for each in fresh.values()}, {0.0}, "a fresh executor keeps no private state")


def _several_failures(make_executor: MakeExecutor) -> None:
    reply = _made(make_executor).execute(_ask(inputs=_told(dict.fromkeys(TRAINERS, "raise"))))
    statuses = [outcome.status for outcome in reply.outcomes.values()]
    _same(statuses, [Status.FAILED] * len(TRAINERS), "an ask of which every client fails still has a reply")
    _same(reply.aggregate, {}, "without an update there is no aggregate")
    _same(len(reply.metrics), 0, "without an update there are no metrics")


def _no_aggregate(make_executor: MakeExecutor) -> None:
    executor, law = _made(make_executor), "updates without an aggregate are a reply that says so, and no error"
    try:
        reply = executor.execute(_ask(rule=WeightedMean(), inputs=_told(dict.fromkeys(TRAINERS, "no weight"))))
    except AggregationError as problem:
        raise AssertionError(f"broken law: {law}; it raised {problem!r}") from problem
    require(isinstance(reply.failure, AggregationError), law, f"failure is {reply.failure!r}")
    _same(reply.aggregate, {}, "a reply with a failure has no aggregate")
    _same(list(reply.outcomes), list(TRAINERS), "a reply with a failure tells of every client")
    _same(executor.execute(_ask(round=2)).failure, None, "a failure is that of its own ask only")


def _form(make_executor: MakeExecutor) -> None:
    """The mean takes the first update for the norm, unless the ask says what is right."""
    for act in ("shape", "dtype", "leaves"):
        inputs = _told({TRAINERS[0]: act})
        reply = _made(make_executor).execute(_ask(rule=WeightedMean(), form=REPORT, inputs=inputs))
        statuses = [str(outcome.status) for outcome in reply.outcomes.values()]
        law = f"an update that has not the ask's form is rejected, whoever comes first ({act!r})"
        _same(statuses, ["rejected", *["updated"] * (len(TRAINERS) - 1)], law)


def _asynchrony(make_executor: MakeExecutor) -> None:
    executor, everyone = _made(make_executor), _data().clients
    first = executor.execute(_ask(value=1.0, closing=Closing.first(2)))
    answered = [client for client, outcome in first.outcomes.items() if outcome.status is Status.UPDATED]
    _same(len(first.outcomes), 2, "an ask that closes on its first 2 tells of 2 clients")
    _same(sorted(_reports(first)), sorted(answered), "an ask that closes on its first 2 aggregates 2 updates")
    waiting = [client for client in TRAINERS if client not in answered]
    free = tuple(client for client in everyone if client not in waiting)
    _same(tuple(executor.population().ids), free, "clients in flight are not in the population")

    between = executor.execute(_ask(answered, 9.0, work="other", version=1))
    _same(list(between.outcomes), answered, "an ask of another work does not take the updates in flight")
    _same(sorted(_reports(between)), sorted(answered), "an ask of another work aggregates its own updates only")
    _same(tuple(executor.population().ids), free, "an ask of another work leaves the others in flight")

    last = executor.execute(_ask(answered, 2.0, round=2, version=3, closing=Closing.first(5)))
    reports = _reports(last)
    _same(sorted(last.outcomes), sorted(TRAINERS), "updates in flight count in the next ask of the same work")
    _same(sorted(reports), sorted(TRAINERS), "updates in flight are aggregated by the next ask of the same work")
    for client, report in reports.items():
        late = client in waiting
        who = f"client {client!r}, {'in flight' if late else 'asked anew'}"
        law = "staleness is the number of model updates since the update's own broadcast"
        _same(_number(report, "staleness"), 3.0 if late else 0.0, f"{law} ({who})")
        law = "an update is computed from the broadcast that its client was given"
        _same(report["value"].tolist(), [1.0 if late else 2.0] * 3, f"{law} ({who})")
        _same(_number(report, "round"), 1.0 if late else 2.0, f"an update belongs to the round of its own ask ({who})")
        _same(_number(report, "visits"), 0.0 if late else 2.0, f"private state is kept across asks in flight ({who})")
        _same(_digest(report), _key(client, 1 if late else 2), f"a key belongs to the round of its own ask ({who})")
    _same(tuple(executor.population().ids), everyone, "a client that answered may be asked again")


def _failures_do_not_close(make_executor: MakeExecutor) -> None:
    executor = _made(make_executor)
    inputs = _told({TRAINERS[0]: "raise", TRAINERS[1]: "nan"})
    reply = executor.execute(_ask(closing=Closing.first(3), inputs=inputs))
    updated = [client for client, outcome in reply.outcomes.items() if outcome.status is Status.UPDATED]
    _same(sorted(updated), sorted(TRAINERS[2:]), "clients that fail or are rejected do not count toward the first 3")


def _digest(report: Tree) -> str:
    return report["key"].tobytes().hex()


def _key(client: ClientId, round_: int, work: str = "probe", occurrence: int = 0, seed: int = SEED) -> str:
    return key(seed, "client", client, round_, work, occurrence).digest().hex()


def _keys(make_executor: MakeExecutor) -> None:
    law = "a client's key is key(seed, 'client', client, round, work, occurrence)"
    for seed in (SEED, SEED + 1):
        executor = _made(make_executor, seed)
        visits = [
            ("probe", 1, 0, _ask(value=3.0)),
            ("probe", 1, 1, _ask(TRAINERS[3:1:-1], version=5, settings={"number": 1})),  # the same round once more
            ("other", 1, 0, _ask(work="other")),
            ("probe", 2, 0, _ask(round=2, version=9)),
            ("probe", 2, 1, _ask(TRAINERS[2:3], round=2)),  # rounds never go back, so that only the last is remembered
        ]
        for work, round_, occurrence, ask in visits:
            for client, report in _reports(executor.execute(ask)).items():
                expected = _key(client, round_, work, occurrence, seed)
                _same(
                    _digest(report),
                    expected,
                    f"{law} (client {client!r}, {work!r}, round {round_}, visit {occurrence})",
                )


def _repeatable(make_executor: MakeExecutor) -> None:
    def script() -> list[Reply]:
        executor = _made(make_executor)
        acts = _told({"echo": "nan", "bravo": "raise"})
        replies = [
            executor.execute(_ask(inputs=acts)),
            executor.execute(_ask(value=0.5, round=2, closing=Closing.first(2))),
        ]
        free = [client for client in executor.population().ids if client in TRAINERS]
        return [*replies, executor.execute(_ask(free, 0.7, round=3, version=2, closing=Closing.first(5)))]

    for one, other in zip(script(), script(), strict=True):
        law = "the same asks give the same reply, bit for bit"
        _same(list(other.outcomes.items()), list(one.outcomes.items()), law)
        _same(unlike_bits(other.aggregate, one.aggregate), "", law)
        _same(other.metrics, one.metrics, law)
