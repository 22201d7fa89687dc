"""What must survive a crash: the facts that a Director and an Envoy write down. Their state is nothing but these, folded.

Each fact belongs to one run. It is on disk before anybody outside is told of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from hansa.core.status import Status
from hansa.protocol.messages import Blob

# --- a Director's


@dataclass(frozen=True, slots=True)
class Accepted:
    """An experiment was submitted.

    Attributes:
        run: the id that it was given.
        key: the submitter's, by which a repeated submission is known.
        owner: who submitted it.
        name: what its owner calls it.
        manifest: of what is shipped; `signature` and `certificate` as in `Offer`.
        blobs: the files that belong to it: sources and the initial model.
        initial: the initial model.
        envoys: the Envoys that were chosen by name; none: any.
        labels: that an Envoy must carry.
        at_least: so many Envoys must take part.
        held: whether the Director's own approval is needed.
        at: seconds since 1970.
        seed: of the experiment's random choices.
        resumes: the run that it goes on with, which was over before its end; empty for a run from the beginning.
        since: the last state of that run; None where it had none.
        cores: that an Envoy must have.
        memory: bytes that an Envoy must have.
        device: that an Envoy must have, such as "cuda"; empty for none.
    """

    run: str
    key: str
    owner: str
    name: str
    manifest: Blob
    signature: bytes
    certificate: bytes
    initial: Blob
    blobs: tuple[Blob, ...] = ()
    envoys: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    at_least: int = 1
    held: bool = False
    at: float = 0.0
    seed: int = 0
    resumes: str = ""
    since: Told | None = None
    cores: int = 0
    memory: int = 0
    device: str = ""


@dataclass(frozen=True, slots=True)
class Released:
    """The Director's own approval was given."""

    run: str
    by: str


@dataclass(frozen=True, slots=True)
class Gathering:
    """It is the run's turn: its Envoys are asked whether they take part."""

    run: str
    at: float


@dataclass(frozen=True, slots=True)
class Joined:
    """An Envoy takes part. `clients` says for each of its clients how many examples it has in each split, as JSON."""

    run: str
    envoy: str
    clients: str


@dataclass(frozen=True, slots=True)
class Parted:
    """An Envoy takes no part, or no longer."""

    run: str
    envoy: str
    why: str


@dataclass(frozen=True, slots=True)
class Started:
    """The run began."""

    run: str
    at: float


@dataclass(frozen=True, slots=True)
class Part:
    """One client's part in an ask; see `Assign`."""

    client: str
    envoy: str
    occurrence: int
    settings: str = "{}"
    inputs: Blob | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """An ask, before it is sent to anybody.

    Attributes:
        run: the run.
        ask: its number, from 1.
        work: see `hansa.core.ask.Ask`, as `round` and `version`.
        round: see there.
        version: see there.
        kind: of its closing.
        count: of its closing.
        deadline: seconds since 1970; 0 for none.
        at: when it was asked, in seconds since 1970.
        broadcast: the arrays for everyone.
        parts: the cohort, in its order.
        population: what the algorithm saw when it asked, as JSON, so that it asks the same again.
        grace: of its closing; infinite for none.
        patience: of its closing; infinite for none.
        retries: of its closing.
    """

    run: str
    ask: int
    work: str
    round: int
    version: int
    kind: str
    count: int
    deadline: float
    at: float
    broadcast: Blob
    parts: tuple[Part, ...]
    population: str
    grace: float = math.inf
    patience: float = math.inf
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Came:
    """A client's answer; its update is on disk. `order` counts the run's answers, `at` is in seconds since 1970."""

    run: str
    ask: int
    client: str
    order: int
    update: Blob | None = None
    weight: float = 0.0
    metrics: str = "{}"
    failure: str = ""
    log: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one visit."""

    ask: int
    client: str
    status: Status
    why: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """An ask is complete: exactly these visits count, or are lost, in this order; others fly on."""

    run: str
    ask: int
    fates: tuple[Fate, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """The algorithm was told, and its state is on disk.

    Attributes:
        run: the run.
        ask: the ask that it was told of.
        fates: what became of the visits after all.
        entry: of the History, as JSON.
        rounds: how many are completed.
        document: the state, as `hansa.experiment.snapshot` writes it.
        trees: the trees that the state refers to.
        model: today's global model; one of the trees.
        environment: versions, threads and processor that the numbers depend on, as JSON.
        marks: what the model is kept as besides (`hansa.core.keeping`): "best", "checkpoint".
    """

    run: str
    ask: int
    fates: tuple[Fate, ...]
    entry: str
    rounds: int
    document: Blob
    trees: tuple[Blob, ...]
    model: Blob
    environment: str = "{}"
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over. `phase` is "finished", "failed" or "cancelled"."""

    run: str
    phase: str
    why: str
    at: float
    model: Blob | None = None
    entry: str = ""


@dataclass(frozen=True, slots=True)
class Shared:
    """Another user may see the run."""

    run: str
    user: str


# --- an Envoy's


@dataclass(frozen=True, slots=True)
class Answered:
    """A client's answer and the private state that would follow it; on disk before the answer is sent."""

    run: str
    ask: int
    client: str
    update: Blob | None = None
    weight: float = 0.0
    metrics: str = "{}"
    failure: str = ""
    state: Blob | None = None
    log: str = ""
