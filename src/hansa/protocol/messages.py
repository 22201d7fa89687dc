"""What Director, Envoys and users say to each other: one frozen value for each message of `hansa.proto`.

All messages are idempotent: a duplicate, a replay or a late one changes nothing. Large things (models, updates, source files)
are blobs, named by the sha256 of their bytes; messages carry the names.

docs/protocol.md says the same for other languages, and a test compares. This file must not know how messages are encoded or
carried, or what is done about them.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hansa.core.status import Status
from hansa.errors import ProtocolError

VERSIONS = (1,)
"""The versions of the protocol that this software speaks, the best first."""

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Blob:
    """A content-addressed file: the sha256 of its bytes in hexadecimal, and their number."""

    sha256: str
    size: int

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise ProtocolError(f"{self.sha256!r:.80} is no sha256 in small hexadecimal digits")
        if self.size < 0:
            raise ProtocolError(f"a file cannot have {self.size} bytes")


class Consent(enum.StrEnum):
    """Where an owner stands about a run."""

    WAITING = "waiting"
    """A person has to look at it."""
    READY = "ready"
    """Approved, fetched, and its environment is there."""
    REFUSED = "refused"
    """Not approved, or it cannot run there."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What an Envoy has for one visit: it works on it, or has an answer that is not settled.

    Attributes:
        run: the run.
        ask: the number of the ask in its run.
        client: who.
        answered: it has an answer, which is not on its way.
        done: steps of the work that are done, as far as it tells.
        of: steps that it will take; 0 where it does not tell.
    """

    run: str
    ask: int
    client: str
    answered: bool
    done: int = 0
    of: int = 0


# --- an Envoy to its Director


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of a session.

    Attributes:
        versions: of the protocol, the best first.
        software: the version of Hansa.
        clock: the Envoy's time, in seconds since 1970.
        shard: what it announces of its data, as JSON (`hansa.data.shards.ShardFacts`).
        labels: what its owner says of it.
        devices: where it can compute.
        cores: that a work may use; 0 where it does not say.
        memory: bytes that a work may use; 0 where it does not say.
    """

    versions: tuple[int, ...]
    software: str
    clock: float
    shard: str
    labels: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    cores: int = 0
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life, and all that the Envoy has in hand, so that the Director can put right what should be otherwise.

    Attributes:
        clock: the Envoy's time, in seconds since 1970.
        runs: those that it was offered since it was started.
        kept: those that it has something of on its disk.
        holding: the visits that it works on, or has answers to that are not settled.
    """

    clock: float
    runs: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    holding: tuple[Holding, ...] = ()

    @property
    def known(self) -> frozenset[str]:
        """The runs that it has anything of."""
        return frozenset([*self.runs, *self.kept, *(each.run for each in self.holding)])


@dataclass(frozen=True, slots=True)
class Answer:
    """Where the Envoy stands about a run that it was offered."""

    run: str
    consent: Consent
    why: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one visit: an update, whose blob was sent before, or a failure.

    Attributes:
        run: the run.
        ask: the number of the ask in its run.
        client: who.
        update: the update's tree; None where the work failed.
        weight: the update's.
        metrics: the update's, as JSON.
        failure: why there is no update: types, files and lines, no values.
        log: what the work printed, where its owner lets that leave.
    """

    run: str
    ask: int
    client: str
    update: Blob | None = None
    weight: float = 0.0
    metrics: str = "{}"
    failure: str = ""
    log: str = ""


# --- a Director to an Envoy


@dataclass(frozen=True, slots=True)
class Welcome:
    """The session stands.

    Attributes:
        version: of the protocol, for this session.
        beat: seconds from one `Beat` to the next.
        clock: the Director's time, in seconds since 1970.
    """

    version: int
    beat: float
    clock: float


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The session does not stand, or is over. `again` says whether dialling again makes sense."""

    why: str
    again: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """A run that the Envoy may take part in.

    Attributes:
        run: its id.
        manifest: of what is shipped; its sha256 is what is approved and signed.
        signature: the submitter's, over the manifest's sha256 in ASCII; with `certificate` it says who submitted it.
        certificate: the submitter's, PEM.
    """

    run: str
    manifest: Blob
    signature: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a client's answer: only where it is `updated` does the state that goes with it become current."""

    run: str
    ask: int
    client: str
    status: Status


@dataclass(frozen=True, slots=True)
class Assign:
    """One client is asked.

    Attributes:
        run: the run.
        ask: the number of the ask in its run; a later ask to the same client supersedes an earlier one.
        client: who.
        work: which of the algorithm's works.
        round: the round that the ask belongs to.
        occurrence: how often the client was asked for this work in this round before.
        broadcast: the arrays for everyone.
        settings: for everyone, overlaid by those for this client, as JSON.
        inputs: arrays for this client alone.
        previous: what became of the client's answers that it may not know to be settled.
        retries: so many times a work that failed is to be tried again before that is the answer.
    """

    run: str
    ask: int
    client: str
    work: str
    round: int
    occurrence: int
    broadcast: Blob
    settings: str = "{}"
    inputs: Blob | None = None
    previous: tuple[Settled, ...] = ()
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Over:
    """The run has ended, or is unknown: forget it."""

    run: str
    why: str = ""


# --- calls: a newcomer's, a user's, an admin's


@dataclass(frozen=True, slots=True)
class Enroll:
    """A newcomer asks for its certificate: a signing request in PEM, and the one-time token."""

    request: bytes
    token: str


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The certificate, PEM."""

    certificate: bytes


@dataclass(frozen=True, slots=True)
class Submit:
    """A new experiment. Its blobs were sent before.

    Attributes:
        manifest: what is shipped, as `hansa.experiment.manifest` writes it.
        signature: over the manifest's sha256 in ASCII.
        certificate: the submitter's, PEM.
        key: made by the submitter, so that a call that is repeated after a cut submits once.
    """

    manifest: bytes
    signature: bytes
    certificate: bytes
    key: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """The new run's id."""

    run: str


@dataclass(frozen=True, slots=True)
class Lacking:
    """Which of these blobs does the Director lack?"""

    blobs: tuple[Blob, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """Who would take part in this experiment, if it were submitted now?"""

    manifest: bytes


class Request(enum.StrEnum):
    """What is asked about a run."""

    SHOW = "show"
    CANCEL = "cancel"
    REMOVE = "remove"
    APPROVE = "approve"
    """The Director's own approval, where its policy asks for one."""
    REFUSE = "refuse"
    SHARE = "share"
    """Let another user see it."""
    RESUME = "resume"
    """Go on, as a new run, with one that was over before its end."""
    LOGS = "logs"
    """What was printed: by the Aggregator, and at the owners who let that leave; `detail` names one client."""


@dataclass(frozen=True, slots=True)
class About:
    """A request about one run; `detail` is a reason, or a name."""

    run: str
    request: Request
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """How does the federation stand: its Envoys, its runs?"""


@dataclass(frozen=True, slots=True)
class Drain:
    """Let the Director stop: nothing new begins, what was accepted is on disk."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Push what happens in a run, beginning with its entry number `after`, until it has ended."""

    run: str
    after: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to a question, as JSON."""

    json: str


# --- the heads of transfers


@dataclass(frozen=True, slots=True)
class Upload:
    """A blob comes. For an update `run`, `ask` and `client` say whose; for a submission they are empty."""

    blob: Blob
    offset: int = 0
    run: str = ""
    ask: int = 0
    client: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """How much of each blob is there; complete where that is its size."""

    bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Download:
    """Send a blob of a run, from an offset on."""

    sha256: str
    run: str
    offset: int = 0
