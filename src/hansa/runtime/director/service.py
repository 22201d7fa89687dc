"""What a Director answers to those who dial it. Rights are checked here, at every call; what follows is the core's business."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import hansa
from hansa.data.documents import schema_to_json
from hansa.data.shards import ShardFacts, compare
from hansa.errors import ConfigError, DataError, HansaError, InputError, NotAllowed, ProtocolError, UnknownName
from hansa.experiment.manifest import Manifest
from hansa.pki import Authority, verified
from hansa.protocol import rights, wire
from hansa.protocol.director import Concerns, Drains, Removes, Submits
from hansa.protocol.events import Cancel, Release, Share, Withhold
from hansa.protocol.facts import Accepted
from hansa.protocol.messages import (
    About,
    Answer,
    Beat,
    Blob,
    Download,
    Drain,
    Enroll,
    Enrolled,
    Follow,
    Goodbye,
    Hello,
    Lacking,
    Overview,
    Preview,
    Received,
    Report,
    Request,
    Result,
    Submit,
    Submitted,
    Upload,
)
from hansa.protocol.peer import Peer, Role
from hansa.protocol.run import Phase, Run
from hansa.runtime.config import DirectorConfig
from hansa.runtime.director import reports
from hansa.runtime.director.approval import Approval
from hansa.runtime.director.core import Core
from hansa.runtime.director.uploads import Uploads
from hansa.runtime.files import chunks_of
from hansa.runtime.points import passes

GREETING = 30.0
"""Seconds that a session may take for its first message."""

_log = logging.getLogger("hansa.director")


class DirectorService:
    """The port's `Service`, over a core.

    Args:
        core: the state machine and its surroundings.
        config: the Director's.
        authority: gives certificates to newcomers; None without TLS.
        approval: the Director's own.
        started: when it was started, in seconds since 1970.
    """

    def __init__(self, core: Core, config: DirectorConfig, authority: Authority | None, approval: Approval) -> None:
        self._core, self._config, self._authority, self._approval = core, config, authority, approval
        self._started = time.time()
        self._uploads = Uploads(core.machine.runs, core.shelf)

    # --- sessions of Envoys

    async def session(self, peer: Peer, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """An Envoy's session: its first message is a `Hello`."""
        async with asyncio.timeout(GREETING):
            hello = _read(peer, await anext(aiter(frames)), Hello)
        try:
            facts = self._announced(peer, hello)
        except HansaError as problem:
            _log.warning("envoy %s is not taken: %s", peer.name, problem.line)
            yield wire.encode(Goodbye(str(problem), again=False))
            return
        clients = json.dumps(facts.to_json()["clients"])
        session = await self._core.greet(peer, hello, clients)
        hearing = asyncio.create_task(self._hear(session, frames))
        hearing.add_done_callback(lambda _: session.close())
        try:
            async for frame in session:
                yield frame
            if hearing.done():
                hearing.result()
        finally:
            hearing.cancel()
            await self._core.part(session)

    async def _hear(self, session: Any, frames: AsyncIterator[bytes]) -> None:
        try:
            async for frame in frames:
                message = wire.decode(frame)
                if not isinstance(message, Beat | Answer | Result):
                    raise ProtocolError(f"an Envoy does not say {type(message).__name__} in a session")
                await self._core.hear(session, message)
        except ProtocolError as problem:
            _log.warning("the session of envoy %s ends: %s", session.peer.name, problem.line)
            raise

    def _announced(self, peer: Peer, hello: Hello) -> ShardFacts:
        """What an Envoy announces of its data, if it goes with the federation.

        Raises:
            HansaError: it does not.
        """
        try:
            facts = ShardFacts.from_json(json.loads(hello.shard))
        except ValueError as problem:
            raise DataError(f"the announcement cannot be read: {problem}") from problem
        if facts.name != peer.name:
            raise NotAllowed(f"{peer.name!r} announces the data of {facts.name!r}, and speaks only for itself")
        if self._config.schema is not None:
            compare(self._config.schema, facts.schema)
        return facts

    # --- calls

    async def call(self, peer: Peer, frame: bytes) -> bytes:
        """One question, one answer."""
        message = _read(peer, frame, *self._CALLS)
        return wire.encode(await self._CALLS[type(message)](self, peer, message))

    async def _enroll(self, _peer: Peer, message: Enroll) -> Enrolled:
        if self._authority is None:
            raise NotAllowed("this Director runs without certificates", hint="start it without --insecure")
        now = datetime.now(UTC)
        certificate = await asyncio.to_thread(self._authority.admit, message.request, message.token, now=now)
        return Enrolled(certificate)

    async def _lacking(self, peer: Peer, message: Lacking) -> Received:
        shelf = self._core.shelf
        return Received(tuple(await asyncio.to_thread(lambda: [shelf.received(b, peer.name) for b in message.blobs])))

    async def _submit(self, peer: Peer, message: Submit) -> Submitted:
        if self._core.machine.draining:
            raise NotAllowed("the Director is stopping, and takes no new experiments", hint="submit it again later")
        key = f"{peer.name}/{message.key}"
        for run in self._core.machine.runs.values():
            if run.submission.key == key:
                return Submitted(run.id)
        accepted = await self._accepted(peer, message, key)
        await self._core.handle(Submits(accepted))
        for blob in (accepted.manifest, accepted.initial, *accepted.blobs):
            await self._core.shelf.release(blob.sha256, peer.name)
        return Submitted(accepted.run)

    async def _accepted(self, peer: Peer, message: Submit, key: str) -> Accepted:
        manifest = Manifest.decode(message.manifest)
        content = hashlib.sha256(message.manifest).hexdigest()
        self._check_signer(peer, message, content)
        initial = Blob(manifest.initial.sha256, manifest.initial.size)
        if initial.size > self._config.max_model:
            raise ConfigError(
                f"the initial model has {initial.size} bytes, and the Director takes {self._config.max_model} at most",
                hint="the Director's owner can allow more: max_model in its file",
            )
        files = tuple(Blob(file.sha256, file.size) for file in manifest.files)
        shelf = self._core.shelf
        if missing := [blob.sha256 for blob in (initial, *files) if not shelf.has(blob, peer.name)]:
            raise InputError(
                f"{len(missing)} files of the experiment were not sent", hint="send them, and submit again"
            )
        stored = await shelf.put(message.manifest, peer.name)
        slug = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in manifest.name.lower())
        return Accepted(
            run=f"{slug[:40].strip('-') or 'run'}-{secrets.token_hex(4)}",
            key=key,
            owner=peer.name,
            name=manifest.name,
            manifest=stored,
            signature=message.signature,
            certificate=message.certificate,
            initial=initial,
            blobs=files,
            envoys=manifest.envoys,
            labels=manifest.labels,
            cores=manifest.cores,
            memory=manifest.memory,
            device=manifest.device,
            at_least=manifest.at_least,
            held=await self._approval.holds(manifest, shelf, peer.name),
            at=time.time(),
            seed=manifest.seed,
        )

    def _resumed(self, run: Run) -> Accepted:
        """The submission of a run that goes on with another, from the last state that is on disk.

        Raises:
            NotAllowed: that one is not over, or came to its end.
        """
        if not run.phase.over or run.phase is Phase.FINISHED:
            raise NotAllowed(f"run {run.id!r} is {run.phase}, and only one that failed or was cancelled is resumed")
        sent = run.submission
        new = f"{sent.run.rpartition('-')[0]}-{secrets.token_hex(4)}"
        since = None if run.told is None else replace(run.told, run=new)
        return replace(sent, run=new, key=f"{sent.owner}/{new}", at=time.time(), resumes=run.id, since=since)

    def _check_signer(self, peer: Peer, message: Submit, content: str) -> None:
        if self._authority is None:
            return
        signer = verified(
            message.certificate,
            self._authority.certificate,
            content.encode(),
            message.signature,
            now=datetime.now(UTC),
        )
        if signer.name != peer.name:
            raise NotAllowed(f"{peer.name!r} submits what {signer.name!r} has signed", hint="sign it yourself")

    async def _preview(self, _peer: Peer, message: Preview) -> Report:
        return _report(reports.preview(self._core.machine, Manifest.decode(message.manifest)))

    async def _about(self, peer: Peer, message: About) -> Report:
        run, detail = self._run(peer, message.run, owner=message.request is not Request.SHOW), message.detail[:1000]
        match message.request:
            case Request.CANCEL:
                await self._core.handle(Concerns(run.id, Cancel(peer.name, detail)))
            case Request.SHARE:
                await self._core.handle(Concerns(run.id, Share(detail)))
            case Request.RESUME:
                accepted = self._resumed(run)
                await self._core.handle(Submits(accepted))
                run = self._core.machine.runs[accepted.run]
            case Request.LOGS:
                return _report({"log": await self._core.printed(run.id, detail)})
            case Request.APPROVE | Request.REFUSE:
                self._admin(peer)
                event = Release(peer.name) if message.request is Request.APPROVE else Withhold(detail)
                await self._core.handle(Concerns(run.id, event))
            case Request.REMOVE:
                if not run.phase.over:
                    raise NotAllowed(f"run {run.id!r} is {run.phase}, and only one that is over can be removed")
                await self._core.handle(Removes(run.id))
                return _report({"run": run.id, "removed": True})
        return _report(reports.run(self._core.machine.runs[run.id], self._core))

    async def _overview(self, peer: Peer, _message: Overview) -> Report:
        """How the federation stands; an Envoy learns of the Director alone, its clock above all."""
        runs = [run for run in self._core.machine.runs.values() if _may_see(peer, run)]
        schema = None if self._config.schema is None else schema_to_json(self._config.schema)
        director = {
            "name": self._config.name,
            "version": hansa.__version__,
            "since": self._started,
            "clock": time.time(),
            "draining": self._core.machine.draining,
            "paused": self._core.ledger.full or self._core.shelf.full,
            "schema": schema,
        }
        if peer.role is Role.ENVOY:
            return _report({"director": director, "envoys": [], "runs": []})
        return _report({"director": director, **reports.overview(self._core, runs)})

    async def _drain(self, _peer: Peer, _message: Drain) -> Report:
        await self._core.handle(Drains())
        self._core.stopping.set()
        return _report({"draining": True})

    async def watch(self, peer: Peer, frame: bytes) -> AsyncIterator[bytes]:
        """Push what happens in a run: a report for every entry of its History, and one for every change of its state."""
        message = _read(peer, frame, Follow)
        self._run(peer, message.run)
        after = message.after
        while message.run in self._core.machine.runs:
            change = asyncio.create_task(self._core.changed(message.run))
            try:
                run = self._run(peer, message.run)
                entries = await self._core.entries(run.id)
                for number in range(after, len(entries)):
                    yield wire.encode(Report(json.dumps({"number": number, "entry": json.loads(entries[number])})))
                after = max(after, len(entries))
                yield wire.encode(_report({"run": reports.run(run, self._core)}))
                if run.phase.over:
                    return
                await change
            finally:
                change.cancel()

    # --- transfers

    async def upload(self, peer: Peer, head: bytes, chunks: AsyncIterator[bytes]) -> bytes:
        """A blob of a submission, or an update."""
        message = _read(peer, head, Upload)
        blob: Blob = message.blob
        if blob.size > self._config.max_model:
            raise NotAllowed(
                f"a file of {blob.size} bytes is more than the {self._config.max_model} that the Director takes",
                hint="the Director's owner can allow more: max_model in its file",
            )
        if peer.role is Role.ENVOY:
            await self._uploads.admit(peer, message)
        here = await self._core.shelf.receive(blob, message.offset, chunks, peer.name)
        passes(f"director: {peer.role}'s blob received")
        return wire.encode(Received((here,)))

    async def download(self, peer: Peer, head: bytes) -> AsyncIterator[bytes]:
        """A blob of a run, to those who take part in it or may see it."""
        message = _read(peer, head, Download)
        if peer.role is Role.ENVOY:
            run = self._core.machine.runs.get(message.run)
            may = run is not None and message.sha256 in _open_to(run, peer.name)
        else:
            run = self._run(peer, message.run)
            may = message.sha256 in _open_to_users(run)
        path = self._core.shelf.path(message.sha256) if may else None
        if path is None:
            raise UnknownName(f"run {message.run!r} has no file {message.sha256!r:.80} for {peer.name!r}")
        with self._core.shelf.holding([message.sha256]):
            async for chunk in chunks_of(path, message.offset):
                yield chunk

    # --- who may

    def _run(self, peer: Peer, run: str, *, owner: bool = False) -> Run:
        """The run, if the peer may see it, or as its owner change it. Whether there are others it does not learn."""
        found = self._core.machine.runs.get(run)
        if found is None or not _may_see(peer, found):
            mine = [run.id for run in self._core.machine.runs.values() if _may_see(peer, run)]
            raise UnknownName.among("run", run, mine)
        if owner and peer.role is not Role.ADMIN and found.submission.owner != peer.name:
            raise NotAllowed(f"run {run!r} belongs to {found.submission.owner!r}", hint="ask its owner, or an admin")
        return found

    @staticmethod
    def _admin(peer: Peer) -> None:
        if peer.role is not Role.ADMIN:
            raise NotAllowed("only an admin approves experiments for the Director")

    _CALLS: Mapping[type, Any] = {
        Enroll: _enroll,
        Lacking: _lacking,
        Submit: _submit,
        Preview: _preview,
        About: _about,
        Overview: _overview,
        Drain: _drain,
    }


def _read(peer: Peer, frame: bytes, *kinds: type) -> Any:
    """The message of a frame, if the peer may say it, and here.

    Raises:
        NotAllowed: its role forbids it.
        ProtocolError: the frame is no message, or one for another kind of call.
    """
    message = wire.decode(frame)
    rights.check(peer, message)
    if not isinstance(message, kinds):
        raise ProtocolError(f"nobody says {type(message).__name__} in a call of this kind")
    return message


def _report(value: Mapping[str, Any]) -> Report:
    return Report(json.dumps(value))


def _may_see(peer: Peer, run: Run) -> bool:
    return peer.role is Role.ADMIN or peer.name == run.submission.owner or peer.name in run.users


def _open_to_users(run: Run) -> set[str]:
    """The blobs of a run that those who may see it may have: what was shipped, and the global model; no client's update."""
    sent, models = run.submission, (run.told, run.ended)
    blobs = [sent.manifest, sent.initial, *sent.blobs, *(each.model for each in models if each is not None)]
    blobs += [kept.model for kept in run.models.values()]
    return {blob.sha256 for blob in blobs if blob is not None}


def _open_to(run: Run, envoy: str) -> set[str]:
    """The blobs of a run that an Envoy may have: what is shipped, and what its own clients are asked with."""
    if run.phase not in (Phase.GATHERING, Phase.RUNNING) or envoy not in run.members:
        return set()
    shas = {run.submission.manifest.sha256, *(blob.sha256 for blob in run.submission.blobs)}
    for visit in run.visits.values():
        if visit.part.envoy == envoy:
            shas.add(visit.asked.broadcast.sha256)
            if visit.part.inputs is not None:
                shas.add(visit.part.inputs.sha256)
    return shas
