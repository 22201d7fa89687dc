"""The intake: what clients answered goes through the update gate and into the ask's aggregate.

Small updates are judged and summed many at a time where the rule can do that and the mode is fast: of a thousand clients that
give ten numbers each, the gate and the sum would otherwise be most of the time. This file must not know who computed what.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from hansa.core import tree
from hansa.core.ask import Ask, Outcome, Status
from hansa.core.gate import HEAVIEST, as_update, refusal
from hansa.core.gather import Gathered
from hansa.core.metrics import Metrics
from hansa.core.population import ClientId
from hansa.core.tree import Tree, is_floating
from hansa.core.work import Update
from hansa.errors import HansaError

ROWS, BYTES = 256, 1 << 18
"""As many updates, or as many bytes of them, are taken at once."""


class Answer(NamedTuple):
    """What a client's work gave.

    Attributes:
        client: who.
        given: what the work returned, or raised.
        held: how many examples the client announced; None where nobody knows.
        staleness: how many model updates were made since its broadcast.
        attempts: how often the client has tried.
    """

    client: ClientId
    given: object
    held: int | None
    staleness: int
    attempts: int = 1


def has_failed(given: object) -> bool:
    """Whether a client's work raised, or gave what is no update."""
    if isinstance(given, BaseException):
        return True
    try:
        as_update(given)
    except Exception:  # noqa: BLE001 - what a client's code gave may raise anything when it is looked at
        return True
    return False


def tried(why: str, attempts: int) -> str:
    """Why a client failed that has tried so often."""
    return why if attempts == 1 else f"{why}, after {attempts} attempts"


class Intake:
    """Takes the answers of one ask.

    Args:
        ask: the ask.
        many: take small updates many at a time.

    Attributes:
        gathered: what has come of them so far; complete after `flush`.
    """

    def __init__(self, ask: Ask, *, many: bool = False) -> None:
        self.gathered = Gathered(ask)
        self._form = ask.form
        size = sum(leaf.nbytes for leaf in ask.form.values()) if ask.form else BYTES
        self._most = max(1, min(ROWS, BYTES // max(1, size))) if many and self.gathered.takes_many else 1
        self._waiting: list[Answer] = []

    def take(self, answer: Answer) -> list[tuple[Answer, Outcome]]:
        """One answer more. Returns the answers that are settled by it, this one or none or many, each with its outcome."""
        self._waiting.append(answer)
        return self.flush() if len(self._waiting) >= self._most else []

    def flush(self) -> list[tuple[Answer, Outcome]]:
        """Settle what waits."""
        waiting, self._waiting = self._waiting, []
        self._settle(waiting)
        return [(each, self.gathered.outcomes[each.client]) for each in waiting]

    def take_all(self, answers: Iterable[Answer]) -> Iterator[list[tuple[Answer, Outcome]]]:
        """Take answers as they come. Gives, whenever some are settled, those that may have private state."""
        waiting = iter(answers)
        while some := list(islice(waiting, self._most)):
            together = self._settle(some)
            yield [] if together else [(each, self.gathered.outcomes[each.client]) for each in some]

    def _settle(self, answers: list[Answer]) -> bool:
        """Settle answers; whether together, which those with private state never are."""
        if len(answers) > 1 and self._form is not None and _are_good(answers, self._form):
            self.gathered.add_all([each.client for each in answers], [each.given for each in answers])  # type: ignore[misc]  # updates
            return True
        for each in answers:
            self.gathered.add(each.client, *self._judged(each))
        return False

    def _judged(self, answer: Answer) -> tuple[Outcome, Update | None]:
        """What becomes of an answer before it meets the others."""
        given = answer.given
        try:
            if isinstance(given, BaseException):
                raise given
            update = as_update(given)
        except (Exception, SystemExit) as problem:  # noqa: BLE001 - a client's code may raise anything; it is its outcome
            said = problem.line if isinstance(problem, HansaError) else problem
            raised = tried(f"{type(problem).__name__}: {said}", answer.attempts)
            return Outcome(Status.FAILED, raised, cause=problem), None
        if (why := refusal(update, self._form, answer.held)) is not None:
            self.gathered.waste(tree.nbytes(update.tree))
            return Outcome(Status.REJECTED, why, metrics=update.metrics), None
        sent = replace(update, state=None, client=answer.client, staleness=answer.staleness)
        counts = Outcome(Status.UPDATED, "", float(update.weight), update.metrics, answer.staleness)
        return counts, sent


def _are_good(answers: Sequence[Answer], form: Tree) -> bool:
    """Whether the gate would let all of them pass, seen in few glances; False where one must be looked at more closely."""
    names, expected = form.keys(), list(form.items())
    for answer in answers:
        update: Any = answer.given
        if type(update) is not Update or type(update.tree) is not dict or type(update.metrics) is not Metrics:
            return False
        if type(update.weight) not in (float, int) or not 0 <= update.weight < math.inf or update.tree.keys() != names:
            return False
        if answer.held is not None and update.weight > HEAVIEST * max(1, answer.held):
            return False
        if update.state is not None:
            return False
        for name, like in expected:
            leaf = update.tree[name]
            if type(leaf) is not np.ndarray or leaf.shape != like.shape or leaf.dtype != like.dtype:
                return False
    return all(
        np.isfinite(np.array([answer.given.tree[name] for answer in answers])).all()  # type: ignore[attr-defined]  # seen above
        for name, like in expected
        if is_floating(like)
    )
