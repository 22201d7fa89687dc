"""What a Director decides about one run: the table `(phase, event) -> handler`.

    held ──Release──> queued ──Slot──> gathering ──enough are ready──> running ──> finished
      │                  │                 │                              ├──────> failed
      └──────────────────┴─────────────────┴───────── Cancel ─────────────┴──────> cancelled

A pair that the table does not name changes nothing: the event is a duplicate, late, or of no concern in that phase.

This file does no input or output and reads no clock: time arrives with each event.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from hansa.protocol import asking, awaiting, closing, gathering, visiting
from hansa.protocol.effects import Discard, Send
from hansa.protocol.events import (
    Answers,
    Arrives,
    Asks,
    Beats,
    Cancel,
    ChildEnds,
    Consents,
    Event,
    Expelled,
    Fails,
    Finishes,
    Judges,
    Leaves,
    Release,
    Restarts,
    Share,
    Slot,
    Tells,
    Tick,
    Wants,
    Withhold,
)
from hansa.protocol.messages import Over
from hansa.protocol.run import Phase, Run
from hansa.protocol.turn import Turn

Handler = Callable[[Turn, Any], None]


def step(run: Run, event: Event, now: float, patience: float = math.inf) -> tuple[Run, list[Any]]:
    """What follows from an event: the run after it, and what is to be done."""
    turn, before = Turn(run, now, patience), run.needed()
    handler = TABLE.get((run.phase, type(event)))
    if handler is not None:
        handler(turn, event)
    gone = before - turn.run.needed()
    return turn.run, [*turn.effects, Discard(run.id, gone)] if gone else turn.effects


def over_still(turn: Turn, event: Consents | Answers | Beats) -> None:
    """The run is over, and the Envoy does not know."""
    if isinstance(event, Beats) and turn.run.id not in event.beat.known:
        return
    turn.do(Send(event.envoy, Over(turn.run.id, turn.run.why)))


_WAITING: dict[type, Handler] = {
    Arrives: gathering.comes_early,
    Leaves: gathering.goes,
    Expelled: gathering.expelled,
    Cancel: asking.cancel,
    Share: asking.share,
}
_OVER: dict[type, Handler] = {Consents: over_still, Answers: over_still, Beats: over_still, Share: asking.share}
_HANDLERS: dict[Phase, dict[type, Handler]] = {
    Phase.HELD: {**_WAITING, Release: gathering.release, Withhold: gathering.withhold},
    Phase.QUEUED: {**_WAITING, Slot: gathering.gather},
    Phase.GATHERING: {
        **_WAITING,
        Arrives: gathering.comes,
        Consents: gathering.consents,
        Beats: visiting.beats,
        Restarts: gathering.begin_if_ready,
        Tick: gathering.begin_if_ready,
    },
    Phase.RUNNING: {
        Arrives: gathering.comes,
        Leaves: gathering.goes,
        Expelled: gathering.expelled,
        Consents: gathering.consents,
        Answers: visiting.answers,
        Beats: visiting.beats,
        Wants: awaiting.wants,
        Asks: asking.asks,
        Judges: asking.judges,
        Tells: asking.tells,
        Finishes: asking.finishes,
        Fails: asking.fails,
        ChildEnds: asking.child_ends,
        Restarts: asking.restarts,
        Cancel: asking.cancel,
        Share: asking.share,
        Tick: closing.close_if_due,
    },
    Phase.FINISHED: _OVER,
    Phase.FAILED: _OVER,
    Phase.CANCELLED: _OVER,
}
TABLE: Mapping[tuple[Phase, type], Handler] = {
    (phase, event): handler for phase, handlers in _HANDLERS.items() for event, handler in handlers.items()
}
"""What is done in which phase about which event. The pairs that are missing are ignored."""
