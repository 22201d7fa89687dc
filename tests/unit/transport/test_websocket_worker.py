"""Workers that listen, and services that dial them: who comes, who stays, who is told what."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from hansa.errors import CertificateError, ConfigError, FederationError, HansaError, NotConnected, ProtocolError
from hansa.protocol.peer import Peer, Role
from hansa.testing.certificates import ThrowAwayAuthority
from hansa.testing.stages import Scripted, Trace, noticed, sending
from hansa.transport import Credentials
from hansa.transport.websocket import WebSocketConnection, WebSocketDialler, WebSocketWorker, wire

HOST = "127.0.0.1:0"
ALICE = Peer("alice", Role.ENVOY)
DIRECTOR = Peer("director", Role.DIRECTOR)


class Told:
    """What a dialler tells."""

    def __init__(self) -> None:
        self.all: list[HansaError | None] = []
        self._news: asyncio.Queue[HansaError | None] = asyncio.Queue()

    def __call__(self, problem: HansaError | None) -> None:
        self.all.append(problem)
        self._news.put_nowait(problem)

    async def next(self) -> HansaError | None:
        return await self._news.get()


def run(act: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20.0):
            await act()

    asyncio.run(limited())


def insecure(service: Scripted, address: str, who: Peer = DIRECTOR, told: Told | None = None) -> WebSocketDialler:
    return WebSocketDialler(service, address, insecure=who, told=told)


def test_a_worker_knows_its_coordinator_and_the_coordinator_its_worker(authority: ThrowAwayAuthority) -> None:
    seen: list[Peer] = []

    async def call(peer: Peer, frame: bytes) -> bytes:
        seen.append(peer)
        return frame

    async def act() -> None:
        own, alice = authority.credentials("director", Role.DIRECTOR), authority.credentials("alice")
        async with WebSocketWorker(f"wss://{HOST}", credentials=alice, admit=authority.admit) as worker:
            dialler = WebSocketDialler(
                Scripted(call=call), worker.address, credentials=own, admit=authority.admit
            )  # no host's name is in these certificates
            assert await dialler.start() == worker.address
            connection = await anext(worker)
            assert connection.peer == authority.admit(own.certificate)
            assert await connection.call(b"hello") == b"hello"
            await dialler.stop()
        assert seen == [authority.admit(alice.certificate)]

    run(act)


def test_one_coordinator_has_many_workers() -> None:
    async def act() -> None:
        names = [f"worker-{number}" for number in range(5)]
        seen: set[str] = set()

        async def call(peer: Peer, _: bytes) -> bytes:
            seen.add(peer.name)
            return peer.name.encode()

        diallers, workers = [], []
        for name in names:
            worker = WebSocketWorker(f"ws://{HOST}", insecure=Peer(name, Role.ENVOY))
            workers.append(await worker.__aenter__())
            diallers.append(insecure(Scripted(call=call), worker.address))
            await diallers[-1].start()
        connections = [await anext(worker) for worker in workers]
        answers = await asyncio.gather(*(connection.call(b"") for connection in connections))
        assert answers == [name.encode() for name in names]
        await asyncio.gather(*(dialler.stop() for dialler in diallers))
        await asyncio.gather(*(worker.__aexit__(None, None, None) for worker in workers))
        assert seen == set(names)

    run(act)


def test_a_newer_connection_of_the_same_coordinator_replaces_the_older_one() -> None:
    async def act() -> None:
        async with WebSocketWorker(HOST, insecure=ALICE) as worker:
            first, second = insecure(Scripted(), worker.address), insecure(Scripted(), worker.address)
            await first.start()
            old = await anext(worker)
            stream = old.session(sending([b"x"], then=asyncio.Event()))
            assert await anext(stream) == b"x"
            await first.stop()
            with pytest.raises(NotConnected):
                await anext(stream)
            async with connect(
                worker.address, subprotocols=[wire.SERVES], additional_headers={wire.PEER: "director/director"}
            ) as half_open:
                older = await anext(worker)
                call = asyncio.ensure_future(older.call(b"never answered"))
                assert (await half_open.recv())[:1] == b"\x01"
                await second.start()
                assert await (await anext(worker)).call(b"new") == b"new"
                with pytest.raises(NotConnected, match="a newer connection of the same coordinator took its place"):
                    await call
            await second.stop()

    run(act)


def test_another_coordinator_is_refused_while_there_is_a_first(authority: ThrowAwayAuthority) -> None:
    async def act() -> None:
        alice, told = authority.credentials("alice"), Told()

        def dial(name: str, told: Told | None = None) -> WebSocketDialler:
            own = authority.credentials(name, Role.DIRECTOR)
            return WebSocketDialler(Scripted(), worker.address, credentials=own, admit=authority.admit, told=told)

        async with WebSocketWorker(HOST, credentials=alice, admit=authority.admit) as worker:
            first, second = dial("first"), dial("second", told)
            await first.start()
            connection = await anext(worker)
            await second.start()
            refused = await told.next()
            assert isinstance(refused, NotConnected)
            assert refused.what == "this worker serves another coordinator, 'first'"
            assert await connection.call(b"undisturbed") == b"undisturbed"
            await first.stop()
            assert await told.next() is None  # it dials on, and its turn comes
            connection = await anext(worker)
            assert connection.peer is not None
            assert connection.peer.name == "second"
            assert await connection.call(b"x") == b"x"
            await second.stop()
        assert [type(each) for each in told.all] == [NotConnected, type(None)]  # the same reason is told once

    run(act)


def test_a_connection_that_the_worker_closed_may_be_followed_by_another() -> None:
    async def act() -> None:
        async with WebSocketWorker(HOST, insecure=ALICE) as worker:
            dialler, count = insecure(Scripted(), worker.address), 0
            await dialler.start()
            async for connection in worker:
                async with connection:
                    assert await connection.call(b"x") == b"x"
                with pytest.raises(NotConnected, match="this connection was closed"):
                    await connection.call(b"x")
                if (count := count + 1) == 3:
                    break
            await dialler.stop()

    run(act)


def test_a_worker_that_is_left_ends_its_iterator_and_what_is_under_way() -> None:
    async def act() -> None:
        trace = Trace()

        async def endure(*_: object) -> AsyncIterator[bytes]:
            with trace:
                yield b"1"
                await asyncio.Event().wait()

        worker = WebSocketWorker(HOST, insecure=ALICE)
        await worker.__aenter__()
        dialler = insecure(Scripted(watch=endure), worker.address)
        await dialler.start()
        stream = (await anext(worker)).watch(b"")
        assert await anext(stream) == b"1"
        waiting = asyncio.ensure_future(anext(worker))
        await worker.__aexit__(None, None, None)
        with pytest.raises(NotConnected, match="the worker is stopping"):
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await waiting
        await noticed(trace, "the service notices")
        await dialler.stop()

    run(act)


def test_a_dialler_waits_for_a_worker_tells_why_once_and_finds_it_again() -> None:
    async def act() -> None:
        async with WebSocketWorker(HOST, insecure=ALICE) as worker:
            address = worker.address
        told = Told()
        dialler = insecure(Scripted(), address, told=told)
        await dialler.start()
        nobody = await told.next()
        assert isinstance(nobody, NotConnected)
        assert nobody.what == f"cannot connect to {address}: nothing listens there"
        for _ in range(2):
            async with WebSocketWorker(address, insecure=ALICE) as worker:
                assert await (await anext(worker)).call(b"x") == b"x"
                assert await told.next() is None
            stopped = await told.next()
            assert isinstance(stopped, NotConnected)
            assert "the worker is stopping" in stopped.what
            nobody = await told.next()
            assert isinstance(nobody, NotConnected)
            assert "nothing listens there" in nobody.what
        await dialler.stop()
        await dialler.stop()
        reasons = [None if each is None else each.what for each in told.all]
        assert all(one != other for one, other in itertools.pairwise(reasons))

    run(act)


def test_by_default_the_log_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def act() -> None:
        async with WebSocketWorker(HOST, insecure=ALICE) as worker:
            address = worker.address
        dialler = insecure(Scripted(), address)
        await dialler.start()
        while not caplog.messages:
            await asyncio.sleep(0)
        await dialler.stop()
        assert caplog.messages[0].startswith(f"no worker at {address}, dialling on: cannot connect")

    run(act)


def test_who_is_not_admitted_serves_nothing_and_is_served_nothing(
    authority: ThrowAwayAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    async def act() -> None:
        alice, own = authority.credentials("alice"), authority.credentials("director", Role.DIRECTOR)

        def nobody(certificate: bytes) -> Peer:
            raise CertificateError(f"{authority.admit(certificate).name} is not wanted here")

        def broken(_: bytes) -> Peer:
            raise LookupError("secret 4711")

        for at_worker, at_dialler, kind, words in (
            (nobody, authority.admit, CertificateError, "director is not wanted here"),
            (authority.admit, nobody, CertificateError, "alice is not wanted here"),
            (broken, authority.admit, FederationError, "internal error"),
            (authority.admit, broken, FederationError, "internal error"),
        ):
            told = Told()
            async with WebSocketWorker(HOST, credentials=alice, admit=at_worker) as worker:
                dialler = WebSocketDialler(Scripted(), worker.address, credentials=own, admit=at_dialler, told=told)
                await dialler.start()
                problem = await told.next()
                assert type(problem) is kind
                assert problem is not None
                assert problem.what == words
                await dialler.stop()
        assert "secret 4711" in caplog.text

    run(act)


@pytest.mark.parametrize("whose", ["worker", "dialler"])
def test_another_authority_s_certificate_is_refused_by_either_side(
    authority: ThrowAwayAuthority, stranger: ThrowAwayAuthority, whose: str
) -> None:
    async def act() -> None:
        made = stranger.credentials("x", Role.DIRECTOR)
        foreign = Credentials(made.certificate, made.key, authority.certificate)
        alice, own, told = authority.credentials("alice"), authority.credentials("director", Role.DIRECTOR), Told()
        async with WebSocketWorker(
            HOST, credentials=foreign if whose == "worker" else alice, admit=authority.admit
        ) as worker:
            dialler = WebSocketDialler(
                Scripted(),
                worker.address,
                credentials=foreign if whose == "dialler" else own,
                admit=authority.admit,
                told=told,
            )
            await dialler.start()
            problem = await told.next()
            assert isinstance(problem, NotConnected)
            expected = "of another authority" if whose == "worker" else "refuses this side's certificate"
            assert expected in problem.what
            await dialler.stop()

    run(act)


def test_two_that_want_to_call_are_told_apart() -> None:
    async def act() -> None:
        bob = Peer("bob", Role.ENVOY)
        async with (
            WebSocketWorker(HOST, insecure=ALICE) as worker,
            WebSocketConnection(worker.address, insecure=bob) as wrong,
        ):
            with pytest.raises(ProtocolError, match="here listens an Envoy, which waits for a Director"):
                await wrong.call(b"x")

    run(act)


def test_a_worker_that_does_not_say_who_it_is_is_not_served() -> None:
    async def act() -> None:
        told = Told()
        async with serve(lambda socket: socket.wait_closed(), "127.0.0.1", 0, subprotocols=[wire.SERVES]) as server:
            port = server.sockets[0].getsockname()[1]
            dialler = insecure(Scripted(), f"ws://127.0.0.1:{port}", told=told)
            await dialler.start()
            problem = await told.next()
            assert problem is not None
            assert "does not say who they are" in problem.what
            await dialler.stop()

    run(act)


def test_what_is_wrong_is_said_when_it_is_made(authority: ThrowAwayAuthority) -> None:
    own: dict[str, Any] = {"credentials": authority.credentials("alice")}
    with pytest.raises(ConfigError, match="a worker needs credentials, and somebody who admits"):
        WebSocketWorker(HOST, **own)
    with pytest.raises(ConfigError, match="needs credentials, and somebody who admits"):
        WebSocketDialler(Scripted(), HOST, **own)
    for address in ("0.0.0.0:0", "ws://worker.example.org:8777"):
        with pytest.raises(ConfigError, match="for this machine only"):
            WebSocketWorker(address, insecure=ALICE)
        with pytest.raises(ConfigError, match="for this machine only"):
            WebSocketDialler(Scripted(), address, insecure=DIRECTOR)

    async def twice() -> None:
        dialler = insecure(Scripted(), "ws://127.0.0.1:1")
        await dialler.start()
        with pytest.raises(ConfigError, match="started already"):
            await dialler.start()
        await dialler.stop()
        async with WebSocketWorker(HOST, insecure=ALICE) as worker:
            with pytest.raises(ConfigError, match="is in use already"):
                await WebSocketWorker(worker.address, insecure=ALICE).__aenter__()

    run(twice)
