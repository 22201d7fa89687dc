"""The executor with a crew: what the sequential one gives, from as many clients at once as there are workers.

Where partial sums have the bits of one sum, each worker sums its own clients' updates, and one partial sum per worker comes
back. Otherwise updates come back one by one, and are taken in the order of the cohort. This file must not know what the crew
is made of.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from hansa.core.ask import AggregationRule, Ask, Outcome, Reply, Status
from hansa.core.gather import Gathered
from hansa.core.metrics import Metrics
from hansa.core.population import ClientId
from hansa.core.tree import Tree
from hansa.core.work import Update
from hansa.data import FederatedData
from hansa.errors import AggregationError, ChildDied, InputError
from hansa.rules.compose import rounding
from hansa.simulation.clock import VirtualClock
from hansa.simulation.intake import Answer, tried
from hansa.simulation.processes.failures import Told, again
from hansa.simulation.processes.handing import Errand, Handing
from hansa.simulation.processes.letters import Letter
from hansa.simulation.processes.outgoing import Outgoing, is_heavy
from hansa.simulation.processes.port import Crew, Member
from hansa.simulation.processes.reduction import merges_exactly
from hansa.simulation.processes.turn import AHEAD, Lost, Over, Partial, Refused, Settled, Turn
from hansa.simulation.sequential import SequentialExecutor
from hansa.simulation.visits import Asked

LONG = 0.01
"""Seconds of a client's work from which nobody is given a chunk ahead: the last ones go to whoever is free first."""


class CrewExecutor(SequentialExecutor):
    """See `SequentialExecutor`, whose bits it gives in reference mode; to be closed.

    Args:
        crew: who computes.
        data: what the clients hold.
        seed: of the clients' randomness.
        private: where the clients' private states are kept.
        clock: how virtual time passes.
        closes: whether the crew is this executor's own, and ends with it.
    """

    def __init__(
        self,
        crew: Crew,
        data: FederatedData,
        seed: int,
        private: MutableMapping[ClientId, Tree] | None = None,
        clock: VirtualClock | None = None,
        *,
        closes: bool = True,
    ) -> None:
        mode, device = crew.manning.mode, crew.manning.device
        super().__init__({}, data, seed, mode=mode, device=device, private=private, clock=clock)
        self._crew, self._seed, self._closes = crew, seed, closes
        self._chosen: dict[str, dict[Member, str]] = {}
        self._needless: dict[str, bool] = {}
        self._unsummed = set[type[Any]]()
        self._seconds: dict[str, float] = {}

    @property
    def chosen(self) -> Mapping[str, str]:
        """How it computes, for the History."""
        return {f"engine {work}": "; ".join(sorted(set(by.values()))) for work, by in self._chosen.items()}

    def close(self) -> None:
        """End all of them, now."""
        if self._closes:
            self._crew.close()

    def execute(self, ask: Ask) -> Reply:
        """Carry one ask out.

        Raises:
            HansaError: the works cannot be loaded by a worker, or processes keep ending for no client's fault.
        """
        try:
            return super().execute(ask)
        except BaseException:
            self._crew.end()  # they are in the middle of something that nobody waits for
            raise

    def _carried(self, ask: Ask) -> Reply:
        """See `SequentialExecutor`."""
        self._crew.begin()
        if self._is_summed(ask):
            rule = ask.rule if self._mode == "reference" else rounding(ask.rule)
            gathered = Gathered(replace(ask, rule=rule))
            visits = self._visits.take(ask, gathered)
            try:
                self._sum(ask, rule, visits, gathered)
            except (Refused, InputError, AggregationError):
                # What only all updates together show; the parent meets them in order, as the sequential executor does.
                self._crew.end()
                self._unsummed.add(type(ask.rule))
                self._visits.put_back(visits)
            else:
                self._visits.take(ask, gathered)  # nobody any more, but time passes
                self._visits.close(ask, gathered)
                return gathered.reply()
        return super()._carried(ask)

    def _is_summed(self, ask: Ask) -> bool:
        """Whether partial sums come to what the sequential executor gives."""
        if ask.form is None or type(ask.rule) in self._unsummed or self._crew.once or not self._visits.is_whole(ask):
            return False
        return self._mode == "fast" or merges_exactly(ask.rule)

    # --- summed by the workers

    def _sum(self, ask: Ask, rule: AggregationRule[Any], visits: Sequence[Asked], gathered: Gathered) -> None:
        asked, settled = replace(ask, rule=rule), dict[ClientId, tuple[Outcome, Tree | None]]()
        unsummed: dict[Member | None, list[tuple[Errand, Outcome, Tree | None]]] = {}
        errands = sorted(self._jobs(visits), key=lambda errand: -errand.cost)
        failures = Counter[int]()
        with self._turn(ask, rule, errands) as (turn, outgoing):

            def tries_again(errand: Errand, outcome: Outcome) -> bool:
                failures[errand.position] += outcome.status is Status.FAILED
                if outcome.status is not Status.FAILED or failures[errand.position] > ask.closing.retries:
                    return False
                turn.put_back([errand])
                return True

            for event in turn.events():
                match event:
                    case Settled(None, errand, died):
                        if not tries_again(errand, outcome := _died(died)):
                            settled[errand.visit.client] = outcome, None
                    case Settled(member, errand, said, state):
                        if not tries_again(errand, outcome := _outcome(said)):
                            unsummed.setdefault(member, []).append((errand, outcome, state))
                    case Partial(member, letter):
                        gathered.merge(_gathered(asked, letter))
                        settled |= {
                            errand.visit.client: (outcome, state) for errand, outcome, state in unsummed.pop(member, [])
                        }
                    case Lost(member):
                        turn.put_back([errand for errand, _, _ in unsummed.pop(member, [])])
                    case Over(member, head):
                        self._note(ask.work, member, head, outgoing)
                        self.answered(len(settled) + sum(map(len, unsummed.values())), len(ask.cohort))
        again = [min(failures[at], ask.closing.retries) for at in range(len(visits))]
        for at, visit in sorted(enumerate(visits), key=lambda pair: again[pair[0]]):  # who tries again answers later
            outcome, state = settled[visit.client]
            if outcome.status is Status.FAILED:
                outcome = replace(outcome, why=tried(outcome.why, 1 + again[at]))
            gathered.outcomes[visit.client] = outcome
            self._visits.settle(visit.client, outcome, _copied(state))
        self.answered(len(settled), len(ask.cohort))

    # --- one by one

    def _answers(self, ask: Ask, visits: list[Asked], staleness: int) -> Iterator[Answer]:
        """See `SequentialExecutor`."""
        errands, given = self._jobs(visits), dict[int, object]()
        keeps = ask.rule.grows
        with self._turn(ask, None, errands) as (turn, outgoing):
            for event in turn.events():
                match event:
                    case Settled(_, errand, said, value):
                        given[errand.position] = (
                            said if isinstance(said, ChildDied) else _given(said, value, keeps=keeps)
                        )
                    case Over(member, head):
                        self._note(ask.work, member, head, outgoing)
                while errands and errands[0].position in given:
                    errand = errands.pop(0)
                    client = errand.visit.client
                    yield Answer(client, given.pop(errand.position), self._visits.held(client), staleness)

    # --- both

    def _jobs(self, visits: Iterable[Asked]) -> list[Errand]:
        return [Errand(at, visit, 1.0 + (self._visits.held(visit.client) or 0)) for at, visit in enumerate(visits)]

    @contextmanager
    def _turn(
        self, ask: Ask, rule: AggregationRule[Any] | None, errands: Sequence[Errand]
    ) -> Iterator[tuple[Turn, Outgoing]]:
        """What carries one ask out."""
        self._crew.begin()
        manning, summed = self._crew.manning, rule is not None
        # Where updates come one by one and are large, no more are computed than are taken.
        alone = (not summed and is_heavy(ask.broadcast)) or bool(self._crew.once)
        handing = Handing(errands, manning.processes, 1 if alone else manning.largest)
        lends = manning.fresh or not self._needless.get(ask.work, False)
        outgoing = Outgoing(self._crew, ask, rule, self._visits, self._seed, lends=lends)
        ahead = 1 if alone or self._seconds.get(ask.work, 0.0) > LONG else AHEAD
        began, count = time.perf_counter(), len(errands)
        try:
            yield Turn(self._crew, outgoing, handing, summed=summed, ahead=ahead), outgoing
            self._seconds[ask.work] = (time.perf_counter() - began) * manning.processes / max(1, count)
            if is_heavy(ask.broadcast):
                rest = self._crew.sealed(Letter("rest"))
                for member in self._crew.members:
                    member.send(rest)
                rest.close()
        finally:
            outgoing.close()

    def _note(self, work: str, member: Member, head: Mapping[str, Any], outgoing: Outgoing) -> None:
        """How a chunk was computed, and whether its clients' examples were needed."""
        if head["chosen"].get(work):
            by = {each: how for each, how in self._chosen.get(work, {}).items() if each in self._crew.members}
            self._chosen[work] = {**by, member: head["chosen"][work]}
        if head["missed"]:
            outgoing.lends = True
            self._needless[work] = False
        elif outgoing.lends:
            self._needless.setdefault(work, not head["looked"])
            self._needless[work] &= not head["looked"]


def _gathered(ask: Ask, letter: Letter) -> Gathered:
    """A worker's partial sum."""
    gathered = Gathered(ask)
    gathered.accumulator, gathered.metrics = letter.value
    gathered.updates, gathered.received = letter.head["updates"], letter.head["received"]
    gathered.wasted = letter.head["wasted"]
    return gathered


def _outcome(said: Sequence[Any]) -> Outcome:
    """An outcome as a worker tells it."""
    status, why, weight, metrics, cause = said
    measured = Metrics() if metrics is None else Metrics.from_json(metrics)
    return Outcome(Status(status), why, weight, measured, cause=None if cause is None else again(Told(*cause)))


def _died(problem: ChildDied) -> Outcome:
    """The outcome of a client over which a process ended, in the words of the sequential executor."""
    return Outcome(Status.FAILED, f"{type(problem).__name__}: {problem.line}", cause=problem)


def _given(said: Any, value: Any, *, keeps: bool) -> object:
    """What a client's work gave in a worker, or an exception that says what it raised."""
    if said is not None:
        return again(Told(*said))
    weight, leaves, metrics, state = value
    # Views of shared memory keep it, and a descriptor.
    tree = {name: np.array(leaf) for name, leaf in leaves.items()} if keeps else leaves
    return Update(tree, weight, metrics, _copied(state))


def _copied(tree: Tree | None) -> Tree | None:
    """A tree in this process' own memory."""
    return None if tree is None else {name: np.array(leaf) for name, leaf in tree.items()}
