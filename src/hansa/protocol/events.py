"""What happens to a run: the events of its table in `running`. Whatever must be on disk for one is there before it happens."""

from __future__ import annotations

from dataclasses import dataclass

from hansa.core.ask import Closing
from hansa.protocol.facts import Told
from hansa.protocol.messages import Answer, Beat, Blob, Result


@dataclass(frozen=True, slots=True)
class Release:
    """The Director's own approval."""

    by: str


@dataclass(frozen=True, slots=True)
class Withhold:
    """The Director's own approval is refused."""

    why: str


@dataclass(frozen=True, slots=True)
class Slot:
    """It is the run's turn."""


@dataclass(frozen=True, slots=True)
class Arrives:
    """A chosen Envoy has a session. `clients` says how many examples each of its clients has, as JSON."""

    envoy: str
    clients: str


@dataclass(frozen=True, slots=True)
class Leaves:
    """An Envoy's session ended."""

    envoy: str


@dataclass(frozen=True, slots=True)
class Expelled:
    """An Envoy's certificate was revoked."""

    envoy: str


@dataclass(frozen=True, slots=True)
class Consents:
    """An Envoy says where its owner stands. `clients` as in `Arrives`."""

    envoy: str
    answer: Answer
    clients: str


@dataclass(frozen=True, slots=True)
class Answers:
    """A client's result; its update is on disk."""

    envoy: str
    result: Result


@dataclass(frozen=True, slots=True)
class Beats:
    """An Envoy says what it has in hand."""

    envoy: str
    beat: Beat


@dataclass(frozen=True, slots=True)
class Wants:
    """The Aggregator wants to know who may be asked; so many, or fewer, would be too few."""

    beyond: int = 0


@dataclass(frozen=True, slots=True)
class Asks:
    """The Aggregator asks; the blobs are on disk. `parts` as (client, settings for it, inputs for it)."""

    work: str
    round: int
    version: int
    closing: Closing
    broadcast: Blob
    parts: tuple[tuple[str, str, Blob | None], ...]


@dataclass(frozen=True, slots=True)
class Judges:
    """The gate has looked at an answer. `refusal` is empty where it may be used."""

    ask: int
    client: str
    refusal: str


@dataclass(frozen=True, slots=True)
class Tells:
    """The algorithm was told; the state's blobs are on disk."""

    told: Told


@dataclass(frozen=True, slots=True)
class Finishes:
    """The algorithm wants nothing more."""


@dataclass(frozen=True, slots=True)
class Fails:
    """The run came to nothing.

    Attributes:
        why: for people.
        entry: of the History, as JSON, where the failed ask has one.
        model: the last good one, where that is not the last.
    """

    why: str
    entry: str = ""
    model: Blob | None = None


@dataclass(frozen=True, slots=True)
class ChildEnds:
    """The Aggregator died."""

    why: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Somebody who may stops it."""

    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """Another user may see it."""

    user: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """The Director was started again: whoever was running goes on."""


Event = (
    Release
    | Withhold
    | Slot
    | Arrives
    | Leaves
    | Expelled
    | Consents
    | Answers
    | Beats
    | Wants
    | Asks
    | Judges
    | Tells
    | Finishes
    | Fails
    | ChildEnds
    | Cancel
    | Share
    | Tick
    | Restarts
)
