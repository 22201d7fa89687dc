"""Ask and tell: the values that pass between an algorithm and whatever executes it, simulated or deployed.

An algorithm never talks to clients. It says what it wants asked (`Ask`) and is told what came of it (`Reply`).
This file must not know how an ask is carried out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, get_args

from hansa.core.metrics import Metrics
from hansa.core.population import ClientId, Population
from hansa.core.status import Status as Status
from hansa.core.tree import Tree
from hansa.core.work import Settings, Update, Work
from hansa.errors import AggregationError, ConfigError, UnknownName

Cohort = tuple[ClientId, ...]
"""The clients of one ask, in the order in which a sampler chose them."""

State = TypeVar("State")
Accumulator = TypeVar("Accumulator")


class AggregationRule(Protocol[Accumulator]):
    """How updates become one: a commutative monoid over them, so that a server, a worker process and a relay reduce alike.

    `accumulate` and `merge` may consume the accumulators that they are given: use only what they return. They never change
    an update.
    """

    @property
    def grows(self) -> bool:
        """Whether an accumulator grows with the cohort; otherwise it takes the memory of a few models."""
        ...

    def zero(self) -> Accumulator:
        """The accumulator of no updates: neutral in `merge`."""
        ...

    def check(self, accumulator: Accumulator, update: Update) -> None:
        """Raise `TreeMismatch` or `AggregationError` where an update does not go with those before it."""
        ...

    def accumulate(self, accumulator: Accumulator, update: Update) -> Accumulator:
        """One update more; an update that `check` refuses is refused here too, before anything is changed."""
        ...

    def merge(self, a: Accumulator, b: Accumulator) -> Accumulator:
        """The updates of both."""
        ...

    def finish(self, accumulator: Accumulator) -> Tree:
        """What the updates amount to. Raises `AggregationError` where that is nothing."""
        ...


Kind = Literal["all", "quorum", "first"]


@dataclass(frozen=True)
class Closing:
    """When an ask is complete. Use `Closing.all()`, `Closing.quorum(...)` or `Closing.first(k)`.

    Attributes:
        kind: "all": everyone in the cohort has answered, and nobody failed. "quorum": at least `count` updates have come, and
            everyone has answered, or the deadline or the grace has passed. "first": `count` updates of this work have come,
            from this ask or from those before it; slower clients go on and count in the next ask of the same work.
        count: how many updates are enough.
        deadline: of a quorum: seconds after the ask, or None for no limit.
        grace: of a quorum: seconds after its last needed update, or None for no limit. 0 keeps the first `count` and wastes
            the others: over-selection.
        patience: of "first": a client that has not answered so many seconds after it was asked is dropped, so that another
            is asked; None for no limit.
        retries: so many times a client whose work failed is to try again before that is its outcome.
    """

    kind: Kind
    count: int = 1
    deadline: float | None = None
    grace: float | None = None
    patience: float | None = None
    retries: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UnknownName.among("kind of closing", self.kind, get_args(Kind))
        if self.count < 1:
            raise ConfigError(f"an ask closes on at least one update, not {self.count}")
        if self.deadline is not None and not self.deadline > 0:
            raise ConfigError(f"a deadline is a positive number of seconds, not {self.deadline}")
        if self.grace is not None and not self.grace >= 0:
            raise ConfigError(f"a grace is a number of seconds, 0 or more, not {self.grace}")
        if self.patience is not None and not self.patience > 0:
            raise ConfigError(f"patience is a positive number of seconds, not {self.patience}")
        if self.retries < 0:
            raise ConfigError(f"a client tries again 0 or more times, not {self.retries}")

    @classmethod
    def all(cls, *, retries: int = 0) -> Closing:
        """Everyone must answer."""
        return cls("all", retries=retries)

    @classmethod
    def quorum(
        cls, count: int, deadline: float | None = None, *, grace: float | None = None, retries: int = 0
    ) -> Closing:
        """At least `count`; others have until `deadline` seconds after the ask, or `grace` seconds after the last needed."""
        return cls("quorum", count, deadline, grace, retries=retries)

    @classmethod
    def first(cls, count: int, *, patience: float | None = None, retries: int = 0) -> Closing:
        """The first `count` updates that arrive: asynchronous."""
        return cls("first", count, patience=patience, retries=retries)

    def broken_by(self, outcomes: Mapping[ClientId, Outcome]) -> str | None:
        """Why a complete ask with these outcomes does not count, or None where it does."""
        excused = (
            self.kind == "first" and len(outcomes) >= self.count
        )  # some in flight gave nothing: others are asked next
        needed = 1 if excused else self.count
        updated = sum(outcome.status is Status.UPDATED for outcome in outcomes.values())
        failed = [client for client, outcome in outcomes.items() if outcome.status is Status.FAILED]
        if self.kind == "all" and failed:
            return f"{len(failed)} of {len(outcomes)} clients failed, and everyone was needed"
        if updated < needed:
            return f"{updated} of {len(outcomes)} clients gave a usable update, and {needed} were needed"
        return None


@dataclass(frozen=True)
class Input:
    """What an ask addresses to a single client."""

    tree: Tree = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """One request to a cohort.

    Attributes:
        work: a name in the algorithm's `works`.
        broadcast: the same arrays for all of them.
        cohort: whom to ask.
        rule: how their updates become one.
        round: the round that it belongs to, the first is 1.
        version: how many model updates the broadcast has seen.
        settings: what is no array.
        closing: when it is complete.
        inputs: arrays and settings for single clients.
        form: a tree of the names, shapes and dtypes that every update must have, often the broadcast itself; None where only
            the rule can say, which then takes the first update for the norm.
        left_out: who is not asked although it could be, and why; for the History.
    """

    work: str
    broadcast: Tree
    cohort: Cohort
    rule: AggregationRule[Any]
    round: int
    version: int
    settings: Settings = field(default_factory=dict)
    closing: Closing = field(default_factory=Closing.all)
    inputs: Mapping[ClientId, Input] = field(default_factory=dict)
    form: Tree | None = None
    left_out: Mapping[ClientId, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of one client that was asked.

    Attributes:
        status: see `Status`.
        why: the reason, where it is not `updated`.
        weight: the weight of its update.
        metrics: what it measured itself.
        staleness: how many model updates were made between its broadcast and its update.
        cause: what its work raised, where that happened in this process; never travels and is not recorded.
    """

    status: Status
    why: str = ""
    weight: float = 0.0
    metrics: Metrics = field(default_factory=Metrics)
    staleness: int = 0
    cause: BaseException | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Reply:
    """What came of an ask.

    Attributes:
        aggregate: the updates as one, by the ask's rule.
        metrics: the metrics of all that count, merged.
        outcomes: what became of each client.
        work: the work that was asked, so that a combinator knows whether the ask was its own.
        settings: the ask's, so that it knows what for.
        failure: why there is no aggregate although updates came; such a reply is not told to the algorithm.
        down: bytes of the arrays that were sent to clients.
        up: bytes of the arrays that came back, whether they count or not.
        wasted: those of them that came back, or were on their way, for nothing.
    """

    aggregate: Tree
    metrics: Metrics = field(default_factory=Metrics)
    outcomes: Mapping[ClientId, Outcome] = field(default_factory=dict)
    work: str = ""
    settings: Settings = field(default_factory=dict)
    failure: AggregationError | None = None
    down: int = 0
    up: int = 0
    wasted: int = 0


class FederatedAlgorithm(Protocol[State]):
    """A federated algorithm: a value made of pure functions.

    The whole training loop, simulated or deployed, is::

        state = algorithm.start(params, seed)
        while (ask := algorithm.ask(state, population)) is not None:
            state = algorithm.tell(state, executor.execute(ask))
    """

    @property
    def works(self) -> Mapping[str, Work]:
        """What it may ask of a client, by name."""
        ...

    def start(self, params: Tree, seed: int) -> State:
        """The state before the first ask."""
        ...

    def ask(self, state: State, population: Population) -> Ask | None:
        """What it wants next, or None: it is finished."""
        ...

    def tell(self, state: State, reply: Reply) -> State:
        """The state after the reply to the last ask."""
        ...

    def params(self, state: State) -> Tree:
        """Today's global model."""
        ...

    def round(self, state: State) -> int:
        """How many rounds are completed; a round may take several asks."""
        ...


class Executor(Protocol):
    """Whatever carries asks out: a loop, processes, a cluster, or a real federation."""

    def population(self) -> Population:
        """Who may be asked now."""
        ...

    def execute(self, ask: Ask) -> Reply:
        """Carry one ask out, until it closes."""
        ...
