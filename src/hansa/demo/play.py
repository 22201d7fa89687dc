"""Play the demo: the federation, each owner alone, and everyone's data pooled; and the document of what came out.

Whoever shows it passes a `Listener`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from hansa.callbacks import Watched
from hansa.core.history import FEDERATED, Entry, History
from hansa.core.metrics import ConfusionMatrix
from hansa.data import FederatedData
from hansa.demo.scenario import GROUPS, OWNERS, POOLED, Scenario
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.protocol import codec


@dataclass(frozen=True)
class Measured:
    """How one model does on all ten classes: `shares` are the shares of its predictions that fall in each group."""

    round: int
    model: str
    loss: float
    accuracy: float
    shares: dict[str, float]

    @classmethod
    def of(cls, entry: Entry) -> Measured:
        """What an evaluation's entry in the History says."""
        confusion = entry.metrics["confusion"]
        assert isinstance(confusion, ConfusionMatrix)  # noqa: S101 - the scenario measures it; for the type checker
        shares = dict(zip(GROUPS, confusion.predicted_shares(tuple(GROUPS.values())), strict=True))
        numbers = entry.metrics.numbers()
        return cls(entry.round, str(entry.model), numbers["loss"], numbers["accuracy"], shares)


@dataclass(frozen=True)
class Played:
    """What came out.

    Attributes:
        scenario: what was run.
        history: of the federation.
        evaluations: of the owners' own models and of the federated one.
        alone: each owner's model after training alone.
        pooled: the model trained on everyone's data in one place.
        seconds: how long it all took.
    """

    scenario: Scenario
    history: History
    evaluations: tuple[Measured, ...]
    alone: dict[str, Measured]
    pooled: Measured
    seconds: float

    @property
    def final(self) -> Measured:
        """The federated model at the end."""
        return self.evaluations[-1]

    @cached_property
    def model_sha256(self) -> str:
        """Of the federated model's file."""
        return codec.digest(self.history.model)

    def document(self) -> dict[str, Any]:
        """All of it as one JSON object."""
        return {
            "dataset": self.scenario.dataset,
            "rounds": self.scenario.rounds,
            "seed": self.scenario.seed,
            "mode": self.history.mode,
            "accuracy": self.final.accuracy,
            "model_sha256": self.model_sha256,
            "owners": {owner: counts for owner, counts in holdings(self.scenario).items() if owner in OWNERS},
            "evaluations": [{"round": each.round, "model": each.model, **_numbers(each)} for each in self.evaluations],
            "alone": {owner: _numbers(measured) for owner, measured in self.alone.items()},
            "pooled": _numbers(self.pooled),
            "environment": dict(self.history.environment),
            "seconds": round(self.seconds, 3),
        }


def _numbers(measured: Measured) -> dict[str, Any]:
    loss = measured.loss if math.isfinite(measured.loss) else None  # JSON has no number for the others
    return {"loss": loss, "accuracy": measured.accuracy, "shares": measured.shares}


def holdings(scenario: Scenario) -> dict[str, dict[str, int]]:
    """How many examples of each class each participant holds, those that it has any of; the evaluator's are its test data."""
    counts = {**scenario.data.label_counts(), **scenario.data.label_counts(split="test")}
    return {name: {str(label): int(n) for label, n in enumerate(held) if n} for name, held in counts.items()}


class Listener(Protocol):
    """Is told how far the demo is."""

    def begins(self, part: str, rounds: int) -> None:
        """A part begins: "federated", an owner's name (alone), or "pooled"."""
        ...

    def round_done(self, part: str, completed: int) -> None:
        """A part has completed a round of training."""
        ...

    def measured(self, part: str, measured: Measured) -> None:
        """A model was evaluated in a part."""
        ...


Federate = Callable[[Scenario, Callable[[Entry, int], None]], History]
"""(scenario, follow) -> History: runs the federation's own experiment; `follow` is told each entry and the rounds completed."""


def simulated(scenario: Scenario, follow: Callable[[Entry, int], None]) -> History:
    """The federation in this process."""
    return _run(scenario.federated(), scenario.data, follow)


def play(scenario: Scenario, listener: Listener, clock: Callable[[], float], federate: Federate = simulated) -> Played:
    """Run the demo to its end.

    Args:
        scenario: what to run.
        listener: is told how far it is.
        clock: seconds, from any origin.
        federate: runs the federation: simulated, or for real. The comparisons are always simulated.

    Raises:
        RunFailed: a training came to nothing.
    """
    began = clock()
    history = federate(scenario, _following(FEDERATED, scenario.rounds, listener))
    alone = {}
    for owner in OWNERS:
        alone[owner] = _final(_run(*scenario.alone(owner), _following(owner, scenario.rounds, listener)))
    pooled = _final(_run(*scenario.pooled(), _following(POOLED, scenario.rounds, listener)))
    evaluations = tuple(map(Measured.of, history.evaluations()))
    return Played(scenario, history, evaluations, alone, pooled, clock() - began)


def _run(experiment: Experiment, data: FederatedData, follow: Callable[[Entry, int], None]) -> History:
    return Federation.simulate(data).run(experiment, callbacks=[_Follow(follow)]).history


@dataclass(frozen=True)
class _Follow:
    """A callback that passes each entry on, with the rounds completed."""

    follow: Callable[[Entry, int], None]

    def started(self, run: Watched) -> None:
        """Nothing yet."""

    def entry(self, run: Watched, entry: Entry) -> None:
        """An ask has closed."""
        self.follow(entry, run.history.rounds)

    def ended(self, run: Watched) -> None:
        """Nothing more."""


def _following(part: str, rounds: int, listener: Listener) -> Callable[[Entry, int], None]:
    """Begin a part, and pass on what is told of it."""
    listener.begins(part, rounds)

    def follow(entry: Entry, completed: int) -> None:
        if entry.model is not None:
            listener.measured(part, Measured.of(entry))
        else:
            listener.round_done(part, completed)

    return follow


def _final(history: History) -> Measured:
    return Measured.of(list(history.evaluations(FEDERATED))[-1])
