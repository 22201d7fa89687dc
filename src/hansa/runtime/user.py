"""A user's end: submit, follow, fetch. Asynchronous inside, blocking outside, for scripts, notebooks and the command line."""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from hansa.core.history import Entry, History
from hansa.errors import InputError, NotConnected, RunFailed
from hansa.experiment.package import Package
from hansa.pki import Identity
from hansa.protocol import codec, wire
from hansa.protocol.messages import (
    About,
    Blob,
    Download,
    Follow,
    Lacking,
    Overview,
    Preview,
    Request,
    Submit,
    Upload,
)
from hansa.protocol.peer import Peer
from hansa.runtime.background import Background
from hansa.runtime.files import chunks_of
from hansa.transport.credentials import Credentials
from hansa.transport.dial import dialled
from hansa.transport.frames import closing
from hansa.transport.port import Connection

AGAIN = 1.0
"""Seconds until a broken connection is tried again, where somebody follows a run."""

TRIES = 3
"""How often a submission, or an upload that goes with it, is tried while its connection breaks."""


def _unseen(done: int, total: int) -> None:
    """Nobody looks."""


@dataclass(frozen=True)
class Inside:
    """A Director that runs in this process.

    Attributes:
        background: its event loop, which stays when the user hangs up.
        connect: gives a connection to it, in that loop.
        check: raises what ended it, where something did.
    """

    background: Background
    connect: Callable[[], Connection]
    check: Callable[[], None]


class User:
    """A connection to a Director, for a user or an admin. Use it in a `with` block, or close it.

    Args:
        address: the Director's, `host:port`, or `wss://host:port` over WebSocket.
        identity: who one is; None for a Director on this machine that runs without certificates.
        insecure: who one says that one is, there.
        inside: the Director runs in this process, and is not dialled.

    Raises:
        ConfigError: the address is none.
    """

    def __init__(
        self,
        address: str,
        identity: Identity | None = None,
        *,
        insecure: Peer | None = None,
        inside: Inside | None = None,
    ) -> None:
        self._identity, self._inside, self._closed = identity, inside, False
        self._background = Background("hansa-user") if inside is None else inside.background
        self._wait = self._background.wait
        try:
            self._connection: Connection = self._wait(_connected(address, identity, insecure, inside))
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        if not self._closed and self._background.running:
            self._closed = True
            self._wait(self._connection.close())
            self._end()

    def _end(self) -> None:
        if self._inside is None:
            self._background.end()

    def _check(self) -> None:
        """Raise what ended a Director in this process; another one may come back."""
        if self._inside is not None:
            self._inside.check()

    # --- questions

    def overview(self) -> dict[str, Any]:
        """The Director, its Envoys, and the runs that one may see."""
        return self._report(Overview())

    def preview(self, package: Package) -> dict[str, Any]:
        """Who would take part in an experiment if it were submitted now."""
        return self._report(Preview(package.manifest.encode()))

    def about(self, run: str, request: Request = Request.SHOW, detail: str = "") -> dict[str, Any]:
        """Ask for a run's state, or for something to be done with it.

        Raises:
            UnknownName: there is no such run, or one may not see it.
            NotAllowed: it is another's.
        """
        return self._report(About(run, request, detail))

    # --- experiments

    def submit(self, package: Package, initial: Path, sent: Callable[[int, int], object] = _unseen) -> str:
        """Submit an experiment: its files, the initial model, and one's signature.

        Args:
            package: what is shipped.
            initial: the initial model's file, as the manifest names it.
            sent: is told how many bytes have been sent, and of how many.

        Returns:
            The new run's id.

        Raises:
            NotAllowed: one may not submit.
            InputError: the Director refuses the package.
        """
        return self._wait(self._submit(package, initial, sent))

    def follow(self, run: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """What happens in a run, until it is over: `{"entry", "number"}` for each entry of its History, and `{"run"}`.

        A connection that breaks is made again.
        """
        queue: SimpleQueue[dict[str, Any] | BaseException | None] = SimpleQueue()

        async def watch() -> None:
            try:
                async for report in self._watched(run, after):
                    queue.put(report)
                queue.put(None)
            except BaseException as problem:
                queue.put(problem)
                raise

        watching = self._background.begin(watch())
        try:
            while (report := queue.get()) is not None:
                if isinstance(report, BaseException):
                    raise report
                yield report
        finally:
            watching.cancel()
            with suppress(CancelledError, Exception):
                watching.result()

    def history(self, run: str) -> History:
        """What happened in a run so far, its model included."""
        return self._wait(self._history(run))

    def wait(self, run: str) -> History:
        """Wait until a run is over.

        Raises:
            RunFailed: it failed or was cancelled; the error's History is as far as it came.
        """
        last: dict[str, Any] = {}
        for report in self.follow(run):
            last = report.get("run", last)
        history = self.history(run)
        if last["phase"] != "finished":
            raise RunFailed(last["why"] or last["phase"], where=f"run {run}", history=history)
        return history

    def fetch(self, run: str, blob: Blob, path: Path) -> None:
        """Write a file of a run to a path, whole or not at all."""
        self._wait(self._fetch(run, blob, path))

    # --- inside

    async def _submit(self, package: Package, initial: Path, sent: Callable[[int, int], object]) -> str:
        manifest = package.manifest
        data = manifest.encode()
        with tempfile.TemporaryDirectory(prefix="hansa-submit-") as folder:
            files = {Blob(manifest.initial.sha256, manifest.initial.size): initial}
            for file in manifest.files:
                path = Path(folder) / file.sha256
                path.write_bytes(package.contents[file.sha256])
                files[Blob(file.sha256, file.size)] = path
            await self._send(files, sent)
        mine = self._identity
        signature = b"" if mine is None else mine.sign(manifest.hash.encode())
        certificate = b"" if mine is None else mine.certificate
        submit = Submit(data, signature, certificate, secrets.token_hex(16))
        return str((await self._call(submit, tries=TRIES)).run)

    async def _send(self, files: Mapping[Blob, Path], sent: Callable[[int, int], object]) -> None:
        received = (await self._call(Lacking(tuple(files)))).bytes
        here = dict(zip(files, received, strict=True))
        total = sum(blob.size for blob in files)

        async def counted(blob: Blob, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for chunk in chunks:
                yield chunk
                here[blob] += len(chunk)
                sent(sum(here.values()), total)

        for blob, path in files.items():
            if here[blob] < blob.size or not blob.size:
                await self._sent(blob, path, here, counted)

    async def _sent(
        self,
        blob: Blob,
        path: Path,
        here: dict[Blob, int],
        counted: Callable[[Blob, AsyncIterator[bytes]], AsyncIterator[bytes]],
    ) -> None:
        """Send what is not there of a file; where that breaks, as much of it as is still not there."""
        for left in range(TRIES - 1, -1, -1):
            try:
                head = wire.encode(Upload(blob, here[blob]))
                await self._connection.upload(head, counted(blob, chunks_of(path, here[blob])))
            except NotConnected:
                if not left:
                    raise
                (here[blob],) = (await self._call(Lacking((blob,)), tries=TRIES)).bytes
            else:
                return

    async def _history(self, run: str) -> History:
        state: dict[str, Any] = {}
        entries = []
        frames = self._connection.watch(wire.encode(Follow(run)))
        async with closing(frames):
            async for frame in frames:
                report = json.loads(wire.decode(frame).json)
                if "run" in report:
                    state = report["run"]
                    break
                entries.append(Entry.from_json(report["entry"]))
        model = {}
        if state["model"] is not None:
            with tempfile.TemporaryDirectory(prefix="hansa-model-") as folder:
                path = Path(folder) / "model.safetensors"
                await self._fetch(run, Blob(**state["model"]), path)
                model = codec.decode(path.read_bytes())
        return History(tuple(entries), model, state["rounds"], state["seed"], "reference", state["environment"])

    async def _watched(self, run: str, after: int) -> AsyncIterator[dict[str, Any]]:
        while True:
            try:
                frames = self._connection.watch(wire.encode(Follow(run, after)))
                async with closing(frames):
                    async for frame in frames:
                        report = json.loads(wire.decode(frame).json)
                        after = report["number"] + 1 if "number" in report else after
                        yield report
            except NotConnected:
                self._check()
                await asyncio.sleep(AGAIN)
            else:
                return

    async def _fetch(self, run: str, blob: Blob, path: Path) -> None:
        draft = path.with_name(path.name + ".part")
        with draft.open("wb") as file:
            chunks = self._connection.download(wire.encode(Download(blob.sha256, run)))
            async with closing(chunks):
                async for chunk in chunks:
                    file.write(chunk)
            if file.tell() != blob.size:
                raise InputError("the file came incomplete", where=str(path), hint="fetch it again")
        draft.replace(path)

    def _report(self, message: object) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._wait(self._call(message)).json)
        return found

    async def _call(self, message: object, tries: int = 1) -> Any:
        frame = wire.encode(message)
        for left in range(tries - 1, -1, -1):
            try:
                return wire.decode(await self._connection.call(frame))
            except NotConnected:
                self._check()
                if not left:
                    raise
                await asyncio.sleep(AGAIN)
        raise AssertionError("there is at least one try")


async def _connected(
    address: str, identity: Identity | None, insecure: Peer | None, inside: Inside | None
) -> Connection:
    if inside is not None:
        return inside.connect()
    if identity is None:
        return dialled(address, insecure=insecure)
    return dialled(address, credentials=Credentials(identity.certificate, identity.key, identity.ca))
