"""A small Envoy, written from docs/protocol.md: one session after the other, and what is done about each message."""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import trees, wire
from .calls import Gone, Link, Refused, Session
from .learning import Examples, Recipe, Visit, evaluate, train
from .memory import Memory
from .signed import NotSigned, signer

FIRST, LONGEST = 0.1, 15.0
PREVIOUS = "previous"


@dataclass(frozen=True)
class Owner:
    """Who this is, and what they hold and know.

    Attributes:
        name: the Envoy's.
        data: the examples by split, "train" and "test".
        recipes: how to train in the experiments that are known, by the sha256 of the file `entry`.
        authority: the federation's certificate; None without TLS.
        chunk: bytes in a chunk.
        cut: break the connection off once, in the first upload that has so many bytes at the Director; 0 for never.
    """

    name: str
    data: Mapping[str, Examples]
    recipes: Mapping[str, Recipe]
    authority: Path | None
    chunk: int = 2**20
    cut: int = 0


@dataclass
class Knows:
    """What is forgotten when the process ends: the runs that were offered, and where the owner stands about each."""

    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)


class Envoy:
    """Runs sessions until it has heard Over so many times.

    Args:
        owner: whose it is.
        memory: what is on disk.
        dial: makes a connection.
        log: is told what happens.
    """

    def __init__(
        self, owner: Owner, memory: Memory, dial: Callable[[], Link], log: Callable[[dict[str, Any]], None]
    ) -> None:
        self._owner, self._memory, self._dial, self._log = owner, memory, dial, log
        self._knows, self._left, self._bound = Knows(), 0, FIRST
        self._link: Link
        self._session: Session
        self._every = self._next = math.inf
        self._at: tuple[dict[str, Any], int] | None = None
        self._on_its_way: set[tuple[str, int, str]] = set()
        self._cut = owner.cut

    def run(self, runs: int) -> None:
        """Dial until there is a session, and again when it is over."""
        self._left = runs
        while self._left > 0:
            try:
                self._hold()
            except Gone as why:
                self._log({"gone": str(why)})
                time.sleep(random.uniform(0, self._bound))  # noqa: S311 - when to dial again is no secret
                self._bound = min(2 * self._bound, LONGEST)

    # --- a session

    def _hold(self) -> None:
        self._link, self._every, self._next = self._dial(), math.inf, math.inf
        self._on_its_way.clear()
        try:
            self._session = self._link.session()
            shard = json.dumps(self._facts())
            self._say("hello", versions=[1], software="second client", clock=time.time(), shard=shard, devices=["cpu"])
            while self._left > 0:
                frame = self._session.receive(min(self._next - time.monotonic(), 3600.0))
                if frame is not None:
                    kind, fields = wire.decode(frame)
                    self._log({"heard": kind})
                    self._HEARS[kind](self, fields)
                self._beat_if_due()
        finally:
            self._link.close()

    def _say(self, kind: str, **fields: Any) -> None:
        self._session.send(wire.encode(kind, fields))

    def _beat_if_due(self) -> None:
        if time.monotonic() >= self._next:
            self._beat()

    def _beat(self) -> None:
        self._next = time.monotonic() + self._every
        holding = [
            {"run": run, "ask": ask, "client": client, "answered": (run, ask, client) not in self._on_its_way}
            for (run, client), pending in self._memory.pending.items()
            for ask in pending
        ]
        if self._at is not None:
            assign, done = self._at
            now = {name: assign[name] for name in ("run", "ask", "client")}
            holding.append({**now, "answered": False, "done": done, "of": self._steps(assign)})
        kept = sorted({run for run, _ in self._memory.pending})
        self._log({"beat": len(holding)})
        self._say("beat", clock=time.time(), runs=list(self._knows.answers), kept=kept, holding=holding)

    # --- what is heard

    def _welcome(self, fields: dict[str, Any]) -> None:
        self._every, self._bound = fields["beat"], FIRST
        self._beat()  # what is answered and has not arrived is asked for again

    def _goodbye(self, fields: dict[str, Any]) -> None:
        if not fields["again"]:
            raise SystemExit(fields["why"])
        raise Gone(fields["why"])

    def _offer(self, offer: dict[str, Any]) -> None:
        run = offer["run"]
        if run not in self._knows.answers:
            consent, why = self._considered(offer)
            self._log({"answer": consent, "why": why})
            self._knows.answers[run] = {"run": run, "consent": consent, "why": why}
        self._say("answer", **self._knows.answers[run])

    def _settled(self, settled: dict[str, Any]) -> None:
        self._log({"settled": settled["ask"], "status": settled["status"]})
        self._memory.settle(settled["run"], settled["client"], settled["ask"])

    def _over(self, over: dict[str, Any]) -> None:
        self._memory.forget(over["run"])
        if self._knows.answers.pop(over["run"], None) is not None:
            self._left -= 1

    def _assign(self, assign: dict[str, Any]) -> None:
        for settled in assign[PREVIOUS]:
            self._settled(settled)
        run, client, ask = assign["run"], assign["client"], assign["ask"]
        if run not in self._knows.answers or ask <= self._memory.settled.get((run, client), 0):
            return
        if self._knows.answers[run]["consent"] == "refused":
            self._say("answer", **self._knows.answers[run])
            return
        result = self._memory.answer(run, client, ask)
        if result is None:
            result = self._worked(assign)
            self._memory.keep(result)
            self._log({"kept": ask})
        self._deliver(result)

    _HEARS: Mapping[str, Any] = {
        "welcome": _welcome,
        "goodbye": _goodbye,
        "offer": _offer,
        "settled": _settled,
        "over": _over,
        "assign": _assign,
    }

    # --- whether, and what is done

    def _considered(self, offer: dict[str, Any]) -> tuple[str, str]:
        """("ready" or "refused", why)."""
        manifest = json.loads(self._fetched(offer["run"], offer["manifest"]["sha256"]))
        self._knows.manifests[offer["run"]] = manifest
        (entry,) = [file for file in manifest["files"] if file["path"] == manifest["entry"]]
        try:
            if self._owner.authority is not None:
                authority, sha256 = self._owner.authority.read_bytes(), offer["manifest"]["sha256"]
                signed = signer(offer["certificate"], authority, sha256, offer["signature"], datetime.now(UTC))
                self._log({"signed": list(signed)})
        except NotSigned as problem:
            return "refused", f"its signature is not good: {problem}"
        if entry["sha256"] not in self._owner.recipes:
            return "refused", f"{self._owner.name} does not know this experiment"
        return "ready", ""

    def _worked(self, assign: dict[str, Any]) -> dict[str, Any]:
        """The fields of a Result."""
        result: dict[str, Any] = {name: assign[name] for name in ("run", "ask", "client")}
        self._at = assign, 0
        for attempt in range(assign["retries"] + 1):
            try:
                update, weight, metrics = self._computed(assign)
            except (ValueError, LookupError) as problem:
                self._log({"failed": str(problem), "attempt": attempt})
                result |= {"update": None, "failure": type(problem).__name__}
            else:
                blob = self._memory.put(trees.encode(update))
                result |= {"update": blob, "weight": weight, "metrics": json.dumps(metrics), "failure": ""}
                break
        self._at = None
        return result

    def _computed(self, assign: dict[str, Any]) -> tuple[trees.Tree, float, dict[str, Any]]:
        manifest = self._knows.manifests[assign["run"]]
        recipe = self._recipe(assign["run"])
        model = trees.decode(self._fetched(assign["run"], assign["broadcast"]["sha256"]))
        self._log({"work": assign["work"], "round": assign["round"], "ask": assign["ask"]})
        if assign["work"] == "evaluate":
            return evaluate(model, self._owner.data["test"])
        if assign["work"] != "train":
            raise LookupError(assign["work"])

        def progress(step: int) -> None:
            self._at = assign, step
            self._beat_if_due()

        visit = Visit(manifest["seed"], assign["client"], assign["round"], "train", assign["occurrence"])
        return train(model, self._owner.data["train"], recipe, visit, progress)

    def _recipe(self, run: str) -> Recipe:
        manifest = self._knows.manifests[run]
        (entry,) = [file["sha256"] for file in manifest["files"] if file["path"] == manifest["entry"]]
        return self._owner.recipes[entry]

    def _steps(self, assign: dict[str, Any]) -> int:
        return self._recipe(assign["run"]).steps if assign["work"] == "train" else 0

    # --- files

    def _fetched(self, run: str, sha256: str) -> bytes:
        def download(offset: int) -> Iterator[bytes]:
            return self._link.download(wire.encode("download", {"sha256": sha256, "run": run, "offset": offset}))

        return self._memory.fetched(sha256, download)

    def _deliver(self, result: dict[str, Any]) -> None:
        """The update, as much of it as is lacking, and then the Result."""
        which = result["run"], result["ask"], result["client"]
        self._on_its_way.add(which)
        try:
            if result["update"] is not None:
                self._upload(result, result["update"])
            self._say("result", **result)
        except Refused as why:
            if why.kind == "NotConnected":
                raise Gone(str(why)) from why
            if why.kind not in ("NotAllowed", "UnknownName"):
                raise
            self._on_its_way.discard(which)
            self._log({"refused": str(why)})  # nobody waits for it any more: the next Beat puts it right

    def _upload(self, result: dict[str, Any], blob: dict[str, Any]) -> None:
        offset = self._there(blob)
        if offset == blob["size"]:
            return
        content = self._memory.path(blob["sha256"]).read_bytes()
        whose = {name: result[name] for name in ("run", "ask", "client")}
        self._log({"upload": whose["ask"], "offset": offset, "size": blob["size"]})
        head = wire.encode("upload", {"blob": blob, "offset": offset, **whose})
        _, received = wire.decode(self._link.upload(head, self._chunks(content, offset, result)))
        if received["bytes"] != [blob["size"]]:
            raise Gone("an upload came to its end too early")

    def _chunks(self, content: bytes, offset: int, result: dict[str, Any]) -> Iterator[bytes]:
        for place in range(offset, len(content), self._owner.chunk):
            if 0 < self._cut <= place - offset:
                until = time.monotonic() + 30
                while not (there := self._there(result["update"])) and time.monotonic() < until:
                    time.sleep(0.01)
                self._cut = 0
                self._log({"cut": result["ask"], "there": there})
                raise Gone("cut, as it was told to")
            self._beat_if_due()
            yield content[place : place + self._owner.chunk]

    def _there(self, blob: dict[str, Any]) -> int:
        _, received = wire.decode(self._link.call(wire.encode("lacking", {"blobs": [blob]})))
        here: int = received["bytes"][0]
        return here

    def _facts(self) -> dict[str, Any]:
        x, name = self._owner.data["train"].x, self._owner.name
        classes = max(int(each.y.max()) for each in self._owner.data.values()) + 1
        schema = {
            "x": {"shape": list(x.shape[1:]), "dtype": x.dtype.name},
            "y": {"shape": [], "dtype": "int64", "classes": classes},
        }
        clients = {name: {split: len(held) for split, held in self._owner.data.items()}}
        return {"name": name, "description": "another language's", "schema": schema, "clients": clients}


def known(entry: bytes) -> str:
    """How an experiment is recognised: by its file."""
    return hashlib.sha256(entry).hexdigest()
