"""One step of a run, while it is being decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hansa.protocol.effects import Changed, Record, Send, StopChild
from hansa.protocol.facts import Ended
from hansa.protocol.messages import Blob, Over
from hansa.protocol.run import Member, Phase, Run, apply


class Turn:
    """One step of a run: the run as it becomes, and the effects so far.

    Attributes:
        run: the run after all facts so far.
        now: seconds since 1970.
        patience: how long owners have to approve, in seconds.
        effects: in the order in which they are to be done.
    """

    def __init__(self, run: Run, now: float, patience: float) -> None:
        self.run, self.now, self.patience, self.effects = run, now, patience, list[Any]()

    def record(self, fact: object) -> None:
        """A fact: the run changes, and it will be on disk before the effects after it."""
        self.run = apply(self.run, fact)
        self.effects.append(Record(fact))

    def do(self, *effects: object) -> None:
        """More effects."""
        self.effects += effects

    def member(self, envoy: str, **changes: Any) -> Member:
        """Change what is known of an Envoy, until the Director is started again."""
        member = replace(self.run.members.get(envoy, Member()), **changes)
        self.run = replace(self.run, members={**self.run.members, envoy: member})
        return member

    def end(self, phase: Phase, why: str, model: Blob | None = None, entry: str = "") -> None:
        """The run is over: everybody is told, and its Aggregator stops."""
        present = [name for name, member in self.run.members.items() if member.present]
        self.record(Ended(self.run.id, phase.value, why, self.now, model, entry))
        self.do(StopChild(self.run.id), *(Send(name, Over(self.run.id, why)) for name in present), Changed(self.run.id))
