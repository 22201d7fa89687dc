"""A user's end: submit, follow, fetch. Asynchronous inside, blocking outside, for scripts, notebooks and the command line."""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

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
from hansa.runtime.files import chunks_of
from hansa.transport.credentials import Credentials
from hansa.transport.frames import closing
from hansa.transport.grpc.client import GrpcConnection
from hansa.transport.port import Connection

T = TypeVar("T")

SETTLE = 5.0
"""Seconds that what is under way has to end when a user hangs up."""

AGAIN = 1.0
"""Seconds until a broken connection is tried again, where somebody follows a run."""


async def _settled() -> None:
    """Cancel whatever else the loop does, and wait until it has ended."""
    others = asyncio.all_tasks() - {task for task in (asyncio.current_task(),) if task is not None}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _unseen(done: int, total: int) -> None:
    """Nobody looks."""


class User:
    """A connection to a Director, for a user or an admin. Use it in a `with` block, or close it.

    Args:
        address: the Director's, `host:port`.
        identity: who one is; None for a Director on this machine that runs without certificates.
        insecure: who one says that one is, there.

    Raises:
        ConfigError: the address is none.
    """

    def __init__(self, address: str, identity: Identity | None = None, *, insecure: Peer | None = None) -> None:
        self._identity = identity
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hansa-user", daemon=True)
        self._thread.start()
        try:
            self._connection: Connection = self._wait(_connected(address, identity, insecure))
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
        if self._loop.is_running():
            self._wait(self._connection.close())
            self._end()

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

        watching = asyncio.run_coroutine_threadsafe(watch(), self._loop)
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
        return str((await self._call(submit, tries=3)).run)

    async def _send(self, files: Mapping[Blob, Path], sent: Callable[[int, int], object]) -> None:
        blobs = tuple(files)
        received = (await self._call(Lacking(blobs))).bytes
        total, done = sum(blob.size for blob in blobs), sum(received)

        async def counted(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            nonlocal done
            async for chunk in chunks:
                yield chunk
                done += len(chunk)
                sent(done, total)

        for blob, here in zip(blobs, received, strict=True):
            if here < blob.size or not blob.size:
                head = wire.encode(Upload(blob, here))
                await self._connection.upload(head, counted(chunks_of(files[blob], here)))

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
                if not left:
                    raise
                await asyncio.sleep(AGAIN)
        raise AssertionError("there is at least one try")

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the loop do something, and wait for it; Ctrl-C ends it too."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _end(self) -> None:
        """Stop the loop once nothing in it is under way: gRPC has tasks of its own that outlive a call by a moment."""
        with suppress(CancelledError, TimeoutError):
            asyncio.run_coroutine_threadsafe(_settled(), self._loop).result(SETTLE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _connected(address: str, identity: Identity | None, insecure: Peer | None) -> GrpcConnection:
    if identity is None:
        return GrpcConnection(address, insecure=insecure)
    return GrpcConnection(address, credentials=Credentials(identity.certificate, identity.key, identity.ca))
