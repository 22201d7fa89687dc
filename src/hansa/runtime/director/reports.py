"""What a Director says of itself to users: JSON values, made from its state."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hansa.experiment.manifest import Manifest
from hansa.protocol.director import Director
from hansa.protocol.facts import Asked, Came, Ended, Told
from hansa.protocol.messages import Blob, Consent
from hansa.protocol.run import Member, Phase, Run

if TYPE_CHECKING:
    from hansa.runtime.director.core import Core


def overview(core: Core, runs: Iterable[Run]) -> dict[str, Any]:
    """The Envoys, and these runs."""
    seats = core.machine.seats.items()
    return {
        "envoys": [_envoy(name, seat) for name, seat in sorted(seats)],
        "runs": [run(each, core) for each in runs],
    }


def run(found: Run, core: Core) -> dict[str, Any]:
    """One run."""
    sent, told, asked = found.submission, found.told, found.asked
    waiting = sorted({visit.part.client for visit in found.visits.values() if visit.came is None})
    model = found.ended.model if found.ended is not None else told.model if told is not None else sent.initial
    return {
        "run": found.id,
        "name": sent.name,
        "owner": sent.owner,
        "shared": sorted(found.users),
        "phase": found.phase.value,
        "why": found.why or _waits_for(found, core),
        "submitted": sent.at,
        "ended": found.ended.at if found.ended is not None else None,
        "hash": sent.manifest.sha256,
        "seed": sent.seed,
        "rounds": told.rounds if told is not None else 0,
        "asks": found.asks,
        "asked": None
        if asked is None
        else {
            "work": asked.work,
            "round": asked.round,
            "closing": asked.kind,
            "deadline": asked.deadline or None,
            "waiting": waiting,
            "asked": len(found.of_ask()),
        },
        "model": None if model is None else _blob(model),
        "models": {label: {"round": kept.round, **_blob(kept.model)} for label, kept in found.models.items()},
        "resumes": sent.resumes,
        "environment": json.loads(told.environment) if told is not None else {},
        "envoys": {name: _member(member) for name, member in sorted(found.members.items())},
        "crashes": found.crashes,
    }


def entries(facts: Iterable[Any]) -> list[str]:
    """The History's entries, as JSON texts, in order."""
    written = [fact.entry for fact in facts if isinstance(fact, Told | Ended)]
    return [entry for entry in written if entry]


def printed(facts: Sequence[Any], client: str = "") -> str:
    """What works printed at the owners who let that leave, visit by visit; of one client, where one is named."""
    asked = {fact.ask: fact for fact in facts if isinstance(fact, Asked)}
    parts = []
    for fact in facts:
        if isinstance(fact, Came) and client in ("", fact.client) and (fact.log or fact.failure):
            ask = asked.get(fact.ask)
            work = f", round {ask.round}, work {ask.work!r}" if ask is not None else ""
            told = [part.rstrip("\n") for part in (fact.log, fact.failure) if part]
            parts.append("\n".join([f"--- {fact.client}{work}", *told, ""]))
    return "".join(parts)


def last_lines(log: Path, most: int = 64 * 1024) -> str:
    """The end of what an Aggregator printed."""
    data = log.read_bytes()[-most:].decode("utf-8", errors="replace")
    return f"--- the Aggregator\n{data}" if data else ""


def preview(machine: Director, manifest: Manifest) -> dict[str, Any]:
    """Who would take part in an experiment, and who not, and why."""
    chosen: dict[str, str] = {}
    for name in sorted({*machine.seats, *manifest.envoys}):
        seat = machine.seats.get(name)
        if manifest.envoys and name not in manifest.envoys:
            chosen[name] = "not chosen by name"
        elif seat is None:
            chosen[name] = "never seen here"
        elif seat.session is None:
            chosen[name] = "not online"
        elif lacks := sorted(manifest.labels.items() - seat.hello.labels.items()):
            chosen[name] = "lacks " + ", ".join(f"{label}={value}" for label, value in lacks)
        else:
            chosen[name] = ""
    taking = [name for name, why in chosen.items() if not why]
    clients = {client: sizes for name in taking for client, sizes in json.loads(machine.seats[name].clients).items()}
    return {
        "takes_part": taking,
        "clients": clients,
        "left_out": {name: why for name, why in chosen.items() if why},
        "at_least": manifest.at_least,
        "enough": len(taking) >= manifest.at_least,
    }


def _envoy(name: str, seat: Any) -> dict[str, Any]:
    shard = json.loads(seat.hello.shard)
    return {
        "name": name,
        "online": seat.session is not None,
        "since": seat.since,
        "heard": seat.heard,
        "version": seat.hello.software,
        "clock_ahead": round(seat.skew, 1),
        "labels": dict(seat.hello.labels),
        "devices": list(seat.hello.devices),
        "clients": json.loads(seat.clients),
        "schema": shard.get("schema"),
        "description": shard.get("description", ""),
    }


def _member(member: Member) -> dict[str, Any]:
    state = "joined" if member.joined else member.consent.value if member.consent else "asked"
    return {"state": state, "online": member.present, "missing": member.missing, "why": member.why}


def _blob(blob: Blob) -> dict[str, Any]:
    return {"sha256": blob.sha256, "size": blob.size}


def _waits_for(found: Run, core: Core) -> str:
    """Why nothing seems to happen, for people."""
    full = core.ledger.full or core.shelf.full or core.full_children.get(found.id, "")
    if full and not found.phase.over:
        return f"paused: {full}"
    if found.phase is Phase.HELD:
        return "waits for the approval of the Director's owner"
    if found.phase is Phase.GATHERING:
        looking = [name for name, member in found.members.items() if member.consent is Consent.WAITING]
        if looking:
            return f"waits for the approval of {', '.join(sorted(looking))}"
        joined = sum(member.joined for member in found.members.values())
        refused = [f"{name}: {m.why}" for name, m in sorted(found.members.items()) if m.consent is Consent.REFUSED]
        ready = f"waits for Envoys: {joined} of at least {found.submission.at_least} are ready"
        return "\n".join([ready, *refused])
    if found.asked is not None and found.asked.deadline and found.asked.deadline < time.time():
        return "past its deadline, and waits for enough updates"
    return ""
