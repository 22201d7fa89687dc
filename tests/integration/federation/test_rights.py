"""Who may say what to a live Director: every role, with a true certificate, on every call and every kind of message."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hansa.core.ask import Status
from hansa.errors import CertificateError, HansaError, NotAllowed, ProtocolError
from hansa.pki import Identity
from hansa.protocol import messages, rights, wire
from hansa.protocol.messages import Blob, Holding, Request
from hansa.protocol.peer import Role
from hansa.runtime.files import now
from hansa.transport.credentials import Credentials
from hansa.transport.grpc.client import GrpcConnection

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live

BLOB = Blob("0" * 64, 3)
MESSAGES = (
    messages.Hello((1,), "0", 0.0, "{}"),
    messages.Beat(0.0, ("run",), (), (Holding("run", 1, "alice", True),)),
    messages.Answer("run", messages.Consent.READY),
    messages.Result("run", 1, "alice"),
    messages.Welcome(1, 1.0, 0.0),
    messages.Goodbye("why", True),
    messages.Offer("run", BLOB, b"", b""),
    messages.Settled("run", 1, "alice", Status.UPDATED),
    messages.Assign("run", 1, "alice", "train", 1, 0, BLOB),
    messages.Over("run"),
    messages.Enroll(b"request", "token"),
    messages.Enrolled(b"certificate"),
    messages.Submit(b"{}", b"", b"", "key"),
    messages.Submitted("run"),
    messages.Lacking((BLOB,)),
    messages.Preview(b"{}"),
    messages.About("run", Request.SHOW),
    messages.Overview(),
    messages.Drain(),
    messages.Follow("run"),
    messages.Report("{}"),
    messages.Upload(BLOB),
    messages.Received((0,)),
    messages.Download("0" * 64, "run"),
)
CALLED = (
    messages.Enroll,
    messages.Submit,
    messages.Lacking,
    messages.Preview,
    messages.About,
    messages.Overview,
    messages.Drain,
)
PLACES: Mapping[str, tuple[type, ...]] = {
    "call": CALLED,
    "watch": (messages.Follow,),
    "upload": (messages.Upload,),
    "download": (messages.Download,),
    "session": (messages.Hello,),
}
"""The calls, and which messages each may begin with."""


async def nothing() -> AsyncIterator[bytes]:
    """No chunks."""
    return
    yield b""


async def once(frame: bytes) -> AsyncIterator[bytes]:
    """One frame."""
    yield frame


async def drained(frames: AsyncIterator[bytes]) -> None:
    """To the end."""
    async for _ in frames:
        pass


CALLS: Mapping[str, Callable[[GrpcConnection, bytes], Awaitable[Any]]] = {
    "call": lambda connection, frame: connection.call(frame),
    "watch": lambda connection, frame: drained(connection.watch(frame)),
    "upload": lambda connection, frame: connection.upload(frame, nothing()),
    "download": lambda connection, frame: drained(connection.download(frame)),
    "session": lambda connection, frame: drained(connection.session(once(frame))),
}


def credentials(live: Live, role: Role) -> Credentials:
    """A true certificate of the federation, in a role."""
    folder = live.local.folder / "roles" / role
    name = f"some-{role}"
    if not folder.exists():
        if role is Role.NEWCOMER:
            return _newcomer(live)
        live.local.identify(folder, name, role, hosts=("localhost",) if role is Role.DIRECTOR else ())
    mine = Identity.load(folder, now=now())
    return Credentials(mine.certificate, mine.key, mine.ca)


def _newcomer(live: Live) -> Credentials:
    invitation = live.local.authority.invite("new", Role.USER, address=live.local.address, now=now())
    return Credentials(invitation.certificate, invitation.key, invitation.ca)


def test_all_messages_are_here() -> None:
    kinds = {kind for kind in vars(messages).values() if dataclasses.is_dataclass(kind)} - {Blob, Holding}
    assert {type(message) for message in MESSAGES} == kinds
    assert rights.RIGHTS.keys() == {kind for kinds in PLACES.values() for kind in kinds}


@pytest.mark.parametrize("role", list(Role))
def test_a_role_may_do_what_is_its_own_and_nothing_else(live: Live, role: Role) -> None:
    proof = credentials(live, role)
    stopped = live.local.processes["director"].poll

    async def said(place: str, message: object) -> str:
        """The kind of the error that the Director answered with; empty where it answered."""
        async with GrpcConnection(live.local.address, credentials=proof) as connection:
            try:
                async with asyncio.timeout(20):
                    await CALLS[place](connection, wire.encode(message))
            except HansaError as problem:
                return type(problem).__name__
        return ""

    async def all_of_them() -> None:
        for place, kinds in PLACES.items():
            for message in MESSAGES:
                if isinstance(message, messages.Drain) and role is Role.ADMIN:
                    continue  # it may, and then the Director stops
                answer = await said(place, message)
                if role is Role.DIRECTOR:
                    assert answer == CertificateError.__name__, (place, message)
                elif type(message) in kinds and role in rights.RIGHTS[type(message)]:
                    assert answer != NotAllowed.__name__ or isinstance(message, messages.Upload), (place, message)
                else:
                    assert answer in (NotAllowed.__name__, ProtocolError.__name__), (place, message, answer)
                assert stopped() is None

    asyncio.run(all_of_them())
    live.works()


def test_an_envoy_speaks_for_itself_only(live: Live, tmp_path: Path) -> None:
    entry = tmp_path / "held.py"
    text = (Path(__file__).parent / "experiments" / "gated.py").read_text()
    entry.write_text(text.replace('Path("nowhere")', f"Path({str(tmp_path)!r})"))
    run = live.submit(entry)
    live.until("alice works on round 2", lambda: (tmp_path / "alice.reached").exists())
    asked = live.show(run)
    stranger = credentials(live, Role.ENVOY)

    async def upload_for_alice() -> None:
        async with GrpcConnection(live.local.address, credentials=stranger) as connection:
            with pytest.raises(NotAllowed, match="nobody waits"):
                await connection.upload(
                    wire.encode(messages.Upload(BLOB, 0, run, asked["asks"], "alice")), once(b"abc")
                )
            with pytest.raises(HansaError):
                await drained(connection.download(wire.encode(messages.Download(asked["model"]["sha256"], run))))

    asyncio.run(upload_for_alice())
    for gate in ("alice", "bob"):
        (tmp_path / f"{gate}.open").touch()
    assert live.finished(run).rounds == 4
