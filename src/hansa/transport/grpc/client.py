"""The client's end over gRPC. It must not know what frames mean, nor when to dial again: that is for whoever holds it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from hansa.errors import ConfigError, NotConnected, ProtocolError
from hansa.protocol.peer import Peer
from hansa.transport.address import Address
from hansa.transport.credentials import Credentials
from hansa.transport.faults import decoded
from hansa.transport.frames import checked, closing
from hansa.transport.grpc import wire
from hansa.transport.grpc.reasons import reason
from hansa.transport.port import FRAME_LIMIT, HEAD_LIMIT

DEADLINE = 60.0
"""Seconds that a `call` may take. Streams have no such limit; keep-alive pings find out when their other side is gone."""


class GrpcConnection:
    """Dials a `GrpcListener` when it is first used, and again, at a later call, after the connection broke.

    Make it inside the event loop that uses it.

    Args:
        address: `host:port`.
        credentials: of the client; the server's certificate must come from their authority.
        server_name: the name to expect in the server's certificate; by default the host of the address.
        insecure: who the client says that it is, without TLS and on a loopback address only.
        deadline: seconds that a `call` may take.

    Raises:
        ConfigError: the address is none; or not a loopback one and `insecure`; or there are neither credentials nor `insecure`.
        MissingExtra: gRPC is not installed.
    """

    def __init__(
        self,
        address: str,
        *,
        credentials: Credentials | None = None,
        server_name: str = "",
        insecure: Peer | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        self._grpc = grpc = wire.load()
        self._address, self._deadline, self._closed = Address.parse(address), deadline, False
        options = wire.client_options(self._address, server_name)
        if insecure is not None:
            self._address.require_loopback()
            self._who: tuple[tuple[str, str], ...] = ((wire.PEER, f"{insecure.role}/{insecure.name}"),)
            self._channel = grpc.aio.insecure_channel(str(self._address), options=options)
        elif credentials is not None:
            proof = grpc.ssl_channel_credentials(credentials.authority, credentials.key, credentials.certificate)
            self._who = ()
            self._channel = grpc.aio.secure_channel(str(self._address), proof, options=options)
        else:
            raise ConfigError("a connection needs credentials", hint="enrol first")
        self._session = self._channel.stream_stream(wire.method("Session"))
        self._call = self._channel.unary_unary(wire.method("Call"))
        self._watch = self._channel.unary_stream(wire.method("Watch"))
        self._upload = self._channel.stream_stream(wire.method("Upload"))
        self._download = self._channel.unary_stream(wire.method("Download"))

    async def session(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Send `frames` while receiving others."""
        async with _Sending(self, frames, marked=True) as sending:
            sending.begin(self._session)
            while (frame := await sending.received()) is not None:
                yield frame

    async def call(self, frame: bytes) -> bytes:
        """Ask, and wait for the answer."""
        checked(frame)
        with self._told():
            answer = await self._call(frame, metadata=self._who, timeout=self._deadline)
        return bytes(answer)

    def watch(self, frame: bytes) -> AsyncIterator[bytes]:
        """Ask, and receive answers as they come."""
        return self._received(self._watch, frame)

    async def upload(self, head: bytes, chunks: AsyncIterator[bytes]) -> bytes:
        """Send a large content."""
        async with _Sending(self, chunks, head=head) as sending:
            sending.begin(self._upload)
            answer = await sending.received()
        if answer is None:
            raise ProtocolError("an upload was not answered", where=str(self._address), hint="compare the versions")
        return answer

    def download(self, head: bytes) -> AsyncIterator[bytes]:
        """Receive a large content."""
        return self._received(self._download, head, HEAD_LIMIT)

    async def close(self) -> None:
        """End everything under way."""
        if not self._closed:
            self._closed = True
            await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _received(self, method: Any, frame: bytes, limit: int = FRAME_LIMIT) -> AsyncIterator[bytes]:
        checked(frame, limit)
        with self._told():
            call = method(frame, metadata=self._who)
        try:
            while True:
                with self._told():
                    received = await call.read()
                if received is self._grpc.aio.EOF:
                    return
                yield received
        finally:
            call.cancel()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of gRPC as ours."""
        aio = self._grpc.aio
        try:
            if self._closed:
                raise NotConnected("this connection was closed", where=str(self._address), hint="make another one")
            yield
        except aio.AioRpcError as error:
            raise reason(error, str(self._address), self._deadline, secure=not self._who) from None
        except (aio.UsageError, asyncio.InvalidStateError):
            raise self._broken() from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # the caller's own wish
            raise self._broken() from None

    def _broken(self) -> NotConnected:
        what = "this connection was closed" if self._closed else "the connection broke"
        return NotConnected(what, where=str(self._address), hint="make another one" if self._closed else "try again")


class _Sending:
    """A call in which the client streams: one task sends while the caller waits for what comes back.

    The sender's own error, such as that of the iterator which it reads, breaks the call off and is raised to the caller.
    """

    def __init__(
        self,
        connection: GrpcConnection,
        frames: AsyncIterator[bytes],
        *,
        marked: bool = False,
        head: bytes | None = None,
    ) -> None:
        self._connection, self._frames, self._marked, self._head = connection, frames, marked, head
        self._call: Any = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._call is not None:
            self._call.cancel()
        if self._task is None:
            async with closing(self._frames):
                return
        self._task.cancel()
        await asyncio.wait([self._task])

    def begin(self, method: Any) -> None:
        """Begin the call."""
        with self._connection._told():
            if self._head is not None:
                checked(self._head, HEAD_LIMIT)
            self._call = call = method(metadata=self._connection._who)
        self._task = asyncio.create_task(self._send(call))
        self._task.add_done_callback(lambda task: call.cancel() if task.cancelled() or task.exception() else None)

    async def received(self) -> bytes | None:
        """The next frame, or None at the end; or the error of whichever side failed first."""
        try:
            with self._connection._told():
                message = await self._call.read()
        except NotConnected:
            task = self._task
            if task is not None and task.done() and not task.cancelled() and (own := task.exception()) is not None:
                raise own from None
            raise
        match message[:1] if isinstance(message, bytes) else None:
            case wire.FRAME:
                return checked(message[1:])
            case wire.END:
                return None
            case wire.FAILED:
                raise decoded(message[1:])
            case None:
                raise self._connection._broken()  # the call ended, and nothing said so
            case _:
                raise ProtocolError("a message of a session begins with a zero byte")

    async def _send(self, call: Any) -> None:
        if self._head is not None and not await self._written(call, self._head):
            return
        async with closing(self._frames):
            async for frame in self._frames:
                message = checked(frame)
                if self._marked:
                    message = wire.FRAME + message
                if message != wire.END and not await self._written(call, message):
                    return
        await self._written(call, wire.END)

    async def _written(self, call: Any, message: bytes) -> bool:
        """Whether it went out; if not, whoever waits for the result learns why."""
        try:
            await call.write(message)
        except (self._connection._grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return False
        return True
