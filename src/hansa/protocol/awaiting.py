"""Who may be asked; and where those are too few, waiting until somebody is back.

This file must not know what is asked, nor what becomes of it.
"""

from __future__ import annotations

from dataclasses import replace

from hansa.protocol.effects import Changed, TellChild
from hansa.protocol.events import Wants
from hansa.protocol.run import Phase
from hansa.protocol.turn import Turn


def wants(turn: Turn, event: Wants) -> None:
    """Say who may be asked, as soon as those are more than would be too few."""
    turn.run = replace(turn.run, wanting=event.beyond)
    _tell_if_enough(turn, event.beyond)
    if turn.run.wanting is not None:
        turn.do(Changed(turn.run.id))


def tell_who_may_be_asked(turn: Turn) -> None:
    """Tell the Aggregator, if it waits for that and can be told by now."""
    if turn.run.wanting is not None:
        _tell_if_enough(turn, turn.run.wanting)
        if turn.run.wanting is None:
            turn.do(Changed(turn.run.id))


def _tell_if_enough(turn: Turn, few: int) -> None:
    """Tell it where more are there than would be too few, or nobody is missing who could come back."""
    run, seen = turn.run, turn.run.population()
    at_work = run.visits and not few
    if len(seen["ids"]) <= few and not at_work and run.asked is None:
        if any(member.joined and member.missing for member in run.members.values()):
            return
        if not any(member.joined for member in run.members.values()):
            gone = [f"{name}: {member.why}" for name, member in sorted(run.members.items()) if member.why]
            turn.end(Phase.FAILED, "\n".join(["nobody takes part any more", *gone]), run.model)
            return
    turn.run = replace(run, wanting=None)
    turn.do(TellChild(run.id, {"population": seen}))
