"""FedBuff and FedAsync against the papers' algorithms, written out in NumPy, over the same arrivals."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from hansa.algorithms.fedasync import FedAsync
from hansa.algorithms.fedbuff import FedBuff
from hansa.core.ask import Ask, Outcome, Reply, Status
from hansa.core.gather import Gathered
from hansa.core.history import History
from hansa.core.keys import key
from hansa.core.loop import Progress, Step, steps
from hansa.core.population import Population
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update, Work
from hansa.rules.staleness import Constant, Hinge, Polynomial, Staleness
from hansa.training import SGD

SEED = 7
CLIENTS = tuple(f"c{number:02}" for number in range(12))
SLOW = {"c03": 6.0, "c08": 4.0}
ROWS = {client: key(SEED, "rows", client).generator().standard_normal((20, 5)) for client in CLIENTS}
START = {"w": np.array([3.0, -2.0, 1.0, 0.5])}


def took(client: str, visit: int) -> float:
    """Seconds of a client's visit: the seeded trace of arrivals."""
    drawn = key(SEED, "took", client, visit).generator().lognormal(0.0, 0.4)
    return float(drawn) * SLOW.get(client, 1.0)


def trained(w: np.ndarray[Any, np.dtype[np.float64]], client: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Three gradient steps on a client's least squares."""
    x, y = ROWS[client][:, :4], ROWS[client][:, 4]
    for _ in range(3):
        w = w - 0.1 * x.T @ (x @ w - y) / len(y)
    return w


@dataclass(frozen=True)
class Least:
    """The same as a work."""

    buffers: frozenset[str] = frozenset()

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        return Update({"w": trained(broadcast["w"], context.id) - broadcast["w"]}, 1.0 + CLIENTS.index(context.id))


class Trace:
    """An executor in which clients answer as the trace says."""

    def __init__(self, works: Mapping[str, Work]) -> None:
        self.works, self.now, self.asked = works, 0.0, 0
        self.flying: list[tuple[float, str, int, Update]] = []
        self.visits = dict.fromkeys(CLIENTS, 0)

    def population(self) -> Population:
        busy = {client for _, client, _, _ in self.flying}
        free = tuple(client for client in CLIENTS if client not in busy)
        work = next(iter(self.works))
        return Population(free, {"train": dict.fromkeys(CLIENTS, 1)}, {work: len(busy)} if busy else {})

    def execute(self, ask: Ask) -> Reply:
        for client in ask.cohort:
            update = self.works[ask.work](ask.broadcast, ClientContext(client, {}, ask.round))
            seconds, self.visits[client] = took(client, self.visits[client]), self.visits[client] + 1
            heapq.heappush(self.flying, (self.now + seconds, client, ask.version, update))
            self.asked += 1
        gathered = Gathered(ask)
        while self.flying and not gathered.closed:
            self.now, client, version, update = heapq.heappop(self.flying)
            stale = ask.version - version
            counts = Outcome(Status.UPDATED, "", update.weight, update.metrics, stale)
            gathered.add(client, counts, replace(update, client=client, staleness=stale))
        return gathered.reply()


def followed(algorithm: Any) -> tuple[list[Step], Trace]:
    executor = Trace(algorithm.works)
    begun = Progress.begin(algorithm, History(model=START, seed=SEED))
    return list(steps(algorithm, executor, begun, lambda: executor.now)), executor


def by_hand(
    rounds: int, goal: int, concurrency: int, move: Callable[[Any, list[tuple[Any, Any, int, str]]], Any]
) -> tuple[Any, int]:
    """Algorithm 1 of both papers: `move` makes of today's x, and of (base, change, staleness, client) of each, the next x.

    Returns the last x, and the largest staleness.
    """
    x, now, oldest = START["w"].copy(), 0.0, 0
    visits = dict.fromkeys(CLIENTS, 0)
    at_work: dict[str, tuple[float, int, Any]] = {}
    for t in range(rounds):
        free = [client for client in CLIENTS if client not in at_work]
        missing = min(concurrency - len(at_work), len(free))
        if missing:
            drawn = key(SEED, "cohort", t + 1).generator().choice(len(free), missing, replace=False)
            for client in [free[place] for place in drawn]:
                at_work[client] = now + took(client, visits[client]), t, x
                visits[client] += 1
        buffer = []
        for _ in range(goal):
            client = min(at_work, key=lambda each: at_work[each][0])
            now, version, base = at_work.pop(client)
            buffer.append((base, trained(base, client) - base, t - version, client))
        oldest = max(oldest, *(stale for _, _, stale, _ in buffer))
        x = move(x, buffer)
    return x, oldest


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_fedbuff_computes_what_the_paper_s_algorithm_does(weighted: bool, momentum: float) -> None:
    velocity = np.zeros(4)

    def move(x: Any, buffer: list[tuple[Any, Any, int, str]]) -> Any:
        nonlocal velocity
        weights = [1 + CLIENTS.index(client) if weighted else 1 for *_, client in buffer]
        pairs = zip(weights, buffer, strict=True)
        mean = sum(n * change / math.sqrt(1 + stale) for n, (_, change, stale, _) in pairs) / sum(weights)
        velocity = momentum * velocity + mean
        return x + 0.7 * velocity

    expected, oldest = by_hand(60, 3, 9, move)
    server = SGD(0.7, momentum=momentum)
    done, executor = followed(FedBuff(Least(), 60, goal=3, concurrency=9, server=server, weighted=weighted))
    assert len(done) == 60
    assert np.allclose(done[-1].history.model["w"], expected, rtol=1e-12, atol=1e-14)
    staleness = [outcome.staleness for step in done for outcome in step.reply.outcomes.values()]
    assert max(staleness) == oldest >= 6
    assert executor.visits["c03"] < executor.visits["c00"]


STALENESS = [(Constant(), "constant"), (Hinge(0.5, 2), "hinge"), (Polynomial(0.5), "polynomial")]
WRITTEN: dict[str, Callable[[int], float]] = {
    "constant": lambda stale: 1.0,
    "hinge": lambda stale: 1.0 if stale <= 2 else 1 / (0.5 * (stale - 2) + 1),
    "polynomial": lambda stale: (stale + 1) ** -0.5,
}


@pytest.mark.parametrize(("staleness", "name"), STALENESS, ids=[name for _, name in STALENESS])
def test_fedasync_computes_what_the_paper_s_algorithm_does(staleness: Staleness, name: str) -> None:
    def move(x: Any, buffer: list[tuple[Any, Any, int, str]]) -> Any:
        [(base, change, stale, _)] = buffer
        alpha = 0.6 * WRITTEN[name](stale)
        return (1 - alpha) * x + alpha * (base + change)

    expected, oldest = by_hand(80, 1, 6, move)
    done, _ = followed(FedAsync(Least(), 80, concurrency=6, mixing=0.6, staleness=staleness))
    assert np.allclose(done[-1].history.model["w"], expected, rtol=1e-12, atol=1e-14)
    assert [len(step.reply.outcomes) for step in done] == [1] * 80
    assert oldest >= 6


def test_every_update_counts_once_and_nobody_is_asked_twice_at_a_time() -> None:
    done, executor = followed(FedBuff(Least(), 50, goal=3, concurrency=9))
    counted = sum(len(step.reply.outcomes) for step in done)
    assert counted == 50 * 3
    assert executor.asked == counted + len(executor.flying)
    assert [len(step.ask.cohort) for step in done] == [9] + [3] * 49
    at_work: set[str] = set()
    for step in done:
        assert at_work.isdisjoint(step.ask.cohort)
        at_work = (at_work | set(step.ask.cohort)) - set(step.reply.outcomes)


def test_what_is_too_stale_is_refused_and_another_takes_its_place() -> None:
    done, _ = followed(FedBuff(Least(), 50, goal=3, concurrency=9, max_staleness=4))
    refused = [
        outcome
        for step in done
        for outcome in step.reply.outcomes.values()
        if outcome.status is Status.REJECTED and outcome.staleness == 6
    ]
    assert refused
    assert {outcome.why for outcome in refused} == {
        "its update is 6 model updates behind, and at most 4 are allowed",
    }
    for step in done:
        counted = [each for each in step.reply.outcomes.values() if each.status is Status.UPDATED]
        assert len(counted) == 3
        assert all(each.staleness <= 4 for each in counted)
    unlimited, _ = followed(FedBuff(Least(), 50, goal=3, concurrency=9))
    assert not np.array_equal(done[-1].history.model["w"], unlimited[-1].history.model["w"])


def test_fresh_updates_weigh_one_and_equally_stale_ones_make_a_smaller_step() -> None:
    algorithm = FedBuff(Least(), 9, goal=2, concurrency=2)
    state = algorithm.start(START, SEED)
    ask = algorithm.ask(state, Population(("c00", "c01"), {"train": {"c00": 1, "c01": 1}}))
    assert ask is not None
    changes = [Least()(START, ClientContext(client, {})).tree["w"] for client in ("c00", "c01")]

    def moved(staleness: int) -> Any:
        gathered = Gathered(ask)
        for client, change in zip(("c00", "c01"), changes, strict=True):
            update = Update({"w": change}, client=client, staleness=staleness)
            gathered.add(client, Outcome(Status.UPDATED, staleness=staleness), update)
        return algorithm.tell(state, gathered.reply()).params["w"] - START["w"]

    mean = (changes[0] + changes[1]) / 2
    assert np.allclose(moved(0), mean, rtol=1e-14)
    assert np.allclose(moved(3), mean / 2, rtol=1e-14), "all equally old: the step is half as long, not the same"
