"""The kit of executors rejects an executor for each law that it could break.

The broken ones are made of the sequential executor by what goes in and comes out, so that its insides may change.
"""

# ruff: noqa: ARG002 - signatures are the port's, whatever a broken one makes of them

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from hansa.core.ask import Ask, Closing, Reply, Status
from hansa.core.keys import key
from hansa.core.metrics import Metrics
from hansa.core.population import Population
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update, Work
from hansa.data import FederatedData
from hansa.simulation import SequentialExecutor
from hansa.testing import check_executor


class Wrapped:
    """A sequential executor whose works, asks and replies a subclass changes."""

    def __init__(self, works: Mapping[str, Work], data: FederatedData, seed: int) -> None:
        self.seed = seed
        self.inner = SequentialExecutor({name: self.work(work) for name, work in works.items()}, data, seed)

    def population(self) -> Population:
        return self.inner.population()

    def execute(self, ask: Ask) -> Reply:
        return self.reply(ask, self.inner.execute(self.ask(ask)))

    def work(self, work: Work) -> Work:
        return work

    def ask(self, ask: Ask) -> Ask:
        return ask

    def reply(self, ask: Ask, reply: Reply) -> Reply:
        return reply


class Everyone(Wrapped):
    """Offers clients that are in flight."""

    def __init__(self, works: Mapping[str, Work], data: FederatedData, seed: int) -> None:
        super().__init__(works, data, seed)
        self.everyone = self.inner.population()

    def population(self) -> Population:
        return self.everyone


class Sorted(Wrapped):
    def population(self) -> Population:
        population = super().population()
        return Population(sorted(population.ids), population.examples)


class Sizeless(Wrapped):
    def population(self) -> Population:
        return Population(super().population().ids, {"train": {}})


class Unordered(Wrapped):
    def reply(self, ask: Ask, reply: Reply) -> Reply:
        return replace(reply, outcomes=dict(sorted(reply.outcomes.items())))


class Nameless(Wrapped):
    def reply(self, ask: Ask, reply: Reply) -> Reply:
        return replace(reply, work="")


class Fragile(Wrapped):
    """Lets a client's error through."""

    def reply(self, ask: Ask, reply: Reply) -> Reply:
        if any(outcome.status is Status.FAILED for outcome in reply.outcomes.values()):
            raise AssertionError("a client raised, and that stopped the others")
        return reply


class RaisesWithoutAnAggregate(Wrapped):
    def reply(self, ask: Ask, reply: Reply) -> Reply:
        if reply.failure:
            raise reply.failure
        return reply


class SilentWithoutAnAggregate(Wrapped):
    def reply(self, ask: Ask, reply: Reply) -> Reply:
        return replace(reply, failure=None)


class Silent(Wrapped):
    def reply(self, ask: Ask, reply: Reply) -> Reply:
        return replace(reply, outcomes={client: replace(each, why="") for client, each in reply.outcomes.items()})


class CountsRejectedMetrics(Wrapped):
    def reply(self, ask: Ask, reply: Reply) -> Reply:
        merged = Metrics()
        for outcome in reply.outcomes.values():
            merged = merged.merge(outcome.metrics)
        return replace(reply, metrics=merged)


class InputsIgnored(Wrapped):
    def ask(self, ask: Ask) -> Ask:
        settings = {client: replace(given, tree={}) for client, given in ask.inputs.items()}
        return replace(ask, inputs=settings)


class SettingsIgnored(Wrapped):
    def ask(self, ask: Ask) -> Ask:
        return replace(ask, settings={})


class FirstRound(Wrapped):
    def work(self, work: Work) -> Work:
        return lambda broadcast, context: work(broadcast, replace(context, round=1))


class Ungated(Wrapped):
    """Lets a NaN through, disguised."""

    def work(self, work: Work) -> Work:
        def finite(broadcast: Tree, context: ClientContext) -> Update:
            update = work(broadcast, context)
            if update is None:
                return update
            return replace(update, tree={name: np.asarray(np.nan_to_num(leaf)) for name, leaf in update.tree.items()})

        return finite


class WeightsUnchecked(Wrapped):
    def work(self, work: Work) -> Work:
        def positive(broadcast: Tree, context: ClientContext) -> Update:
            update = work(broadcast, context)
            return replace(update, weight=abs(update.weight) * 2 if update.weight < 0 else update.weight)

        return positive


class ShapesUnchecked(Wrapped):
    def work(self, work: Work) -> Work:
        def cut(broadcast: Tree, context: ClientContext) -> Update:
            update = work(broadcast, context)
            value = update.tree.get("value", np.zeros(0))
            return replace(update, tree={**update.tree, "value": value[:3]}) if len(value) > 3 else update

        return cut


class FormIgnored(Wrapped):
    def ask(self, ask: Ask) -> Ask:
        return replace(ask, form=None)


class CommitsAlways(Wrapped):
    """Keeps a state as soon as it is there."""

    def __init__(self, works: Mapping[str, Work], data: FederatedData, seed: int) -> None:
        self.states: dict[str, Tree] = {}
        super().__init__(works, data, seed)

    def work(self, work: Work) -> Work:
        def committing(broadcast: Tree, context: ClientContext) -> Update:
            update = work(broadcast, replace(context, state=self.states.get(context.id, {})))
            self.states[context.id] = update.state or {}
            return update

        return committing


class CommitsNever(Wrapped):
    def work(self, work: Work) -> Work:
        return lambda broadcast, context: replace(work(broadcast, context), state=None)


class SendsStates(CommitsNever):
    """A private state travels."""

    def work(self, work: Work) -> Work:
        def sending(broadcast: Tree, context: ClientContext) -> Update:
            update = work(broadcast, context)
            return replace(update, tree={**update.tree, **(update.state or {})})

        return sending


@dataclass(frozen=True)
class WithState:
    """A rule that is told the states, as if they had been sent along."""

    rule: Any
    grows = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rule, name)

    def check(self, accumulator: Any, update: Update) -> None:
        self.rule.check(accumulator, replace(update, state={}))


class StatesTravel(Wrapped):
    def ask(self, ask: Ask) -> Ask:
        return replace(ask, rule=WithState(ask.rule))


class Synchronous(Wrapped):
    """Waits for all, whatever the closing."""

    def ask(self, ask: Ask) -> Ask:
        return replace(ask, closing=Closing.all())


class Forgetful(Wrapped):
    """Asks only as many as are needed; the others never hear of it."""

    def ask(self, ask: Ask) -> Ask:
        return replace(ask, cohort=ask.cohort[: ask.closing.count]) if ask.closing.kind == "first" else ask


class OneQueue(Wrapped):
    """Every work's updates wait in the same queue."""

    def ask(self, ask: Ask) -> Ask:
        return replace(ask, work="probe")

    def reply(self, ask: Ask, reply: Reply) -> Reply:
        return replace(reply, work=ask.work)


class Stale(Wrapped):
    """Never says how old an update is."""

    def ask(self, ask: Ask) -> Ask:
        return replace(ask, version=0)


class StaleByAsk(Wrapped):
    """Counts asks instead of versions."""

    asks = 0

    def ask(self, ask: Ask) -> Ask:
        self.asks += 1
        return replace(ask, version=self.asks)


class Newest(Wrapped):
    """Late clients compute from the newest broadcast."""

    def work(self, work: Work) -> Work:
        return lambda broadcast, context: work(self.newest, context)

    def ask(self, ask: Ask) -> Ask:
        self.newest = ask.broadcast
        return ask


class CountsFailures(Wrapped):
    """A failure counts toward the first k."""

    def ask(self, ask: Ask) -> Ask:
        failing = sum("act" in given.settings for given in ask.inputs.values())
        if ask.closing.kind == "first" and failing:
            return replace(ask, closing=Closing.first(max(1, ask.closing.count - failing)))
        return ask


class OneKey(Wrapped):
    """The same randomness at every visit."""

    def key_of(self, context: ClientContext) -> Any:
        return key(self.seed, "client", context.id)

    def work(self, work: Work) -> Work:
        return lambda broadcast, context: work(broadcast, replace(context, key=self.key_of(context)))


class KeyOfTheRound(OneKey):
    """The same randomness for a second visit in a round."""

    def key_of(self, context: ClientContext) -> Any:
        return key(self.seed, "client", context.id, context.round, context.key.path[3], 0)


class KeyOfTheAsk(OneKey):
    """Randomness that depends on how many visits there were."""

    count = 0

    def key_of(self, context: ClientContext) -> Any:
        self.count += 1
        return key(self.seed, "client", context.id, self.count)


COUNTER = itertools.count()


class OfTheMoment(Wrapped):
    """Says something else whenever it is run."""

    def reply(self, ask: Ask, reply: Reply) -> Reply:
        told = {
            client: replace(each, why=f"{each.why} ({next(COUNTER)})") if each.why else each
            for client, each in reply.outcomes.items()
        }
        return replace(reply, outcomes=told)


class ForgetsToCount(Wrapped):
    def reply(self, ask: Ask, reply: Reply) -> Reply:
        return replace(reply, aggregate={k: v for k, v in reply.aggregate.items() if not k.startswith("charlie/")})


BROKEN: dict[Callable[..., Any], str] = {
    Everyone: "clients in flight are not in the population",
    Sorted: "population lists every client, in the data's order",
    Sizeless: "population says how many examples",
    Unordered: "in its order",
    Nameless: "a reply names the work",
    Fragile: "stopped the others",
    Silent: "says why",
    RaisesWithoutAnAggregate: "updates without an aggregate.*it raised",
    SilentWithoutAnAggregate: "updates without an aggregate.*failure is None",
    CountsRejectedMetrics: "only metrics that count",
    InputsIgnored: "a work sees what it should .'addressed'",
    SettingsIgnored: "a work sees what it should .'number'",
    FirstRound: "a work sees what it should .'round'",
    Ungated: "outcome of 'nan' is rejected",
    WeightsUnchecked: "outcome of 'negative weight' is rejected",
    ShapesUnchecked: "outcome of 'shape' is rejected",
    FormIgnored: "has not the ask's form is rejected",
    CommitsAlways: "rolled back",
    CommitsNever: "private state is kept",
    SendsStates: "a good update counts|every update reaches|a work sees",
    StatesTravel: "a good update counts",
    Synchronous: "closes on its first 2",
    Forgetful: "clients in flight|updates in flight",
    OneQueue: "another work",
    Stale: "staleness",
    StaleByAsk: "staleness",
    Newest: "computed from the broadcast",
    CountsFailures: "do not count toward the first 3",
    OneKey: "a key belongs to the round|a client's key is",
    KeyOfTheRound: "a client's key is",
    KeyOfTheAsk: "a key belongs to the round|a client's key is",
    OfTheMoment: "the same asks give the same reply",
    ForgetsToCount: "every update reaches the rule",
}


def test_the_wrapper_that_the_broken_ones_are_made_of_is_good() -> None:
    check_executor(Wrapped)


@pytest.mark.parametrize(("broken", "law"), BROKEN.items(), ids=[kind.__name__ for kind in BROKEN])
def test_the_kit_rejects_an_executor_that_breaks_a_law(broken: Any, law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_executor(broken)
