"""The loop: ask, execute, tell, and write down what happened. The same for a simulation and for a real federation.

This file must not know how an ask is carried out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from hansa.core import tree
from hansa.core.ask import Ask, Executor, FederatedAlgorithm, Reply, Status
from hansa.core.history import FEDERATED, Entry, History
from hansa.errors import RunFailed


@dataclass(frozen=True)
class Progress:
    """Where a run stands between two asks: all that is needed to go on from there.

    Attributes:
        state: the algorithm's.
        history: the run so far; its model is today's.
        fallback: the run up to the round before the last: what is left if the last model turns out to be no good.
    """

    state: Any
    history: History
    fallback: History

    @classmethod
    def begin(cls, algorithm: FederatedAlgorithm[Any], history: History) -> Progress:
        """Before the first ask; `history` has the initial model, the seed, the mode and the environment, and no entries."""
        return cls(algorithm.start(history.model, history.seed), history, history)


@dataclass(frozen=True)
class Step:
    """One turn of the loop.

    Attributes:
        ask: what the algorithm asked.
        reply: what came of it.
        progress: where the run stands after it.
    """

    ask: Ask
    reply: Reply
    progress: Progress

    @property
    def history(self) -> History:
        """The run up to and including this step."""
        return self.progress.history


def steps(
    algorithm: FederatedAlgorithm[Any], executor: Executor, progress: Progress, clock: Callable[[], float]
) -> Iterator[Step]:
    """Run an algorithm to its end, one step at a time.

    Args:
        algorithm: what to run.
        executor: who carries asks out.
        progress: where to go on from.
        clock: seconds, from any origin.

    Raises:
        RunFailed: an ask could not be completed by its closing, its updates have no average, or the model or its loss is
            no longer finite. The error's History reports the round, and holds the last good model.
    """
    while True:
        began = clock()  # waiting for a population takes time too
        if (ask := algorithm.ask(progress.state, executor.population())) is None:
            return
        reply = executor.execute(ask)
        progress = _told(algorithm, progress, ask, reply, clock() - began)
        step = Step(ask, reply, progress)
        del ask, reply
        yield step
        del step  # a large model's aggregate is not kept while the next ask is carried out


def _told(algorithm: FederatedAlgorithm[Any], progress: Progress, ask: Ask, reply: Reply, seconds: float) -> Progress:
    history, entry = progress.history, Entry.of(ask, reply, seconds)
    failed = history.extended(entry, history.model, history.rounds)
    if (why := ask.closing.broken_by(reply.outcomes)) is not None:
        raise _failure(why, ask, reply, failed)
    if reply.failure is not None:
        failure = reply.failure
        raise RunFailed(failure.what, where=_where(ask), hint=failure.hint, history=failed) from failure
    if _is_lost(entry):
        failed = replace(failed, model=progress.fallback.model, rounds=progress.fallback.rounds)
        raise RunFailed("the loss of the federated model is NaN", where=_where(ask), hint=_LOWER, history=failed)
    state = algorithm.tell(progress.state, reply)
    model, rounds = algorithm.params(state), algorithm.round(state)
    if (leaf := tree.not_finite(model)) is not None:
        what = f"the global model is no longer finite, in leaf {leaf!r}"
        raise RunFailed(what, where=_where(ask), hint=_LOWER, history=failed)
    fallback = history if rounds > history.rounds else progress.fallback
    return Progress(state, history.extended(entry, model, rounds), fallback)


_LOWER = "lower the learning rate, or clip gradients; the History holds the last good model"


def _where(ask: Ask) -> str:
    return f"round {ask.round}, work {ask.work!r}"


def _is_lost(entry: Entry) -> bool:
    """Whether an evaluation of the federated model found its loss to be NaN."""
    return entry.model == FEDERATED and "loss" in entry.metrics and math.isnan(entry.metrics.value("loss"))


def _failure(why: str, ask: Ask, reply: Reply, history: History) -> RunFailed:
    """The error that tells of each client that gave no update, the first few by name."""
    bad = [(client, outcome) for client, outcome in reply.outcomes.items() if outcome.status is not Status.UPDATED]
    lines = [f"  {client}: {outcome.status}: {outcome.why}" for client, outcome in bad[:5]]
    more = [f"  ... and {len(bad) - 5} more, see the History"] if len(bad) > 5 else []
    diverged = any(outcome.status is Status.REJECTED and "not finite" in outcome.why for _, outcome in bad)
    hint = _LOWER if diverged else "the History holds the last good model"
    error = RunFailed("\n".join([why, *lines, *more]), where=_where(ask), hint=hint, history=history)
    error.__cause__ = next((outcome.cause for _, outcome in bad if outcome.cause is not None), None)
    return error
