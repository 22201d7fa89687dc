"""What a state machine wants done. The runtime does these in order, and none before the one that stands before it is done.

So a `Record` that stands before a `Send` is on disk before the message leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hansa.protocol.messages import Answer, Assign, Beat, Blob, Goodbye, Offer, Over, Result, Settled, Welcome

ToEnvoy = Welcome | Goodbye | Offer | Assign | Settled | Over
ToDirector = Beat | Answer | Result


@dataclass(frozen=True, slots=True)
class Record:
    """Write a fact down, durably."""

    fact: Any


@dataclass(frozen=True, slots=True)
class Discard:
    """These blobs are no longer needed by this run."""

    run: str
    blobs: frozenset[str]


# --- a Director's


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to an Envoy; if it is not there, nothing happens: it is told again when it comes."""

    envoy: str
    message: ToEnvoy


@dataclass(frozen=True, slots=True)
class StartChild:
    """Start the run's Aggregator from its last state."""

    run: str


@dataclass(frozen=True, slots=True)
class StopChild:
    """End the run's Aggregator."""

    run: str


@dataclass(frozen=True, slots=True)
class TellChild:
    """Say something to the run's Aggregator."""

    run: str
    say: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Changed:
    """Whoever follows the run can see something new."""

    run: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Take everything of this run off the disk."""

    run: str


# --- an Envoy's


@dataclass(frozen=True, slots=True)
class Say:
    """Send a message to the Director; if there is no session, nothing happens."""

    message: ToDirector


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get these blobs, for what a client was asked, from the Director; then the event `Fetched`."""

    run: str
    blobs: tuple[Blob, ...]
    ask: int
    client: str


@dataclass(frozen=True, slots=True)
class Consider:
    """Fetch what is shipped, and see whether the owner's policy approves; then the event `Decided`."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make the run's environment and start its Collaborator; then the event `Prepared`."""

    run: str


@dataclass(frozen=True, slots=True)
class Work:
    """Let the Collaborator do this, from this private state; then the event `Worked`."""

    assign: Assign
    state: Blob | None


@dataclass(frozen=True, slots=True)
class Abort:
    """The Collaborator need not go on with what this client was asked."""

    run: str
    ask: int
    client: str


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send the update's blob, if the Director lacks it, and then the result."""

    result: Result
