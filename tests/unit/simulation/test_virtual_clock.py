"""The virtual clock: how long a visit takes, who is there, when an ask closes, and what is never computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from hansa.core.ask import Ask, Closing, Input, Outcome, Reply
from hansa.core.ids import Numbered
from hansa.core.keys import Key, key
from hansa.core.population import LazySizes
from hansa.core.sampling import UniformSampler
from hansa.core.status import Status
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update, visit_key
from hansa.data import ClientDataset, FederatedData
from hansa.data.stores.generated import Generated
from hansa.errors import ConfigError, UnknownName
from hansa.experiment.snapshot import freeze, thaw
from hansa.rules import WeightedMean
from hansa.simulation import SequentialExecutor
from hansa.simulation.availability import Always, Diurnal, Trace
from hansa.simulation.clock import VirtualClock
from hansa.simulation.devices import LogNormal, Network, Speeds
from hansa.simulation.visits import MISSED

SEED = 5
MODEL: Tree = {"w": np.zeros(250, np.float32)}
BYTES = 1000
"""Of a model."""


def held(count: int) -> ClientDataset:
    return ClientDataset({"x": np.zeros((count, 1), np.float32)})


DATA = FederatedData({"a": held(1), "b": held(2), "c": held(3), "d": held(4)}, {"evaluator": held(9)})


class Recorded:
    """A work that remembers whom it computed, and fails the first so many times for some."""

    def __init__(self, failures: Mapping[str, int] | None = None) -> None:
        self.computed: list[str] = []
        self.left = dict(failures or {})

    def __call__(self, given: Tree, context: ClientContext) -> Update:
        self.computed.append(context.id)
        if self.left.get(context.id, 0) > 0:
            self.left[context.id] -= 1
            raise OSError("the disk is asleep")
        return Update({"w": given["w"] + 1})


def executor(
    clock: VirtualClock | None, work: Any = None, data: FederatedData = DATA, seed: int = SEED
) -> SequentialExecutor:
    return SequentialExecutor({"train": work or Recorded(), "other": Recorded()}, data, seed, clock=clock)


def ask(cohort: str = "abcd", closing: Closing | None = None, round_: int = 1, **more: Any) -> Ask:
    arguments: dict[str, Any] = {"work": "train", "form": MODEL, "closing": closing or Closing.all(), **more}
    names = tuple(cohort.split()) if " " in cohort else tuple(cohort)
    return Ask(broadcast=MODEL, cohort=names, rule=WeightedMean(), round=round_, version=round_ - 1, **arguments)


def fates(reply: Reply) -> dict[str, str]:
    return {client: outcome.why or outcome.status.value for client, outcome in reply.outcomes.items()}


def after(seconds: Mapping[str, float], closing: Closing, **more: Any) -> tuple[float, dict[str, str], list[str]]:
    """(virtual seconds of one ask, what became of whom in order, who was computed)."""
    work = Recorded(more.pop("failures", None))
    executed = executor(VirtualClock(compute=seconds, **more), work)
    reply = executed.execute(ask(closing=closing))
    return executed.seconds(), fates(reply), work.computed


SLOWER = {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}


# --- when an ask closes


def test_all_wait_for_the_slowest_and_count_as_they_come() -> None:
    assert after(SLOWER, Closing.all()) == (4.0, dict.fromkeys("dcba", "updated"), ["d", "c", "b", "a"])


def test_those_that_come_at_once_are_taken_by_their_names() -> None:
    assert after(dict.fromkeys("dcba", 2.0), Closing.all())[1:] == (dict.fromkeys("abcd", "updated"), list("abcd"))


@pytest.mark.parametrize(
    ("closing", "ends", "counted"),
    [
        (Closing.quorum(2, 3.0), 3.0, "dcb"),  # at the very end of the deadline is in time
        (Closing.quorum(2, 2.5), 2.5, "dc"),
        (Closing.quorum(3, 1.5), 3.0, "dcb"),  # the deadline has passed: it closes with the third
        (Closing.quorum(2, 99.0), 4.0, "dcba"),  # everyone has answered
        (Closing.quorum(2), 4.0, "dcba"),
        (Closing.quorum(1, grace=2.5), 3.5, "dcb"),
        (Closing.quorum(1, grace=2.0), 3.0, "dcb"),
        (Closing.quorum(2, grace=0.0), 2.0, "dc"),
        (Closing.quorum(1, 1.25, grace=2.0), 1.25, "d"),
        (Closing.quorum(1, 3.5, grace=0.5), 1.5, "d"),
        (Closing.quorum(4, 1.0, grace=0.5), 4.0, "dcba"),
        (Closing.first(3), 3.0, "dcb"),
    ],
)
def test_an_ask_closes_as_its_closing_says_and_computes_nobody_in_vain(
    closing: Closing, ends: float, counted: str
) -> None:
    missed = {} if closing.kind == "first" else {each: MISSED for each in "dcba" if each not in counted}
    now, outcomes, computed = after(SLOWER, closing)
    assert (now, outcomes, computed) == (ends, dict.fromkeys(counted, "updated") | missed, list(counted))


def test_two_that_come_at_the_end_of_a_deadline_are_both_in_time() -> None:
    now, outcomes, _ = after({"a": 2.0, "b": 2.0, "c": 3.0, "d": 4.0}, Closing.quorum(1, 2.0, grace=1.0))
    assert (now, outcomes) == (2.0, {"a": "updated", "b": "updated", "c": MISSED, "d": MISSED})


def test_whoever_is_not_waited_for_is_free_again() -> None:
    executed = executor(VirtualClock(compute=SLOWER))
    executed.execute(ask(closing=Closing.quorum(1, grace=0.0)))
    assert tuple(executed.population().ids) == DATA.clients
    reply = executed.execute(ask("a", round_=2))
    assert (fates(reply), executed.seconds()) == ({"a": "updated"}, 5.0)


def test_the_first_leave_the_others_at_work_from_the_model_that_they_were_given() -> None:
    executed = executor(VirtualClock(compute=SLOWER))
    first = executed.execute(ask(closing=Closing.first(2)))
    assert (list(first.outcomes), executed.seconds()) == (["d", "c"], 2.0)
    assert executed.population().in_flight == {"train": 2}
    assert list(executed.population().ids) == ["c", "d", "evaluator"]
    second = executed.execute(ask("d", Closing.first(2), round_=2))  # d answers at 3.0, when b does
    assert (list(second.outcomes), executed.seconds()) == (["b", "d"], 3.0)
    assert [outcome.staleness for outcome in second.outcomes.values()] == [1, 0]
    third = executed.execute(ask("", Closing.first(1), round_=3))  # nobody new
    assert (fates(third), executed.seconds(), third.outcomes["a"].staleness) == ({"a": "updated"}, 4.0, 2)
    assert executed.population().in_flight == {}


def test_time_that_another_work_takes_passes_for_those_at_work_too() -> None:
    executed = executor(VirtualClock(compute=SLOWER))
    executed.execute(ask(closing=Closing.first(1)))
    executed.execute(ask("d", work="other"))
    assert executed.seconds() == 2.0
    executed.execute(ask("d", work="other"))
    executed.execute(ask("d", work="other"))
    assert executed.seconds() == 4.0
    assert list(executed.execute(ask("", Closing.first(3), round_=2)).outcomes) == ["c", "b", "a"]
    assert executed.seconds() == 4.0, "they had answered before anybody listened"


def test_patience_gives_the_place_of_a_slow_client_to_another() -> None:
    executed = executor(VirtualClock(compute=SLOWER))
    closing = Closing.first(2, patience=2.5)
    assert list(executed.execute(ask(closing=closing)).outcomes) == ["d", "c"]
    reply = executed.execute(ask("c", Closing.first(1, patience=2.5), round_=2))
    assert fates(reply) == {
        "a": "it did not answer within 2.5 s",
        "b": "it did not answer within 2.5 s",
        "c": "updated",
    }
    assert executed.seconds() == 4.0
    assert reply.outcomes["a"].status is Status.DROPPED
    assert after(dict.fromkeys("abcd", 2.5), closing)[0] == 2.5, "at the last moment is in time"


# --- trying again


def test_whoever_tries_again_takes_its_time_again() -> None:
    now, outcomes, computed = after(SLOWER, Closing.all(retries=2), failures={"d": 2})
    assert (now, list(outcomes), computed) == (4.0, list("cbda"), list("dcdbda"))


def test_whoever_never_succeeds_says_how_often_it_tried() -> None:
    now, outcomes, _ = after(SLOWER, Closing.quorum(3, retries=1), failures={"a": 9})
    assert (now, outcomes["a"]) == (8.0, "OSError: the disk is asleep, after 2 attempts")
    assert after(SLOWER, Closing.quorum(3), failures={"a": 9})[1]["a"] == "OSError: the disk is asleep"


def test_an_attempt_that_comes_too_late_is_not_made() -> None:
    now, outcomes, computed = after(SLOWER, Closing.quorum(2, 3.5, retries=5), failures={"c": 9})
    assert (now, outcomes["c"], computed.count("c")) == (3.5, MISSED, 1)


def test_without_a_clock_it_answers_after_all_others() -> None:
    work = Recorded({"b": 1, "c": 2})
    reply = executor(None, work).execute(ask(closing=Closing.quorum(3, retries=1)))
    assert list(reply.outcomes.items())[:3] == [(each, Outcome(Status.UPDATED, weight=1.0)) for each in "adb"]
    assert reply.outcomes["c"].why == "OSError: the disk is asleep, after 2 attempts"
    assert work.computed == list("abcdbc")


def test_without_a_clock_over_selection_keeps_those_asked_first() -> None:
    work = Recorded()
    reply = executor(None, work).execute(ask(closing=Closing.quorum(2, grace=0.0)))
    assert fates(reply) == {"a": "updated", "b": "updated", "c": MISSED, "d": MISSED}
    assert work.computed == ["a", "b"]
    assert executor(None).execute(ask(closing=Closing.quorum(2, 0.1, grace=0.1))).outcomes.keys() == set("abcd")


# --- speeds and links


def test_a_visit_takes_the_way_there_the_work_and_the_way_back() -> None:
    clock = VirtualClock(compute=2.0, network=Network(down=500.0, up=100.0, latency=0.25))
    executed = executor(clock)
    executed.execute(ask("a"))
    assert executed.seconds() == 0.25 + BYTES / 500 + 2.0 + BYTES / 100
    executed.execute(ask("a", form={"w": MODEL["w"][:25]}, inputs={"a": Input({"more": np.zeros(500)})}, round_=2))
    assert executed.seconds() == pytest.approx(14.25 + 0.25 + (BYTES + 4000) / 500 + 2.0 + 1.0)


def test_bytes_that_were_under_way_are_counted_as_wasted() -> None:
    clock = VirtualClock(compute={"a": 1.0, "b": 6.0, "c": 1e9}, network=Network(up=100.0))
    reply = executor(clock).execute(ask("abc", Closing.quorum(1, grace=0.0)))
    assert fates(reply) == {"a": "updated", "b": MISSED, "c": MISSED}
    assert (reply.down, reply.up, reply.wasted) == (3 * BYTES, BYTES + 500, 500), "b had sent for half its time"


def test_whoever_had_answered_before_anybody_listened_may_be_too_late_for_over_selection() -> None:
    executed = executor(VirtualClock(compute=SLOWER))
    executed.execute(ask(closing=Closing.first(1)))
    for _ in range(4):
        executed.execute(ask("d", work="other"))
    reply = executed.execute(ask("", Closing.quorum(1, grace=0.0), round_=2))
    assert fates(reply) == {"c": "updated", "b": MISSED, "a": MISSED}
    assert (executed.seconds(), reply.up, reply.wasted) == (5.0, 3 * BYTES, 2 * BYTES)


def test_an_instant_client_takes_no_time_and_no_bytes_and_is_always_there() -> None:
    clock = VirtualClock(
        compute=5.0,
        network=Network(latency=1.0),
        availability=Trace({"evaluator": []}),
        dropout=1.0,
        instant=["evaluator"],
    )
    executed = executor(clock)
    assert "evaluator" in executed.population().ids
    reply = executed.execute(ask("evaluator ", work="other"))
    assert (fates(reply), executed.seconds(), reply.down) == ({"evaluator": "updated"}, 0.0, 0)


def test_speeds_are_each_client_s_own_and_the_same_in_every_visit() -> None:
    many = FederatedData({str(number): held(1 + number % 2) for number in range(300)})

    def seconds(compute: Any, client: str, **more: Any) -> float:
        executed = executor(VirtualClock(compute=compute, **more), data=many)
        executed.execute(ask(f"{client} "))
        once = executed.seconds()
        executed.execute(ask(f"{client} ", round_=2))
        assert executed.seconds() == pytest.approx(2 * once)
        return once

    def all_of(speeds: Speeds) -> list[float]:
        executed, now, took = executor(VirtualClock(compute=speeds), data=many), 0.0, []
        for client in many.clients:
            executed.execute(ask(f"{client} "))
            took.append(executed.seconds() - now)
            now = executed.seconds()
        return took

    drawn = np.array(all_of(Speeds(3.0, 0.5)))
    assert np.median(drawn) == pytest.approx(3.0, rel=0.1)
    assert np.log(drawn).std() == pytest.approx(0.5, rel=0.1)
    assert seconds(Speeds(3.0, 0.5), "7") == pytest.approx(drawn[7]) == seconds(LogNormal(3.0, 0.5), "7")
    assert seconds(Speeds(3.0, 0.5), "7", seed=1) != drawn[7]
    slow = np.array(all_of(Speeds(3.0, 0.5, slow=0.1))) / drawn
    assert {round(float(each), 6) for each in slow} == {1.0, 10.0}
    assert (slow > 5).mean() == pytest.approx(0.1, abs=0.04)
    assert seconds(Speeds(2.0, 0.0, per_example=True), "8") == 2.0
    assert seconds(Speeds(2.0, 0.0, per_example=True), "9") == 4.0


def test_a_function_says_how_long_a_visit_takes_by_its_key() -> None:
    asked: list[tuple[str, Key]] = []

    def compute(client: str, visit: Key) -> float:
        asked.append((client, visit))
        return 1.5

    executor(VirtualClock(compute=compute)).execute(ask("cb"))
    assert asked == [(client, visit_key(SEED, client, 1, "train", 0)) for client in "cb"]
    with pytest.raises(ConfigError, match="a number of seconds, 0 or more, not nan") as caught:
        executor(VirtualClock(compute=lambda client, visit: math.nan)).execute(ask("c"))
    assert caught.value.where == "compute, client 'c'"


def test_links_are_drawn_for_each_client() -> None:
    clock = VirtualClock(compute=0.0, network=Network(down=LogNormal(1e3), up=LogNormal(1e4), latency=LogNormal(0.1)))
    times = []
    for client in "abcd":
        executed = executor(clock)
        executed.execute(ask(client))
        times.append(executed.seconds())
    assert len(set(times)) == 4
    assert min(times) > 0


# --- those that come and go


def test_whoever_is_not_there_is_not_asked_and_time_moves_on_to_when_enough_are() -> None:
    times = {"a": [(0.0, 5.0)], "b": [(10.0, 20.0)], "c": [(15.0, 30.0)], "d": [(12.0, 30.0)]}
    executed = executor(VirtualClock(compute=1.0, availability=Trace(times)))
    assert (list(executed.population().ids), executed.seconds()) == (["a", "evaluator"], 0.0)
    executed = executor(VirtualClock(compute=1.0, availability=Trace(times), at_least=2))
    assert (list(executed.population().ids), executed.seconds()) == (["b", "d", "evaluator"], 12.0)
    executed = executor(VirtualClock(compute=1.0, availability=Trace(times), at_least=3))
    assert (list(executed.population().ids), executed.seconds()) == (["b", "c", "d", "evaluator"], 15.0)
    executed = executor(VirtualClock(compute=1.0, availability=Trace(times), at_least=4))
    assert executed.seconds() == 0.0
    assert (list(executed.population().ids), executed.seconds()) == (["a", "evaluator"], 0.0), "they never are"


def test_whoever_waits_for_more_than_ever_are_there_does_not_wait_for_ever() -> None:
    executed = executor(
        VirtualClock(availability=Diurnal(10.0, 0.01, {"a": 0.0, "b": 0.3, "c": 0.5, "d": 0.7}), at_least=2)
    )
    assert (list(executed.population().holding("train").ids), executed.seconds()) == (["a"], 0.0)


def test_those_at_work_count_as_being_there() -> None:
    times = {"a": [(0.0, 50.0)], "b": [(0.0, 50.0)], "c": [(40.0, 60.0)], "d": [(40.0, 60.0)]}
    executed = executor(VirtualClock(compute={"a": 1.0, "b": 20.0}, availability=Trace(times), at_least=2))
    executed.execute(ask("ab", Closing.first(1)))
    assert (list(executed.population().ids), executed.seconds()) == (["a", "evaluator"], 1.0)


def test_whoever_goes_away_while_at_work_is_dropped_then_and_never_computed() -> None:
    work = Recorded()
    times = {"a": [(0.0, 2.5), (3.0, 99.0)], "b": [(0.0, 3.0)]}
    executed = executor(VirtualClock(compute=3.0, availability=Trace(times)), work)
    reply = executed.execute(ask("abc", Closing.quorum(1)))
    assert fates(reply) == {"a": "it went away", "b": "updated", "c": "updated"}
    assert reply.outcomes["a"].status is Status.DROPPED
    assert (work.computed, executed.seconds()) == (["b", "c"], 3.0)


def test_a_dropout_goes_at_some_moment_of_its_visit() -> None:
    reply = (executed := executor(VirtualClock(compute=SLOWER, dropout=1.0))).execute(ask(closing=Closing.quorum(1)))
    assert set(fates(reply).values()) == {"it went away"}
    assert 0 < executed.seconds() < 4
    many = FederatedData({str(number): held(1) for number in range(1000)})
    reply = executor(VirtualClock(dropout=0.2), data=many).execute(ask(" ".join(many.clients)))
    assert sum(outcome.status is Status.DROPPED for outcome in reply.outcomes.values()) == pytest.approx(200, abs=40)


def test_by_day_a_client_is_there_for_its_share_and_the_hours_are_spread() -> None:
    ids = tuple(map(str, range(500)))
    presence = Diurnal(period=24.0, share=0.25).among(ids, 3)
    hours = np.array([[each in set(presence.ids(hour)) for each in ids] for hour in np.arange(0.05, 24, 0.25)])
    assert hours.mean(axis=0) == pytest.approx(0.25, abs=0.02)
    assert hours.mean(axis=1) == pytest.approx(0.25, abs=0.06)
    here = presence.ids(5.0)[0]
    end = presence.until(here, 5.0)
    assert here in presence.ids(end - 1e-6)
    assert here not in presence.ids(end + 1e-6)
    assert presence.until(here, end + 1e-6) == end + 1e-6, "it is not there"
    own = Diurnal(period=24.0, share=0.25, phases={"7": 0.5}).among(ids, 3)
    assert ("7" in own.ids(11.9), "7" in own.ids(12.1)) == (False, True)
    assert own.until("7", 12.1) == pytest.approx(18.0)
    few = Diurnal(period=24.0, share=0.25, phases={"7": 0.5, "8": 0.75}).among(("7", "8"), 3)
    assert few.next(0.0) == pytest.approx(12.0)
    assert few.next(12.5) == pytest.approx(18.0)
    assert few.next(18.5) == pytest.approx(36.0)
    assert Diurnal(share=1.0).among(ids, 0).next(0.0) == math.inf
    assert Always().among(ids, 0).ids(1e9) is ids


class Unlisted(Numbered):
    """Ten million ids that nobody may list."""

    __slots__ = ()

    def __iter__(self) -> Any:
        raise AssertionError("somebody lists ten million clients")


@pytest.mark.parametrize("more", [{}, {"instant": ["evaluator"]}])
def test_a_population_that_nobody_lists_comes_and_goes_as_well(more: dict[str, Any]) -> None:
    ids = Unlisted(10_000_000)
    store = Generated(lambda client: {"x": np.zeros((3, 1), np.float32)}, ids)
    data = FederatedData(store, {"evaluator": held(9)} if more else None)
    clock = VirtualClock(availability=Diurnal(share=0.25), at_least=1000, **more)
    executed = executor(clock, data=data)
    for round_ in range(1, 20):
        population = executed.population().holding("train")
        assert len(population) == pytest.approx(2_500_000, rel=0.02)
        assert isinstance(population.examples["train"], LazySizes)
        cohort = UniformSampler(3).sample(population, key(0, round_))
        reply = executed.execute(ask(" ".join(cohort), Closing.first(1), round_))
        assert len(reply.outcomes) >= 1
    assert executed.seconds() < 100


# --- going on from somewhere


def test_an_executor_goes_on_from_where_another_stood_through_a_file() -> None:
    clock = VirtualClock(
        compute=Speeds(slow=0.5), network=Network(up=1e3), availability=Diurnal(10.0, 0.6), dropout=0.2, at_least=2
    )

    def rounds(executed: SequentialExecutor, numbers: range) -> list[tuple[float, Any]]:
        told = []
        for number in numbers:
            population = executed.population().holding("train")
            closing = Closing.first(1, patience=9.0) if number % 3 else Closing.quorum(1, 4.0, grace=1.0)
            cohort = " ".join(["", *population.ids])
            reply = executed.execute(ask(cohort, closing, number))
            told.append((executed.seconds(), list(reply.outcomes.items())))
        return told

    whole = rounds(executor(clock), range(1, 30))
    first = executor(clock)
    begun = rounds(first, range(1, 11))
    assert first.state.in_flight["train"], "somebody is at work"
    snapshot = freeze(first.state)
    second = executor(clock)
    second.restore(thaw(snapshot.document, snapshot.trees))
    assert begun + rounds(second, range(11, 30)) == whole


def test_what_was_in_flight_without_a_clock_arrives_at_once() -> None:
    first = executor(None)
    first.execute(ask(closing=Closing.first(1)))
    second = executor(VirtualClock(compute=3.0))
    second.restore(first.state)
    assert list(second.execute(ask("a", Closing.first(3), 2)).outcomes) == ["b", "c", "d"]
    assert second.seconds() == 0.0


@pytest.mark.parametrize("clock", [None, VirtualClock(compute=SLOWER)], ids=["no clock", "virtual clock"])
@pytest.mark.parametrize("closing", [Closing.all(), Closing.first(3)], ids=["all", "first"])
def test_an_ask_that_was_interrupted_is_asked_again_with_the_same_keys(
    clock: VirtualClock | None, closing: Closing
) -> None:
    keys: list[tuple[str, Key]] = []
    interrupted: list[str] = []

    def work(given: Tree, context: ClientContext) -> Update:
        if context.id == "c" and not interrupted:
            interrupted.append(context.id)
            raise KeyboardInterrupt
        keys.append((context.id, context.key))
        return Update({"w": given["w"]})

    executed = executor(clock, work)
    began = executed.seconds()
    with pytest.raises(KeyboardInterrupt):
        executed.execute(ask(closing=closing))
    assert executed.population().in_flight == {}
    assert clock is None or executed.seconds() == began
    keys.clear()
    reply = executed.execute(ask(closing=closing))
    assert list(reply.outcomes) == [client for client, _ in keys]
    assert keys == [(client, visit_key(SEED, client, 1, "train", 0)) for client, _ in keys]


# --- what makes no sense


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: VirtualClock(compute=-1.0), "a visit takes a number of seconds, 0 or more, not -1.0"),
        (lambda: VirtualClock(compute={"a": math.nan}), "a visit takes a number of seconds, 0 or more, not nan"),
        (lambda: VirtualClock(compute="fast"), "compute says how many seconds a visit takes, and 'fast' does not"),  # type: ignore[arg-type]
        (lambda: VirtualClock(dropout=1.5), r"the probability of a dropout lies in \[0, 1\], not 1.5"),
        (lambda: VirtualClock(at_least=-1), "at_least is a number of clients, 0 or more, not -1"),
        (lambda: VirtualClock(instant="evaluator"), "instant names clients, and 'evaluator' is one text"),
        (lambda: Speeds(0.0), "the median of a log-normal distribution is a positive number, not 0.0"),
        (lambda: Speeds(sigma=-1.0), "the sigma of a log-normal distribution is 0 or more, not -1.0"),
        (lambda: Speeds(slow=2.0), r"the share of slow clients lies in \[0, 1\], not 2.0"),
        (lambda: Speeds(factor=0.0), "the factor of slow clients is a positive number, not 0.0"),
        (lambda: Network(up=0.0), "a link's up is a positive number of bytes a second, not 0.0"),
        (lambda: Network(latency=-0.1), "a link's latency is a number of seconds, 0 or more, not -0.1"),
        (lambda: Diurnal(period=0.0), "a day's period is a positive number of seconds, not 0.0"),
        (lambda: Diurnal(share=0.0), r"the share of a day that clients are there lies in \(0, 1\], not 0.0"),
        (lambda: Diurnal(phases={"a": 1.0}), r"a phase is a share of the day in \[0, 1\), not 1.0"),
        (lambda: Trace({"a": [(1.0, 3.0), (2.0, 4.0)]}), r"pairs \(from, to\) in order that do not overlap"),
        (lambda: Trace({"a": [(1.0, 1.0)]}), r"pairs \(from, to\) in order that do not overlap"),
        (lambda: executor(VirtualClock(at_least=5)), "waits until 5 clients are there, and only 4 have training data"),
        (
            lambda: Diurnal(phases={"1": 0.5}).among(Numbered(5), 0),
            "the phases of single clients are given, and nobody lists the 5 clients",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


def test_a_trace_of_speeds_must_know_who_is_asked() -> None:
    executed = executor(VirtualClock(compute={"a": 1.0}))
    with pytest.raises(UnknownName, match="client in the clock's compute 'd'"):
        executed.execute(ask("ad"))
    assert list(executed.execute(ask("a")).outcomes) == ["a"]
