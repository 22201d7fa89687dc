"""What a scientist sees of a federation and of a run in it: the same, wherever it runs.

This file must not know where that is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from hansa.callbacks import Callback, ProgressBar
from hansa.core.history import Entry, History
from hansa.core.tree import Tree
from hansa.data.schema import Schema
from hansa.errors import UnknownName
from hansa.plots import html_table

OVER = ("finished", "failed", "cancelled")
"""The phases in which nothing happens any more."""

Which = Literal["best", "last"] | int
"""Which of a run's models: the best by the experiment's `best`, the last, or that after so many rounds."""


@dataclass(frozen=True)
class RunStatus:
    """How a run stands.

    Attributes:
        id: the run's.
        name: of its experiment.
        phase: "held", "queued", "gathering", "running", "finished", "failed" or "cancelled".
        why: what it waits for, or why it ended as it did; empty where there is nothing to say.
        round: how many rounds are completed.
        rounds: how many there will be, where that is known.
        work: what its clients are asked now.
        waiting: the clients whose answer is awaited.
        asked: how many clients the present ask has.
        envoys: of each owner that was chosen, how it stands: "joined", "refused: ...".
        models: which models can be fetched besides "last", with the round that each is of.
    """

    id: str
    name: str
    phase: str
    why: str = ""
    round: int = 0
    rounds: int | None = None
    work: str = ""
    waiting: tuple[str, ...] = ()
    asked: int = 0
    envoys: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, int] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether nothing happens any more."""
        return self.phase in OVER

    def __repr__(self) -> str:
        of = "" if self.rounds is None else f" of {self.rounds}"
        doing = f", {self.work!r} at {len(self.waiting)} clients" if self.work and not self.over else ""
        why = f": {self.why.splitlines()[0]}" if self.why else ""
        return f"<{self.phase} after {self.round}{of} rounds{doing}{why}>"

    def _repr_html_(self) -> str:
        rows = {"run": self.id, "phase": self.phase, "rounds": f"{self.round} of {self.rounds or '?'}"}
        rows |= {"why": self.why} if self.why else {}
        rows |= {"waits for": ", ".join(self.waiting[:20])} if self.waiting else {}
        rows |= dict(self.envoys)
        return pairs(self.name, rows)


@dataclass(frozen=True)
class RunEvent:
    """Something happened in a run: an ask closed (`entry`), or its state changed.

    Attributes:
        status: how the run stands.
        entry: the new entry of its History; None where only the state changed.
    """

    status: RunStatus
    entry: Entry | None = None


@dataclass(frozen=True)
class EnvoyInfo:
    """An owner's Envoy.

    Attributes:
        name: the owner's.
        online: it is in session.
        since: since when, in seconds since 1970; 0 where that means nothing.
        clients: for each of its clients how many examples it holds, by split.
        schema: what an example looks like.
        devices: where it can compute.
        labels: what its owner says of it.
        description: what its owner says of the data.
        cores: that a work may use there; 0 where that is not said.
        memory: bytes that a work may use there; 0 where that is not said.
    """

    name: str
    online: bool
    since: float
    clients: Mapping[str, Mapping[str, int]]
    schema: Schema
    devices: tuple[str, ...] = ("cpu",)
    labels: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    cores: int = 0
    memory: int = 0

    @property
    def examples(self) -> Mapping[str, int]:
        """How many examples its clients hold together, by split."""
        return {split: sum(held.get(split, 0) for held in self.clients.values()) for split in ("train", "test")}

    def _repr_html_(self) -> str:
        return envoys_html(self.description, [self])

    def __repr__(self) -> str:
        held = ", ".join(f"{count} to {split}" for split, count in self.examples.items() if count)
        state = "online" if self.online else "away"
        clients = f"{len(self.clients)} client{'' if len(self.clients) == 1 else 's'}"
        return f"<{self.name}: {state}, {clients}, {held} on {', '.join(self.devices)}>"


class Run(Protocol):
    """One execution of an experiment."""

    @property
    def id(self) -> str:
        """Unique in its federation."""
        ...

    @property
    def name(self) -> str:
        """The experiment's."""
        ...

    @property
    def history(self) -> History:
        """What happened so far, the last model included."""
        ...

    def status(self) -> RunStatus:
        """How it stands."""
        ...

    def stream(self) -> Iterator[RunEvent]:
        """What happens, from the beginning, as it happens, until it is over."""
        ...

    def wait(self) -> Run:
        """Wait until it is over. Raises `RunFailed` where it failed or was cancelled; the error's History is what there is."""
        ...

    def model(self, which: Which = "last") -> Tree:
        """One of its models. Raises `UnknownName` where that one was not kept."""
        ...

    def logs(self, client: str = "") -> str:
        """What was printed, of one client or of all; of a real owner only what they let leave."""
        ...

    def cancel(self, why: str = "") -> None:
        """Stop it; what was reached is kept, and `resume` goes on from there."""
        ...

    def resume(self) -> Run:
        """Go on with a run that failed or was cancelled, from its last completed ask."""
        ...

    def download(self, folder: Path | str) -> Path:
        """Write `model.safetensors`, `history.json`, and the kept models to a folder."""
        ...


def watching(callbacks: Sequence[Callback] | None, wait: bool) -> tuple[Callback, ...]:
    """The callbacks of a run: those that were given, or a bar where somebody waits for it in a terminal."""
    if callbacks is not None:
        return tuple(callbacks)
    return (ProgressBar(),) if wait and sys.stderr is not None and sys.stderr.isatty() else ()


def pairs(title: str, rows: Mapping[str, Any]) -> str:
    """A small HTML table of names and values, for notebooks."""
    return html_table(title, ("", ""), list(rows.items()))


def envoys_html(title: str, envoys: Sequence[EnvoyInfo]) -> str:
    """Who is there, as an HTML table."""
    headings = ("envoy", "online", "clients", "to train on", "to test on", "devices")
    rows = [
        (each.name, "yes" if each.online else "no", len(each.clients), *each.examples.values(), ", ".join(each.devices))
        for each in envoys
    ]
    return html_table(title, headings, rows, headings[2:5])


def not_kept(which: Which, kept: Mapping[str, Any]) -> UnknownName:
    """The error for a model that is not there; `kept` has those that are."""
    error = UnknownName.among("model", str(which), ["last", *kept])
    error.hint = 'an Experiment keeps more of them: best="max accuracy", keep_every=5'
    return error
