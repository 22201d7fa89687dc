"""What happens to an Envoy: the events that `envoy` routes to its tables. Whatever must be on disk for one is there before."""

from __future__ import annotations

from dataclasses import dataclass

from hansa.protocol.facts import Answered
from hansa.protocol.messages import Assign, Consent, Offer, Over, Settled, Welcome


@dataclass(frozen=True, slots=True)
class Hears:
    """The Director says something."""

    message: Welcome | Offer | Assign | Settled | Over


@dataclass(frozen=True, slots=True)
class Cut:
    """The session is over."""


@dataclass(frozen=True, slots=True)
class Decided:
    """The owner's policy, or a person, has decided about a run; or a person has to."""

    run: str
    consent: Consent
    why: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The run's environment is there; or it cannot be, and `why` says so."""

    run: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The blobs of a task are on disk."""

    run: str
    ask: int
    client: str


@dataclass(frozen=True, slots=True)
class Worked:
    """The Collaborator has an answer; its blobs are on disk."""

    answered: Answered


@dataclass(frozen=True, slots=True)
class Died:
    """The Collaborator died while it worked for a client. `final` says that it would again: a limit was reached."""

    run: str
    ask: int
    client: str
    why: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Passes:
    """Time has passed."""
