"""All transports pass the published kit, whoever dials; and the kit finds adapters that break a law."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import pytest

from hansa.errors import FederationError, HansaError, NotConnected
from hansa.protocol.peer import Peer, Role
from hansa.testing.certificates import ThrowAwayAuthority
from hansa.testing.stages import Frames, Stage
from hansa.testing.transports import check_transport
from hansa.transport import FRAME_LIMIT, Connection, Listener, MemoryListener, Service
from hansa.transport.frames import closing
from hansa.transport.grpc import GrpcConnection, GrpcListener
from hansa.transport.websocket import WebSocketConnection, WebSocketDialler, WebSocketListener, WebSocketWorker

HOST = "127.0.0.1:0"
WEB = f"ws://{HOST}"


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "hansa.transport")


def envoy(name: str) -> Peer:
    return Peer(name, Role.ENVOY, f"5e41a1{name.encode().hex()}")


@asynccontextmanager
async def memory(service: Service) -> AsyncIterator[Stage]:
    listener = MemoryListener(service)
    await listener.start()
    yield Stage(listener, lambda name: listener.connect(envoy(name)))
    await listener.stop()


@asynccontextmanager
async def dialled(listener: Listener, connect: Callable[[str, str], Connection]) -> AsyncIterator[Stage]:
    address, made = await listener.start(), list[Connection]()

    def connected(name: str) -> Connection:
        made.append(connect(address, name))
        return made[-1]

    try:
        yield Stage(listener, connected)
    finally:
        for connection in made:
            await connection.close()
        await listener.stop()


def insecure(service: Service) -> AbstractAsyncContextManager[Stage]:
    return dialled(
        GrpcListener(service, HOST, insecure=True), lambda address, name: GrpcConnection(address, insecure=envoy(name))
    )


def web_insecure(service: Service) -> AbstractAsyncContextManager[Stage]:
    return dialled(
        WebSocketListener(service, WEB, insecure=True),
        lambda address, name: WebSocketConnection(address, insecure=envoy(name)),
    )


class Credited:
    """Throw-away certificates of one authority."""

    def __init__(self) -> None:
        self.authority = ThrowAwayAuthority()
        self.own = self.authority.credentials("director", Role.DIRECTOR, hosts=("127.0.0.1",))
        names = ("alpha", "bravo", *(f"envoy-{n}" for n in range(12)))
        self.known = {name: self.authority.credentials(name) for name in names}

    def grpc(self, service: Service) -> AbstractAsyncContextManager[Stage]:
        listener = GrpcListener(service, HOST, credentials=self.own, admit=self.authority.admit)
        return dialled(listener, lambda address, name: GrpcConnection(address, credentials=self.known[name]))

    def web(self, service: Service) -> AbstractAsyncContextManager[Stage]:
        listener = WebSocketListener(service, HOST, credentials=self.own, admit=self.authority.admit)
        return dialled(listener, lambda address, name: WebSocketConnection(address, credentials=self.known[name]))

    def worker(self, name: str) -> WebSocketWorker:
        return WebSocketWorker(HOST, credentials=self.known[name], admit=self.authority.admit)

    def dialler(self, service: Service, address: str) -> WebSocketDialler:
        return WebSocketDialler(service, address, credentials=self.own, admit=self.authority.admit)


@pytest.fixture(scope="module")
def credited() -> Credited:
    return Credited()


class Dialling:
    """A service that dials its workers: for each connection that a test asks for there is one more worker, and a dialler.

    It is the handle of them all, as a coordinator's is, and speaks for a connection that is yet to come.
    """

    def __init__(self, worker: Callable[[str], WebSocketWorker], dial: Callable[[str], WebSocketDialler]) -> None:
        self._worker, self._dial = worker, dial
        self._diallers: list[WebSocketDialler] = []
        self._stopped = False

    async def start(self) -> str:
        return ""

    async def stop(self, grace: float = 0.0) -> None:
        self._stopped = True
        await asyncio.gather(*(dialler.stop(grace) for dialler in self._diallers))

    def expel(self, serials: Collection[str]) -> int:
        return sum(dialler.expel(serials) for dialler in self._diallers)

    async def link(self, name: str, made: AsyncExitStack) -> Connection:
        worker = await made.enter_async_context(self._worker(name))
        if self._stopped:
            raise NotConnected("nobody dials")
        dialler = self._dial(worker.address)
        self._diallers.append(dialler)
        await dialler.start()
        return await anext(worker)


class Awaited:
    """A worker's connection, before somebody has dialled the worker."""

    def __init__(self, dialling: Dialling, name: str) -> None:
        self._made = AsyncExitStack()
        self._coming = asyncio.ensure_future(dialling.link(name, self._made))

    async def session(self, frames: Frames) -> Frames:
        async with aclosing((await self._coming).session(frames)) as answers:  # type: ignore[type-var]
            async for each in answers:
                yield each

    async def call(self, frame: bytes) -> bytes:
        return await (await self._coming).call(frame)

    async def watch(self, frame: bytes) -> Frames:
        async with aclosing((await self._coming).watch(frame)) as answers:  # type: ignore[type-var]
            async for each in answers:
                yield each

    async def upload(self, head: bytes, chunks: Frames) -> bytes:
        return await (await self._coming).upload(head, chunks)

    async def download(self, head: bytes) -> Frames:
        async with aclosing((await self._coming).download(head)) as answers:  # type: ignore[type-var]
            async for each in answers:
                yield each

    async def close(self) -> None:
        await asyncio.wait([self._coming])
        if self._coming.exception() is None:
            await self._coming.result().close()
        await self._made.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


@asynccontextmanager
async def dialling(
    worker: Callable[[str], WebSocketWorker], dial: Callable[[str], WebSocketDialler]
) -> AsyncIterator[Stage]:
    listener, made = Dialling(worker, dial), list[Awaited]()

    def connected(name: str) -> Connection:
        made.append(Awaited(listener, name))
        return made[-1]

    try:
        yield Stage(listener, connected)
    finally:
        await asyncio.gather(*(each.close() for each in made))
        await listener.stop()


def web_worker_insecure(service: Service) -> AbstractAsyncContextManager[Stage]:
    return dialling(
        lambda name: WebSocketWorker(WEB, insecure=envoy(name)),
        lambda address: WebSocketDialler(service, address, insecure=Peer("director", Role.DIRECTOR)),
    )


def test_the_transport_in_memory_keeps_the_port_s_promises() -> None:
    check_transport(memory)


def test_the_transport_over_tls_keeps_the_port_s_promises(credited: Credited) -> None:
    check_transport(credited.grpc)


def test_the_transport_on_loopback_without_tls_keeps_the_port_s_promises() -> None:
    check_transport(insecure)


def test_websocket_over_tls_keeps_the_port_s_promises(credited: Credited) -> None:
    check_transport(credited.web)


def test_websocket_on_loopback_without_tls_keeps_the_port_s_promises() -> None:
    check_transport(web_insecure)


def test_websocket_to_a_worker_that_listens_keeps_the_port_s_promises(credited: Credited) -> None:
    check_transport(lambda service: dialling(credited.worker, lambda address: credited.dialler(service, address)))


def test_websocket_to_a_worker_that_listens_without_tls_keeps_the_port_s_promises() -> None:
    check_transport(web_worker_insecure)


# --- the kit can fail: each of these breaks one law


class Wrapped:
    """A good connection, to be made worse."""

    def __init__(self, inner: Connection, listener: MemoryListener) -> None:
        self.inner, self.listener = inner, listener

    def session(self, frames: Frames) -> Frames:
        return self.inner.session(frames)

    async def call(self, frame: bytes) -> bytes:
        return await self.inner.call(frame)

    def watch(self, frame: bytes) -> Frames:
        return self.inner.watch(frame)

    async def upload(self, head: bytes, chunks: Frames) -> bytes:
        return await self.inner.upload(head, chunks)

    def download(self, head: bytes) -> Frames:
        return self.inner.download(head)

    async def close(self) -> None:
        await self.inner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Lossy(Wrapped):
    """Empty frames do not travel."""

    async def session(self, frames: Frames) -> Frames:
        async for frame in self.inner.session(each async for each in frames if each):
            yield frame


class Batching(Wrapped):
    """A frame waits for the next one."""

    async def session(self, frames: Frames) -> Frames:
        async def late() -> Frames:
            held = None
            async for frame in frames:
                if held is not None:
                    yield held
                held = frame
            if held is not None:
                yield held

        async for frame in self.inner.session(late()):
            yield frame


class Truncating(Wrapped):
    async def upload(self, head: bytes, chunks: Frames) -> bytes:
        async def shorter() -> Frames:
            async for chunk in chunks:
                yield chunk[:1_000_000]

        return await self.inner.upload(head, shorter())


class ShortHeads(Wrapped):
    async def upload(self, head: bytes, chunks: Frames) -> bytes:
        return await self.inner.upload(head[:8192], chunks)


class Doubling(Wrapped):
    async def download(self, head: bytes) -> Frames:
        async for chunk in self.inner.download(head):
            yield chunk
            yield chunk


class Unlimited(Wrapped):
    async def call(self, frame: bytes) -> bytes:
        return b"" if len(frame) > FRAME_LIMIT else await self.inner.call(frame)


class OneError(Wrapped):
    """Every error is one and the same."""

    async def call(self, frame: bytes) -> bytes:
        try:
            return await self.inner.call(frame)
        except HansaError as error:
            if "too large" in error.what:
                raise
            raise NotConnected(error.what, where=error.where, hint=error.hint) from None


class Deaf(Wrapped):
    """A cancelled call goes on."""

    async def call(self, frame: bytes) -> bytes:
        return await asyncio.shield(asyncio.ensure_future(self.inner.call(frame)))


class NeverCancelled(Wrapped):
    async def call(self, frame: bytes) -> bytes:
        try:
            return await self.inner.call(frame)
        except asyncio.CancelledError:
            raise NotConnected("cancelled") from None


class EndsClean(Wrapped):
    """A caller's failure looks like its end."""

    async def upload(self, head: bytes, chunks: Frames) -> bytes:
        async def ended() -> Frames:
            try:
                async for chunk in chunks:
                    yield chunk
            except Exception:  # noqa: BLE001 - that is what is wrong with it
                return

        return await self.inner.upload(head, ended())


class Greedy(Wrapped):
    """Takes what it can get."""

    async def upload(self, head: bytes, chunks: Frames) -> bytes:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def take() -> None:
            async for chunk in chunks:
                queue.put_nowait(chunk)
                await asyncio.sleep(0)
            queue.put_nowait(None)

        async def given() -> Frames:
            while (chunk := await queue.get()) is not None:
                yield chunk

        taking, sending = asyncio.create_task(take()), asyncio.ensure_future(self.inner.upload(head, given()))
        taking.add_done_callback(lambda done: sending.cancel() if done.cancelled() or done.exception() else None)
        try:
            await asyncio.wait([sending])
            return await (taking if sending.cancelled() else sending) or b""
        finally:
            sending.cancel()
            taking.cancel()
            await asyncio.wait([sending, taking])
            async with closing(chunks):
                pass


class NeverClosed(Wrapped):
    async def close(self) -> None:
        return


def connection(kind: type[Wrapped]) -> Callable[[Service], AbstractAsyncContextManager[Stage]]:
    @asynccontextmanager
    async def make(service: Service) -> AsyncIterator[Stage]:
        async with memory(service) as stage:
            assert isinstance(stage.listener, MemoryListener)
            listener = stage.listener
            yield Stage(listener, lambda name: kind(stage.connect(name), listener))

    return make


class Hasty(MemoryListener):
    async def stop(self, grace: float = 0.0) -> None:  # noqa: ARG002
        await super().stop(0.0)


class Unstoppable(MemoryListener):
    async def stop(self, grace: float = 0.0) -> None:  # noqa: ARG002
        return


class ExpelsNobody(MemoryListener):
    def expel(self, serials: Collection[str]) -> int:  # noqa: ARG002
        return 0


class ExpelsAll(MemoryListener):
    def expel(self, serials: Collection[str]) -> int:  # noqa: ARG002
        return self.cut()


class CutsOff(MemoryListener):
    """Expels without saying that it did."""

    def expel(self, serials: Collection[str]) -> int:
        return sum(self.cut(name) for name in ("alpha", "bravo") if envoy(name).serial in serials)


def listener(kind: type[MemoryListener]) -> Callable[[Service], AbstractAsyncContextManager[Stage]]:
    @asynccontextmanager
    async def make(service: Service) -> AsyncIterator[Stage]:
        made = kind(service)
        await made.start()
        yield Stage(made, lambda name: made.connect(envoy(name)))
        await made.stop()

    return make


@asynccontextmanager
async def nameless(service: Service) -> AsyncIterator[Stage]:
    """Every caller is the same."""
    async with memory(service) as stage:
        yield Stage(stage.listener, lambda _: stage.connect("alpha"))


class Talkative:
    """A service whose exceptions go out."""

    def __init__(self, inner: Service) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def call(self, peer: Peer, frame: bytes) -> bytes:
        try:
            return await self.inner.call(peer, frame)
        except HansaError:
            raise
        except Exception as error:  # noqa: BLE001 - that is what is wrong with it
            raise FederationError(str(error)) from None


def talkative(service: Service) -> AbstractAsyncContextManager[Stage]:
    return memory(Talkative(service))


BROKEN: dict[str, tuple[Callable[[Service], AbstractAsyncContextManager[Stage]], str]] = {
    "nameless": (nameless, "a service is told who calls"),
    "talkative": (talkative, "tells nothing of it"),
    "lossy": (connection(Lossy), "a session keeps the order and content of frames"),
    "batching": (connection(Batching), "delivered at once, not when the next one comes; it takes for ever"),
    "truncating": (connection(Truncating), "an upload arrives byte for byte"),
    "short heads": (connection(ShortHeads), "an upload's head arrives whole"),
    "doubling": (connection(Doubling), "a download arrives byte for byte"),
    "unlimited": (connection(Unlimited), r"too large is a ProtocolError \(call\)"),
    "one error": (connection(OneError), "an error crosses as the same class"),
    "deaf": (connection(Deaf), "caller went away; it takes for ever|notices that its caller was cancelled"),
    "never cancelled": (connection(NeverCancelled), "a caller that is cancelled sees no other error"),
    "ends clean": (connection(EndsClean), "a caller is told of its own mistake"),
    "greedy": (connection(Greedy), r"holds back who writes.*\(upload\).*went out unread"),
    "never closed": (
        connection(NeverClosed),
        "A stream that breaks.*takes for ever",
    ),
    "hasty": (listener(Hasty), "lets the rest finish within the grace"),
    "unstoppable": (listener(Unstoppable), "A server that stops.*takes for ever"),
    "expels nobody": (listener(ExpelsNobody), "to expel a peer ends all its calls"),
    "expels all": (listener(ExpelsAll), "is not expelled"),
    "cuts off": (listener(CutsOff), "expelled sees a CertificateError"),
}


@pytest.fixture(scope="module")
def patience() -> float:
    """Seconds that are plenty for one law here and now: many times what all of them take."""
    begun = time.monotonic()
    check_transport(memory)
    return max(1.0, 2 * (time.monotonic() - begun))


@pytest.mark.parametrize(("make", "law"), BROKEN.values(), ids=BROKEN)
def test_the_kit_finds_a_transport_that_breaks_a_law(
    make: Callable[[Service], AbstractAsyncContextManager[Stage]], law: str, patience: float
) -> None:
    with pytest.raises(AssertionError, match=law):
        check_transport(make, patience=patience if "takes for ever" in law else 20.0)


def test_the_wrapper_that_the_broken_ones_are_made_of_is_good() -> None:
    check_transport(connection(Wrapped))
    check_transport(listener(MemoryListener))
