"""The port of crews: whoever computes visits for an executor, processes on this machine or actors on a cluster.

This file must not know what they are asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hansa.errors import ConfigError
from hansa.experiment.reference import Mode
from hansa.simulation.processes.handing import LARGEST
from hansa.simulation.processes.lending import Lending
from hansa.simulation.processes.letters import Letter, Sealed
from hansa.simulation.processes.progress import At


@dataclass(frozen=True)
class Manning:
    """How a crew is manned.

    Attributes:
        workers: how many members.
        mode: of the run.
        device: where works compute.
        engine: the only one to use; chosen by trial unless given.
        fresh: every client in a process of its own.
        max_concurrent: so many clients are computed at once at most.
        gpu_fraction: the share of a GPU's memory that one client may take.
        timeout: seconds after which a client's work has failed.

    Raises:
        ConfigError: there is no worker.
    """

    workers: int
    mode: Mode = "reference"
    device: str = "cpu"
    engine: str | None = None
    fresh: bool = False
    max_concurrent: int | None = None
    gpu_fraction: float | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"there is at least 1 worker, not {self.workers}")

    @property
    def processes(self) -> int:
        """How many members there are then."""
        fitting = self.workers if self.gpu_fraction is None else max(1, int(1 / self.gpu_fraction))
        return min(self.workers, fitting, self.max_concurrent or self.workers)

    @property
    def largest(self) -> int:
        """How many clients one of them may be given at once."""
        if self.max_concurrent is None:
            return LARGEST
        return max(1, min(LARGEST, self.max_concurrent // self.processes))


class Member(Protocol):
    """One who computes.

    Attributes:
        known: the keys of what it was lent.
        ready: whether it has loaded the works.
    """

    known: set[int]
    ready: bool

    @property
    def at(self) -> At:
        """How far it is, also when it is dead."""
        ...

    def send(self, sealed: Any) -> None:
        """Send it a letter that its crew sealed; where it is dead, that is seen when one waits for it."""
        ...


class Crew(Protocol):
    """All of them."""

    @property
    def manning(self) -> Manning:
        """How many, and how."""
        ...

    @property
    def lending(self) -> Lending:
        """What they are lent."""
        ...

    @property
    def members(self) -> Sequence[Member]:
        """Who is there now."""
        ...

    @property
    def once(self) -> str:
        """Why each member serves one client only, where that is so."""
        ...

    @property
    def forgiving(self) -> bool:
        """Whether members are lost for other reasons than what they compute: it is then tried once more."""
        ...

    def sealed(self, letter: Letter) -> Sealed:
        """A letter, ready to be sent to any of them."""
        ...

    def begin(self) -> None:
        """Let those come who are lacking."""
        ...

    def wait(self, seconds: float | None) -> Iterator[tuple[Any, Letter | None]]:
        """What comes next: letters, and None of who has ended; nothing after so many seconds."""
        ...

    def replace(self, member: Any, why: str = "") -> str:
        """End a member, and let another come in its stead. Returns how it ended, in words."""
        ...

    def end(self) -> None:
        """End all of them, now; `begin` lets others come."""
        ...

    def close(self) -> None:
        """End all of them, and take back what was lent."""
        ...
