"""Bad frames, bad certificates and bad owners against a live Director: it refuses each, and a run finishes afterwards."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import hansa
from hansa.data.owners import Owner
from hansa.errors import CertificateError, FederationError, HansaError, NotConnected, ProtocolError
from hansa.pki import Authority, Identity
from hansa.pki.certificates import expiry
from hansa.protocol import wire
from hansa.protocol.messages import (
    Answer,
    Beat,
    Blob,
    Consent,
    Goodbye,
    Hello,
    Overview,
    Result,
    Settled,
    Upload,
    Welcome,
)
from hansa.protocol.peer import Role
from hansa.runtime.files import now
from hansa.runtime.user import User
from hansa.transport.credentials import Credentials
from hansa.transport.grpc.client import GrpcConnection

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live

AVERAGING = Path(__file__).parent / "experiments" / "averaging.py"
SCHEMA = {"x": {"shape": [5], "dtype": "float32"}, "y": {"shape": [], "dtype": "int64", "classes": 3}}
SHARD = {"name": "mallory", "description": "", "schema": SCHEMA, "clients": {"mallory": {"train": 3}}}
SOMEBODY = Hello((1,), "0", 0.0, json.dumps(SHARD))


@pytest.fixture(autouse=True)
def works_afterwards(live: Live) -> Iterator[None]:
    """After each test the Director and the Envoys are those that there were, and a run finishes."""
    yield
    assert live.died() == []
    live.online("alice", "bob")
    live.works()


@pytest.fixture
def mallory(live: Live) -> Credentials:
    """An Envoy with a true certificate and bad manners."""
    folder = live.local.folder / "mallory-identity"
    if not folder.exists():
        live.local.identify(folder, "mallory", Role.ENVOY)
    mine = Identity.load(folder, now=now())
    return Credentials(mine.certificate, mine.key, mine.ca)


def in_session(live: Live, proof: Credentials, frames: list[bytes], hello: Hello = SOMEBODY) -> list[Any]:
    """Greet, say the frames, and return what the Director says, until it ends the session or has said enough."""

    async def said() -> AsyncIterator[bytes]:
        for frame in [wire.encode(hello), *frames]:
            yield frame
        await asyncio.Event().wait()

    async def session() -> list[Any]:
        heard: list[Any] = []
        async with asyncio.timeout(20), GrpcConnection(live.local.address, credentials=proof) as connection:
            async for frame in connection.session(said()):
                heard.append(wire.decode(frame))
                if isinstance(heard[-1], Settled | Goodbye) or (not frames and isinstance(heard[-1], Welcome)):
                    break
        return heard

    return asyncio.run(session())


def called(live: Live, proof: Credentials, frame: bytes) -> Any:
    """What the Director answers to a frame."""

    async def call() -> bytes:
        async with GrpcConnection(live.local.address, credentials=proof) as connection:
            return await connection.call(frame)

    return wire.decode(asyncio.run(call()))


def test_random_bytes_truncated_and_foreign_messages(live: Live, mallory: Credentials) -> None:
    whole, generator = wire.encode(Overview()), random.Random(0)  # noqa: S311 - no secret
    other_version = b"\x08\x63" + whole[2:]  # field 1, the version, says 99
    bad = [generator.randbytes(generator.randrange(1, 200)) for _ in range(40)]
    bad += [wire.encode(SOMEBODY)[:cut] for cut in range(1, 40, 3)]
    bad += [other_version, b"", whole[:-1]]
    for frame in bad:
        with pytest.raises(FederationError):
            called(live, mallory, frame)
    for frame in bad[:10]:
        with pytest.raises(HansaError):
            in_session(live, mallory, [frame])


def test_a_frame_beyond_the_limit(live: Live, mallory: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hansa.transport.grpc.client.checked", lambda frame, *_: frame)
    with pytest.raises(HansaError):
        called(live, mallory, bytes(5 * 2**20))


def test_another_version_of_the_protocol(live: Live, mallory: Credentials) -> None:
    stranger = Hello((98, 99), "9.9", 0.0, SOMEBODY.shard)
    (answer,) = in_session(live, mallory, [], stranger)
    assert isinstance(answer, Goodbye)
    assert not answer.again
    assert "version" in answer.why


def test_another_name_in_the_greeting(live: Live, mallory: Credentials) -> None:
    claims = Hello((1,), "0", 0.0, SOMEBODY.shard.replace("mallory", "alice"))
    (answer,) = in_session(live, mallory, [], claims)
    assert isinstance(answer, Goodbye)
    assert "speaks only for itself" in answer.why


def test_duplicates_replays_and_results_of_others(live: Live, mallory: Credentials) -> None:
    finished = live.submit(AVERAGING)
    live.finished(finished)
    before = live.show(finished)
    update = Blob("1" * 64, 8)
    frames = [
        Answer(finished, Consent.READY),
        Answer("no-such-run", Consent.REFUSED, "x" * 5000),
        Result(finished, 1, "alice", None, 1.0, "{}", "a lie"),
        Result(finished, 1, "mallory", update, float("nan")),
        Result("no-such-run", 1, "mallory", update),
        Result("../../x", 10**9, "mallory/../alice", None, 1.0, "not json", "why"),
        Beat(0.0, (finished,), (finished,), ()),
    ]
    encoded = [wire.encode(frame) for frame in frames]

    async def said() -> AsyncIterator[bytes]:
        for frame in [wire.encode(SOMEBODY), *encoded, *encoded, *reversed(encoded)]:
            yield frame

    async def session() -> list[Any]:
        async with asyncio.timeout(20), GrpcConnection(live.local.address, credentials=mallory) as connection:
            return [wire.decode(frame) async for frame in connection.session(said())]

    heard = asyncio.run(session())
    assert isinstance(heard[0], Welcome)
    assert live.show(finished) == before


def test_a_second_greeting_in_one_session_ends_it(live: Live, mallory: Credentials) -> None:
    with pytest.raises(ProtocolError):
        in_session(live, mallory, [wire.encode(SOMEBODY)])


def test_certificates_of_others_expired_and_for_another_host(live: Live, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "authority", "other", now=now())
    request = Identity.request(tmp_path / "foreign", "eve")
    foreign = Identity.install(
        tmp_path / "foreign", other.sign(request, "eve", Role.ADMIN, now=now()), other.certificate
    )
    ours = live.local.authority.certificate
    bad = [
        Credentials(foreign.certificate, foreign.key, ours),  # another authority's
        Credentials(foreign.certificate, foreign.key, foreign.ca),  # and the Director is of another for us too
    ]
    request = Identity.request(tmp_path / "old", "old")
    signed = live.local.authority.sign(request, "old", Role.USER, now=now(), valid=timedelta(seconds=2))
    old = Identity.install(tmp_path / "old", signed, ours)
    expired = expiry(signed)
    live.until("the certificate has expired", lambda: now() > expired)
    bad.append(Credentials(old.certificate, old.key, ours))
    for proof in bad:
        with pytest.raises((NotConnected, CertificateError)):
            called(live, proof, wire.encode(Overview()))
    with live.local.user() as user:
        mine = Identity.load(live.local.folder / "user", now=now())
        assert user.overview()
    named = Credentials(mine.certificate, mine.key, mine.ca)

    async def elsewhere() -> None:
        connection = GrpcConnection(live.local.address, credentials=named, server_name="other.example.org")
        async with connection:
            await connection.call(wire.encode(Overview()))

    with pytest.raises((NotConnected, CertificateError)):
        asyncio.run(elsewhere())


def test_a_session_is_cut_when_its_certificate_is_revoked(live: Live) -> None:
    folder = live.local.folder / "gone"
    identity = live.local.identify(folder, "gone", Role.ENVOY)
    proof = Credentials(identity.certificate, identity.key, identity.ca)
    hello = Hello((1,), "0", 0.0, SOMEBODY.shard.replace("mallory", "gone"))

    async def said() -> AsyncIterator[bytes]:
        yield wire.encode(hello)
        await asyncio.Event().wait()

    async def session() -> float:
        revoked = 0.0
        async with asyncio.timeout(20), GrpcConnection(live.local.address, credentials=proof) as connection:
            try:
                async for frame in connection.session(said()):
                    if isinstance(wire.decode(frame), Welcome):
                        await asyncio.to_thread(live.local.authority.revoke, "gone", now=now())
                        revoked = time.monotonic()
            except (NotConnected, CertificateError):
                pass
        return time.monotonic() - revoked

    assert asyncio.run(session()) < 5.0  # one second, on a machine that has nothing else to do
    with pytest.raises((NotConnected, CertificateError)):
        called(live, proof, wire.encode(Overview()))


def test_an_upload_that_is_not_what_its_name_says_and_one_beyond_the_limit(live: Live) -> None:
    mine = Identity.load(live.local.folder / "user", now=now())
    proof = Credentials(mine.certificate, mine.key, mine.ca)

    async def content(data: bytes) -> AsyncIterator[bytes]:
        yield data

    async def upload(blob: Blob, data: bytes, offset: int = 0) -> bytes:
        async with GrpcConnection(live.local.address, credentials=proof) as connection:
            return await connection.upload(wire.encode(Upload(blob, offset)), content(data))

    for blob, data, offset in (
        (Blob("2" * 64, 3), b"abc", 0),
        (Blob("2" * 64, 3), b"abcdef", 0),
        (Blob("2" * 64, 2**50), b"abc", 0),
        (Blob("2" * 64, 30), b"abc", 20),
    ):
        with pytest.raises(HansaError):
            asyncio.run(upload(blob, data, offset))


def test_an_owner_whose_descriptor_raises_is_told_and_nobody_else(live: Live) -> None:
    live.local.add(Owner("wrong", "shards:One", {"client": "no such cloud"}, Path(__file__).parent / "owned"))
    live.local.start("wrong")
    process = live.local.processes["wrong"]
    live.until("the Envoy gives up", lambda: process.poll() is not None)
    assert process.returncode > 0
    said = live.log("wrong")
    assert "Traceback" not in said
    assert "train()" in said or "shards" in said
    del live.local.processes["wrong"], live.local.owners["wrong"]


def test_a_port_in_use_is_an_error_that_says_so(live: Live, tmp_path: Path) -> None:
    folder = live.local.folder / "second"
    folder.mkdir()
    text = (live.local.folder / "director" / "director.toml").read_text()
    (folder / "director.toml").write_text(text)
    Authority.create(folder / "authority", "second", now=now())
    request = Identity.request(folder / "identity", "director")
    authority = Authority.open(folder / "authority")
    signed = authority.sign(request, "director", Role.DIRECTOR, now=now(), hosts=("127.0.0.1",))
    Identity.install(folder / "identity", signed, authority.certificate)
    command = [sys.executable, "-m", "hansa", "director", "start", str(folder)]
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert ended.returncode > 0
    assert live.local.address in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_envoys_that_are_there_before_their_director(live: Live) -> None:
    for name in ("director", "alice", "bob"):
        live.local.kill(name, signal.SIGTERM)
    dialled = {name: live.log(name).count("no Director at") for name in ("alice", "bob")}
    for name in dialled:
        live.local.start(name)
    live.until("both dial", lambda: all(live.log(name).count("no Director at") > n for name, n in dialled.items()))
    live.local.start("director")
    live.online()


def test_a_user_is_told_when_nobody_listens(live: Live) -> None:
    mine = Identity.load(live.local.folder / "user", now=now())
    with User("127.0.0.1:1", mine) as user, pytest.raises(NotConnected):
        user.overview()
    assert isinstance(hansa.load_experiment(AVERAGING).experiment, hansa.Experiment)
