"""What a run and its Envoys say to each other about visits: who is asked, what came, what became of it."""

from __future__ import annotations

from hansa.core.ask import Status
from hansa.protocol.awaiting import tell_who_may_be_asked
from hansa.protocol.closing import close_if_due
from hansa.protocol.effects import Send, TellChild
from hansa.protocol.events import Answers, Beats
from hansa.protocol.facts import Came
from hansa.protocol.messages import Assign, Consent, Offer, Result, Settled
from hansa.protocol.run import Member, Run, Visit
from hansa.protocol.turn import Turn


def offer(run: Run) -> Offer:
    """What a chosen Envoy is sent."""
    return Offer(run.id, run.submission.manifest, run.submission.signature, run.submission.certificate)


def answers(turn: Turn, event: Answers) -> None:
    """A client's answer. What is known already, or too late, is answered with what became of it."""
    run, result = turn.run, event.result
    visit = run.visits.get((result.ask, result.client))
    if visit is None:
        turn.do(Send(event.envoy, _settled(run, result.ask, result.client)))
    elif visit.part.envoy == event.envoy and visit.came is None:
        came(turn, result)


def came(turn: Turn, result: Result) -> None:
    """An answer is written down, and goes to the gate."""
    run = turn.run
    turn.record(
        Came(
            run.id,
            result.ask,
            result.client,
            run.answers + 1,
            result.update,
            result.weight,
            result.metrics,
            result.failure,
            result.log,
            turn.now,
        )
    )
    turn.do(arrived(turn.run, turn.run.visits[result.ask, result.client]))
    close_if_due(turn)


def beats(turn: Turn, event: Beats) -> None:
    """Say what the Envoy should not have any more, and again what it should have and has not."""
    run, envoy = turn.run, event.envoy
    member = turn.member(envoy, present=True, missing=False)
    tell_who_may_be_asked(turn)
    if run.id not in event.beat.runs:
        turn.do(Send(envoy, offer(run)))
        return
    if not member.joined and member.consent is not Consent.REFUSED:  # what it said may be lost
        turn.do(Send(envoy, offer(run)))
    held = {(each.ask, each.client): each for each in event.beat.holding if each.run == run.id}
    for ask, client in sorted(held.keys() - run.visits.keys()):
        turn.do(Send(envoy, _settled(run, ask, client)))
    for key, visit in run.visits.items():
        if visit.part.envoy == envoy and visit.came is None and (key not in held or held[key].answered):
            turn.do(Send(envoy, assign(run, visit)))


def assign_all(turn: Turn, envoy: str) -> None:
    """Ask an Envoy's clients all that is open."""
    if turn.run.members.get(envoy, Member()).present:
        for visit in turn.run.visits.values():
            if visit.part.envoy == envoy and visit.came is None:
                turn.do(Send(envoy, assign(turn.run, visit)))


def assign(run: Run, visit: Visit) -> Assign:
    """What one client is asked."""
    asked, part = visit.asked, visit.part
    last, counted = run.fates.get(part.client), run.counted.get(part.client)
    settled = dict.fromkeys(ask for ask in (counted, last.ask if last else None) if ask is not None)
    previous = tuple(_settled(run, ask, part.client) for ask in settled)
    return Assign(
        run.id,
        asked.ask,
        part.client,
        asked.work,
        asked.round,
        part.occurrence,
        asked.broadcast,
        part.settings,
        part.inputs,
        previous,
        asked.retries,
    )


def _settled(run: Run, ask: int, client: str) -> Settled:
    """What became of a visit. One that nobody remembers counted for nothing, or its client was told long ago."""
    if run.counted.get(client) == ask:
        return Settled(run.id, ask, client, Status.UPDATED)
    fate = run.fates.get(client)
    return Settled(run.id, ask, client, fate.status if fate is not None and fate.ask == ask else Status.DROPPED)


def arrived(run: Run, visit: Visit) -> TellChild:
    """What the Aggregator is told of an answer, so that its gate judges it."""
    answer, held = visit.came, run.members.get(visit.part.envoy, Member()).clients.get(visit.part.client)
    assert answer is not None  # noqa: S101 - for the type checker
    say = {
        "ask": visit.asked.ask,
        "client": visit.part.client,
        "update": answer.update.sha256 if answer.update else None,
        "weight": answer.weight,
        "metrics": answer.metrics,
        "version": visit.asked.version,
        "examples": None if held is None else sum(held.values()),
    }
    return TellChild(visit.asked.run, {"arrived": say})
