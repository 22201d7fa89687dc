"""Trying an experiment here, before it goes anywhere: each work once, on a few examples, with the shapes of what it gives.

No federation is needed, and nothing is kept. What a work raises here comes with its whole traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape

from hansa.core.ask import Ask, Input, Outcome, Reply, Status
from hansa.core.gate import as_update, refusal
from hansa.core.gather import Gathered
from hansa.core.population import ClientId, Population
from hansa.core.tree import Tree, read_only
from hansa.core.work import ClientContext, Update, visit_key
from hansa.data import FederatedData
from hansa.errors import ConfigError, HansaError
from hansa.experiment.experiment import Experiment
from hansa.experiment.reference import threads

MOST = 50
"""So many asks are looked at; an algorithm that has not asked for all of its works by then may never do so."""


@dataclass(frozen=True)
class Tried:
    """What one work gave.

    Attributes:
        work: its name.
        client: who did it.
        broadcast: shape and dtype of each array that it was given.
        update: shape and dtype of each array that it gave.
        weight: how much the update counts.
        metrics: what it measured.
        refusal: why the update gate would refuse it; empty where it would not.
    """

    work: str
    client: ClientId
    broadcast: Mapping[str, str]
    update: Mapping[str, str]
    weight: float
    metrics: Mapping[str, float]
    refusal: str


@dataclass(frozen=True)
class Debugged:
    """What came of an experiment's works; prints as a table."""

    tried: tuple[Tried, ...]
    untried: tuple[str, ...]

    def __str__(self) -> str:
        lines = []
        for each in self.tried:
            lines.append(f"{each.work} at {each.client}: weight {each.weight:g}")
            lines += [f"  {name}: {value:.4g}" for name, value in each.metrics.items()]
            lines += [f"  {name}  {form}" for name, form in each.update.items()]
            lines += [f"  would be refused: {each.refusal}"] if each.refusal else []
        lines += [f"{work}: not asked for within {MOST} asks" for work in self.untried]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def debug(experiment: Experiment, data: FederatedData) -> Debugged:
    """Run each of an experiment's works once.

    Args:
        experiment: what to try.
        data: of which the first clients do it: `federation.dummy_data()`, or data of one's own.

    Raises:
        Exception: what a work raised, as it raised it.
        ConfigError: the algorithm cannot go on; the message says why.
    """
    with threads("reference"):
        return _Trial(experiment, data).run()


class _Trial:
    def __init__(self, experiment: Experiment, data: FederatedData) -> None:
        self._experiment, self._data, self._plan = experiment, data, experiment.plan
        self._population = Population(tuple(data.clients), {split: data.sizes(split) for split in ("train", "test")})
        self._tried: dict[str, Tried] = {}

    def run(self) -> Debugged:
        state = self._plan.start(self._experiment.start(), self._experiment.seed)
        for _ in range(MOST):
            if self._plan.works.keys() <= self._tried.keys():
                break
            ask = self._plan.ask(state, self._population)
            if ask is None:
                break
            reply = self._reply(ask)
            if reply.failure is not None:
                raise ConfigError(f"the updates have no aggregate: {reply.failure.what}", where=f"work {ask.work!r}")
            state = self._plan.tell(state, reply)
        untried = tuple(work for work in self._plan.works if work not in self._tried)
        return Debugged(tuple(self._tried.values()), untried)

    def _reply(self, ask: Ask) -> Reply:
        """The answer of the cohort's first client, as if everyone had given the same."""
        if not ask.cohort:
            raise ConfigError(
                f"nobody can be asked for the work {ask.work!r}",
                hint='check the splits that the data have: "train" to train, "test" to evaluate',
            )
        client, gathered = ask.cohort[0], Gathered(ask)
        update = self._visit(ask, client)
        for each in ask.cohort:
            outcome = Outcome(Status.UPDATED, weight=update.weight, metrics=update.metrics)
            added = gathered.add(each, outcome, replace(update, client=each, state=None))
            if added.why:
                raise ConfigError(f"the aggregation rule refuses the update: {added.why}", where=f"work {ask.work!r}")
        return gathered.reply()

    def _visit(self, ask: Ask, client: ClientId) -> Update:
        addressed = ask.inputs.get(client, Input())
        context = ClientContext(
            id=client,
            data=self._data.shard(client),
            round=ask.round,
            key=visit_key(self._experiment.seed, client, ask.round, ask.work, 0),
            settings={**ask.settings, **addressed.settings},
            inputs=read_only(addressed.tree),
        )
        update = as_update(self._plan.works[ask.work](read_only(ask.broadcast), context))
        if ask.work not in self._tried:
            try:
                why = refusal(update, ask.form, self._population.held(client)) or ""
            except HansaError as problem:
                why = problem.line
            self._tried[ask.work] = Tried(
                ask.work,
                client,
                _forms(ask.broadcast),
                _forms(update.tree),
                float(update.weight),
                update.metrics.numbers(),
                why,
            )
        return update


def _forms(tree: Tree) -> dict[str, str]:
    return {name: f"{leaf.dtype.name}{list(leaf.shape)}" for name, leaf in tree.items()}
