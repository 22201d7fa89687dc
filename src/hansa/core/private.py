"""A client's private state and its commit rule (docs/adr/0003-client-state.md).

SCAFFOLD's control variate, a kept optimiser, a personal model: they stay with the client. A client stores its answer to an
ask, the update together with the state that would follow, before it sends the update. Asked again for the same thing it
answers with what it stored; it never computes twice. The state becomes current only when the update counted.

Pure values: the simulator keeps them in memory, an Envoy on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

from hansa.core.status import Status

State = TypeVar("State")
State_co = TypeVar("State_co", covariant=True)


class Answer(Protocol[State_co]):
    """What a client gave: an update, or the names of its files."""

    @property
    def state(self) -> State_co | None:
        """The private state that follows from it, or None to keep the present one."""
        ...


Given = TypeVar("Given", bound=Answer[object])


@dataclass(frozen=True)
class PrivateState(Generic[State, Given]):
    """What one client keeps.

    Attributes:
        current: the state that the next work sees.
        pending: the answers that were given and not yet settled, by the id of the ask.
    """

    current: State
    pending: Mapping[str, Given] = field(default_factory=dict)

    def answer(self, ask_id: str) -> Given | None:
        """The answer already given to this ask, if it is not settled: send it again instead of computing it again."""
        return self.pending.get(ask_id)

    def propose(self, ask_id: str, answer: Given) -> PrivateState[State, Given]:
        """Store an answer. A second one to the same ask changes nothing: the first was perhaps already sent."""
        if ask_id in self.pending:
            return self
        return replace(self, pending={**self.pending, ask_id: answer})

    def settle(self, ask_id: str, status: Status) -> PrivateState[State, Given]:
        """Forget an answer, keeping the state that follows from it only if the update counted. Settling twice is harmless."""
        if ask_id not in self.pending:
            return self
        following = self.pending[ask_id].state
        current = self.current if status is not Status.UPDATED or following is None else following
        return PrivateState(current, {other: answer for other, answer in self.pending.items() if other != ask_id})  # type: ignore[arg-type]  # an answer's state is of the kind that is kept
