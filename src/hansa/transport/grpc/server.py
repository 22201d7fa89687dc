"""The server's end over gRPC: one port, mutual TLS, and every call admitted anew. It must not know what frames mean."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any, NoReturn, Self, TypeVar

from hansa.errors import CertificateError, ConfigError, HansaError, NotConnected, ProtocolError
from hansa.protocol.peer import Peer, Role, checked_name
from hansa.transport.address import Address, unusable
from hansa.transport.credentials import Credentials
from hansa.transport.faults import encoded
from hansa.transport.frames import checked, closing
from hansa.transport.grpc import wire
from hansa.transport.live import SETTLE, Live
from hansa.transport.port import HEAD_LIMIT, Service

_T = TypeVar("_T")


class GrpcListener:
    """Listens at one address, and carries frames to a service. It is started and stopped once, in one event loop.

    Args:
        service: whom it carries frames to.
        address: `host:port`; port 0 lets the system choose.
        credentials: of the server; a client's certificate must come from their authority.
        admit: is given the caller's certificate, PEM, at every call, and says who that is, or raises. It runs in the event
            loop, so it must not wait.
        insecure: without TLS, on a loopback address only; callers then are who they say they are.

    Raises:
        ConfigError: the address is none; or it is not a loopback one and `insecure`; or credentials are missing.
        MissingExtra: gRPC is not installed.
    """

    def __init__(
        self,
        service: Service,
        address: str,
        *,
        credentials: Credentials | None = None,
        admit: Callable[[bytes], Peer] | None = None,
        insecure: bool = False,
    ) -> None:
        self._grpc = wire.load()
        self._address = Address.parse(address)
        if insecure:
            self._address.require_loopback()
        elif credentials is None or admit is None:
            raise ConfigError("a server needs credentials, and somebody who admits its callers")
        self._service, self._live = service, Live()
        self._credentials, self._admit = (None, None) if insecure else (credentials, admit)
        self._server: Any = None
        self._handling: set[asyncio.Task[Any]] = set()

    async def start(self) -> str:
        """Begin to listen; the address, with its true port."""
        if self._server is not None:
            raise ConfigError("this server has been started already", hint="make another one")
        self._server = server = self._grpc.aio.server(options=wire.server_options())
        server.add_generic_rpc_handlers((self._grpc.method_handlers_generic_handler(wire.SERVICE, self._handlers()),))
        try:
            port = server.add_insecure_port(str(self._address)) if self._credentials is None else self._secure(server)
        except RuntimeError:
            raise unusable(self._address) from None
        await server.start()
        return str(Address(self._address.host, port))

    async def stop(self, grace: float = 0.0) -> None:
        """End sessions and watches at once, give everything else `grace` seconds, and listen no more."""
        if self._server is not None:
            stopping = asyncio.create_task(self._server.stop(grace + SETTLE))  # takes nothing new from now on
            await self._live.stop(grace)
            await self._server.stop(SETTLE)
            await stopping
            if self._handling:  # gRPC does not wait for those whose client has left already
                await asyncio.wait(self._handling, timeout=SETTLE)
            await asyncio.sleep(0)  # for gRPC's own tasks around them

    def expel(self, serials: Collection[str]) -> int:
        """End everything under way of peers with these certificates."""
        return self._live.expel(serials)

    def _secure(self, server: Any) -> int:
        assert self._credentials is not None, "checked when it was made"  # noqa: S101 - for the type checker
        own = self._credentials
        proof = self._grpc.ssl_server_credentials(
            [(own.key, own.certificate)], root_certificates=own.authority, require_client_auth=True
        )
        return int(server.add_secure_port(str(self._address), proof))

    def _handlers(self) -> dict[str, Any]:
        grpc = self._grpc
        return {
            "Session": grpc.stream_stream_rpc_method_handler(self._session),
            "Call": grpc.unary_unary_rpc_method_handler(self._call),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
            "Upload": grpc.stream_stream_rpc_method_handler(self._upload),
            "Download": grpc.unary_stream_rpc_method_handler(self._download),
        }

    # --- the five methods

    async def _session(self, _: object, context: Any) -> None:
        received = _Received(self._grpc, context, marked=True)

        async def work(peer: Peer) -> None:
            await self._pour(self._service.session(peer, received), context, wire.FRAME)

        await self._serve_streaming(context, work, received, enduring=True)

    async def _call(self, frame: bytes, context: Any) -> bytes:
        async def work(peer: Peer) -> bytes:
            return checked(await self._service.call(peer, checked(frame)))

        return await self._serve(context, work)

    async def _watch(self, frame: bytes, context: Any) -> None:
        async def work(peer: Peer) -> None:
            await self._pour(self._service.watch(peer, checked(frame)), context)

        await self._serve(context, work, enduring=True)

    async def _upload(self, _: object, context: Any) -> None:
        received = _Received(self._grpc, context)

        async def work(peer: Peer) -> bytes:
            head = checked(await received.message(), HEAD_LIMIT)  # it may be empty, and is no mark then
            return wire.FRAME + checked(await self._service.upload(peer, head, received))

        await self._serve_streaming(context, work, received)

    async def _download(self, head: bytes, context: Any) -> None:
        async def work(peer: Peer) -> None:
            await self._pour(self._service.download(peer, checked(head, HEAD_LIMIT)), context)

        await self._serve(context, work)

    # --- what they share

    async def _serve(self, context: Any, work: Callable[[Peer], Awaitable[_T]], *, enduring: bool = False) -> _T:
        self._note()
        try:
            return await self._live.run(lambda: self._caller(context), work, enduring=enduring)
        except HansaError as error:
            await self._abort(context, error)

    async def _serve_streaming(
        self,
        context: Any,
        work: Callable[[Peer], Awaitable[bytes | None]],
        received: _Received,
        *,
        enduring: bool = False,
    ) -> None:
        """Serve a call in which the client streams: its end is a message, and the client takes note before the call ends."""
        failure: HansaError | None = None
        self._note()
        try:
            end = await self._live.run(lambda: self._caller(context), work, enduring=enduring) or wire.END
        except HansaError as error:
            failure, end = error, wire.FAILED + encoded(error)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE):
                try:
                    await context.write(end)
                except self._grpc.aio.BaseError:  # an earlier write is stuck: the client reads nothing, or is gone
                    await self._abort(context, failure or NotConnected("the caller went away"))
                if not received.ended:
                    await asyncio.Event().wait()  # a client cancels the call, and so this

    def _note(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._handling.add(task)
            task.add_done_callback(self._handling.discard)

    def _caller(self, context: Any) -> Peer:
        if self._admit is None:
            return _told(dict(context.invocation_metadata()).get(wire.PEER, ""))
        certificates = list(context.auth_context().get("x509_pem_cert", ()))
        if not certificates:
            raise CertificateError("the caller showed no certificate", hint="enrol first")
        return self._admit(certificates[0])

    async def _pour(self, frames: AsyncIterator[bytes], context: Any, mark: bytes = b"") -> None:
        async with closing(frames):
            async for frame in frames:
                try:
                    await context.write(mark + checked(frame) if mark else checked(frame))
                except self._grpc.aio.BaseError:
                    raise NotConnected("the caller went away") from None

    async def _abort(self, context: Any, error: HansaError) -> NoReturn:
        """Give an error to the caller; but a caller that reads nothing more is not waited for."""
        status, fault = self._grpc.StatusCode.ABORTED, ((wire.FAULT, encoded(error)),)
        try:
            async with asyncio.timeout(SETTLE):
                await context.abort(status, type(error).__name__, fault)
        except (TimeoutError, self._grpc.aio.UsageError):  # or it was over already
            pass
        raise asyncio.CancelledError  # gRPC then resets the stream


class _Received(AsyncIterator[bytes]):
    """What a client streams, up to its mark of the end.

    Raises:
        NotConnected: the client went away before it; the end that gRPC shows then is none.
        ProtocolError: a message that is no frame.
    """

    def __init__(self, grpc: Any, context: Any, *, marked: bool = False) -> None:
        self._grpc, self._context, self._marked, self.ended = grpc, context, marked, False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self.ended:
            raise StopAsyncIteration
        message = await self.message()
        if message == wire.END:
            self.ended = True
            raise StopAsyncIteration
        if not self._marked:
            return checked(message)
        if message[:1] != wire.FRAME:
            raise ProtocolError("a message of a session begins with a zero byte")
        return checked(message[1:])

    async def message(self) -> bytes:
        """The next one as it travels."""
        message: Any = self._grpc.aio.EOF
        with contextlib.suppress(self._grpc.aio.BaseError):
            message = await self._context.read()
        if message is self._grpc.aio.EOF:
            raise NotConnected("the caller went away before it was done")
        return bytes(message)


def _told(text: object) -> Peer:
    """Who a caller without TLS says that they are."""
    role, _, name = str(text).partition("/")
    try:
        return Peer(checked_name(name), Role(role))
    except ValueError:
        raise ProtocolError(
            "the caller does not say who they are, as role/name", hint="use hansa's own client"
        ) from None
