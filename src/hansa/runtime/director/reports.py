"""What a Director says of itself to users: JSON values, made from its state."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hansa.core.ask import Status
from hansa.experiment.manifest import Manifest
from hansa.protocol.choosing import left_out
from hansa.protocol.closing import moments, patient_until
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
        "asked": None if asked is None else _asked(found, asked),
        "progress": _progress(found, core),
        "last": _last(told),
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
        if seat is None:
            chosen[name] = "never seen here"
        elif manifest.envoys and name not in manifest.envoys:
            chosen[name] = "not chosen by name"
        elif seat.session is None:
            chosen[name] = "not online"
        else:
            chosen[name] = left_out(manifest, name, seat.hello)
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
        "cores": seat.hello.cores,
        "memory": seat.hello.memory,
        "clients": json.loads(seat.clients),
        "schema": shard.get("schema"),
        "description": shard.get("description", ""),
    }


def _progress(found: Run, core: Core) -> dict[str, list[int]]:
    """How far the clients are that are waited for, as far as their Envoys tell: steps done, and of how many."""
    told: dict[str, list[int]] = {}
    for (ask, client), visit in found.visits.items():
        counts = core.progress.get(visit.part.envoy, {}).get((found.id, ask, client))
        if counts is not None and visit.came is None:
            told[client] = list(counts)
    return told


def _member(member: Member) -> dict[str, Any]:
    state = "joined" if member.joined else member.consent.value if member.consent else "asked"
    return {"state": state, "online": member.present, "missing": member.missing, "why": member.why}


def _unsuited(found: Run, core: Core) -> list[str]:
    """Those that are online and not asked, and why, but for those that simply were not chosen by name."""
    sent = found.submission
    seats = [(name, seat) for name, seat in sorted(core.machine.seats.items()) if seat.session is not None]
    named = [(name, seat) for name, seat in seats if not sent.envoys or name in sent.envoys]
    return [f"{name}: {why}" for name, seat in named if (why := left_out(sent, name, seat.hello))]


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
        return "\n".join([ready, *refused, *_unsuited(found, core)])
    if found.wanting is not None and found.phase is Phase.RUNNING:
        gone = ", ".join(sorted(name for name, member in found.members.items() if member.missing))
        few = f"{found.wanting} that can be asked are too few" if found.wanting else "nobody can be asked"
        return f"waits for owners: {few} before one of them is back: {gone}"
    return _overdue(found, time.time())


def _overdue(found: Run, now: float) -> str:
    """Why the present ask is open although its time is over."""
    asked = found.asked
    if asked is None or found.closed is not None:
        return ""
    if asked.kind == "quorum" and asked.deadline and asked.deadline < now:
        return f"past its deadline, and waits for enough updates: {asked.count}"
    waiting = [visit for visit in found.of_ask().values() if visit.came is None]
    if asked.kind == "first" and waiting and all(patient_until(found, visit) < now for visit in waiting):
        return "past its patience with everyone, and waits for a first update"
    return ""


def _asked(found: Run, asked: Asked) -> dict[str, Any]:
    """Whom the present ask waits for, and until when; moments in seconds since 1970."""
    visits = found.of_ask().values()
    updated = [visit for visit in visits if visit.fate is not None and visit.fate.status is Status.UPDATED]
    until = min((moment for moment in moments(found) if moment > time.time()), default=math.inf)
    return {
        "work": asked.work,
        "round": asked.round,
        "closing": asked.kind,
        "count": asked.count if asked.kind != "all" else len(visits),
        "updated": len(updated),
        "deadline": asked.deadline or None,
        "grace": _finite(asked.grace),
        "patience": _finite(asked.patience),
        "retries": asked.retries,
        "until": _finite(until),
        "waiting": sorted({visit.part.client for visit in found.visits.values() if visit.came is None}),
        "asked": len(visits),
    }


def _last(told: Told | None) -> dict[str, Any] | None:
    """What is to be known of the last ask besides its updates: who was left out, and who did not count, each with why."""
    if told is None:
        return None
    entry = json.loads(told.entry)
    why = {fate.client: f"{fate.status}: {fate.why}" for fate in told.fates if fate.status is not Status.UPDATED}
    return {
        "round": entry["round"],
        "work": entry["work"],
        "left_out": entry.get("left_out", {}),
        "did_not_count": why,
    }


def _finite(seconds: float) -> float | None:
    return seconds if seconds < math.inf else None
