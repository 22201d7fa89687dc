"""A Director's machine that a test leads by hand, event by event, with its journal and its clock.

This file must not know what is tried with it.
"""

from __future__ import annotations

import json
from typing import Any

from hansa.core.ask import Closing, Kind
from hansa.protocol.director import Begins, Concerns, Director, Greets, Passes, Says, Submits
from hansa.protocol.effects import Record, Send, TellChild
from hansa.protocol.events import Asks, Judges, Tells
from hansa.protocol.facts import Accepted, Fate, Told
from hansa.protocol.messages import Answer, Blob, Consent, Hello, Result


def blob(number: int) -> Blob:
    """A blob of that name."""
    return Blob(f"{number:064x}", 1)


class Centre:
    """A Director's machine with its journal; every Envoy hosts the one client that is called as itself."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.journal: list[Any] = []
        self.now = 0.0
        self.sessions: dict[str, int] = {}
        self.machine = Director(**settings)

    def handle(self, event: Any, *, crash_before: type | None = None) -> list[Any]:
        """What it does; where an effect of that kind, or a fact of it, stands, it crashes and is started again."""
        done: list[Any] = []
        for effect in self.machine.handle(event, self.now):
            kinds = type(effect), type(effect.fact) if isinstance(effect, Record) else None
            if crash_before is not None and crash_before in kinds:
                self.machine = Director(self.journal, **self.settings)
                return done + self.machine.handle(Begins(), self.now)
            if isinstance(effect, Record):
                self.journal.append(effect.fact)
            done.append(effect)
        return done

    def submit(self, *envoys: str, at_least: int = 1) -> None:
        """A user submits a run, "r"."""
        files = blob(1), b"", b"", blob(2)
        self.handle(Submits(Accepted("r", "key", "user", "name", *files, (), envoys, at_least=at_least)))

    def greet(self, envoy: str, session: int = 1) -> list[Any]:
        """An Envoy opens a session."""
        self.sessions[envoy] = session
        return self.handle(Greets(envoy, session, Hello((1,), "", 0.0, ""), json.dumps({envoy: {"train": 1}})))

    def says(self, envoy: str, message: Any, **how: Any) -> list[Any]:
        """An Envoy says something in its session."""
        return self.handle(Says(envoy, self.sessions[envoy], message), **how)

    def joins(self, *envoys: str) -> None:
        """Envoys take part."""
        for envoy in envoys:
            self.greet(envoy)
            self.says(envoy, Answer("r", Consent.READY))

    def asks(self, *clients: str, kind: Kind = "all", work: str = "train", **closing: Any) -> list[Any]:
        """The algorithm asks; `closing` as in `Closing`."""
        parts = tuple((client, "{}", None) for client in clients)
        return self.handle(Concerns("r", Asks(work, 1, 0, Closing(kind, **closing), blob(3), parts)))

    def counts(self, ask: int, client: str) -> list[Any]:
        """A client answers, and the gate likes it."""
        effects = self.says(client, Result("r", ask, client, blob(100 + ask)))
        return effects + self.handle(Concerns("r", Judges(ask, client, "")))

    def passes(self, seconds: float) -> list[Any]:
        """Time passes."""
        self.now += seconds
        return self.handle(Passes())

    def restarts(self) -> list[Any]:
        """The Director is killed, and started again from its journal."""
        self.machine = Director(self.journal, **self.settings)
        return self.handle(Begins())

    def tells(self, ask: int, *fates: Fate) -> list[Any]:
        """The Aggregator has told the algorithm."""
        return self.handle(Concerns("r", Tells(Told("r", ask, fates, "{}", 1, blob(4), (blob(5),), blob(5)))))

    @property
    def run(self) -> Any:
        """The run."""
        return self.machine.runs["r"]


def running(*envoys: str, **settings: Any) -> Centre:
    """A run that runs, with these Envoys."""
    centre = Centre(**settings)
    centre.submit(*envoys, at_least=len(envoys))
    centre.joins(*envoys)
    return centre


def sent(effects: list[Any], kind: type) -> list[Any]:
    """The messages of a kind that leave for Envoys."""
    return [effect.message for effect in effects if isinstance(effect, Send) and isinstance(effect.message, kind)]


def closed(effects: list[Any]) -> dict[str, str] | None:
    """What became of each client, where an ask closes."""
    closes = [effect.say["close"] for effect in effects if isinstance(effect, TellChild) and "close" in effect.say]
    return {client: status for _, client, status, _ in closes[0]["fates"]} if closes else None
