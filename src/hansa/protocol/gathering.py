"""Before a run begins: approval, its turn, and who takes part. Envoys that come and go, at any time."""

from __future__ import annotations

from hansa.core.ask import Status
from hansa.protocol.awaiting import tell_who_may_be_asked
from hansa.protocol.effects import Changed, Send, StartChild
from hansa.protocol.events import Arrives, Consents, Expelled, Leaves, Release, Slot, Withhold
from hansa.protocol.facts import Gathering, Joined, Parted, Released, Started
from hansa.protocol.messages import Consent, Result
from hansa.protocol.run import Member, Phase
from hansa.protocol.turn import Turn
from hansa.protocol.visiting import assign_all, came, offer


def release(turn: Turn, event: Release) -> None:
    """It may run."""
    turn.record(Released(turn.run.id, event.by))
    turn.do(Changed(turn.run.id))


def withhold(turn: Turn, event: Withhold) -> None:
    """It may not."""
    turn.end(Phase.FAILED, "the Director's owner refused it" + (f": {event.why}" if event.why else ""))


def gather(turn: Turn, _event: Slot) -> None:
    """Ask the Envoys that are there."""
    turn.record(Gathering(turn.run.id, turn.now))
    for name, member in turn.run.members.items():
        if member.present:
            turn.do(Send(name, offer(turn.run)))
    turn.do(Changed(turn.run.id))
    begin_if_ready(turn)


def comes_early(turn: Turn, event: Arrives) -> None:
    """An Envoy is there; it will be asked when it is the run's turn."""
    turn.member(event.envoy, present=True, consent=None, why="")


def goes(turn: Turn, event: Leaves) -> None:
    """An Envoy has gone; it may come back. The others need not wait for what it says. Who was dropped last is not asked."""
    run, known = turn.run, turn.run.members.get(event.envoy, Member())
    last = [run.fates[client].status for client in known.clients if client in run.fates]
    turn.member(event.envoy, present=False, missing=known.missing or Status.DROPPED in last)
    begin_if_ready(turn)


def comes(turn: Turn, event: Arrives) -> None:
    """An Envoy is there. What it is to be offered, or asked again, follows when it says what it has: that alone tells."""
    turn.member(event.envoy, present=True, missing=False)
    tell_who_may_be_asked(turn)


def consents(turn: Turn, event: Consents) -> None:
    """An owner said yes, no, or that a person has to look at it."""
    known, answer = turn.run.members.get(event.envoy, Member()), event.answer
    if answer.consent is Consent.WAITING:
        turn.member(event.envoy, consent=answer.consent, why=answer.why)
    elif answer.consent is Consent.READY and not known.joined:
        turn.record(Joined(turn.run.id, event.envoy, event.clients))
    elif answer.consent is Consent.REFUSED:
        parts(turn, event.envoy, answer.why)
    if turn.run.phase is Phase.RUNNING:
        assign_all(turn, event.envoy)
    turn.do(Changed(turn.run.id))
    begin_if_ready(turn)
    tell_who_may_be_asked(turn)


def parts(turn: Turn, envoy: str, why: str) -> None:
    """An Envoy takes no part: what its clients were asked has failed."""
    if turn.run.members.get(envoy, Member()).consent is not Consent.REFUSED:
        turn.record(Parted(turn.run.id, envoy, why))
    for visit in [visit for visit in turn.run.visits.values() if visit.part.envoy == envoy and visit.came is None]:
        came(turn, Result(turn.run.id, visit.asked.ask, visit.part.client, failure=f"its Envoy takes no part: {why}"))


def expelled(turn: Turn, event: Expelled) -> None:
    """An Envoy's certificate was revoked."""
    why = "its certificate was revoked"
    if turn.run.phase in (Phase.GATHERING, Phase.RUNNING):
        turn.member(event.envoy, present=False)
        parts(turn, event.envoy, why)
        begin_if_ready(turn)
        tell_who_may_be_asked(turn)
    else:
        turn.member(event.envoy, present=False, consent=Consent.REFUSED, why=why)


def begin_if_ready(turn: Turn, _event: object = None) -> None:
    """Start the Aggregator when enough have joined and nobody who is there still has to say; give up after long enough."""
    run = turn.run
    if run.phase is not Phase.GATHERING:
        return
    chosen = {name: run.members.get(name, Member()) for name in run.submission.envoys} or run.members
    refused = [f"{name}: {member.why}" for name, member in chosen.items() if member.consent is Consent.REFUSED]
    if run.submission.envoys and len(chosen) - len(refused) < run.submission.at_least:
        turn.end(Phase.FAILED, "\n".join(["too many Envoys take no part", *refused]))
        return
    joined = [member for member in run.members.values() if member.joined]
    undecided = [m for m in chosen.values() if m.present and not m.joined and m.consent is not Consent.REFUSED]
    patient = turn.now < run.gathering_since + turn.patience
    if len(joined) >= run.submission.at_least and not (undecided and patient):
        turn.record(Started(run.id, turn.now))
        turn.do(StartChild(run.id), Changed(run.id))
    elif not patient:
        ready = f"{len(joined)} of at least {run.submission.at_least} Envoys were ready"
        turn.end(Phase.FAILED, "\n".join([f"{ready} when the time to approve was over", *refused]))
