"""An Envoy's certificate is good for listening, and for nothing that only a Director may do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hansa.errors import CertificateError, NotConnected
from hansa.pki import Authority, Identity
from hansa.protocol.peer import Peer, Role
from hansa.runtime.envoy.listening import admitted
from hansa.runtime.files import now
from hansa.transport.credentials import Credentials
from hansa.transport.dial import dialled
from hansa.transport.grpc.server import GrpcListener
from hansa.transport.port import Listener
from hansa.transport.websocket import WebSocketListener


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "authority", "local", now=now())


def certified(authority: Authority, name: str, role: Role = Role.ENVOY) -> Identity:
    """A member."""
    folder, hosts = authority.folder.parent / name, ("localhost",) if role is Role.DIRECTOR else ()
    certificate = authority.sign(Identity.request(folder, name), name, role, now=now(), hosts=hosts)
    return Identity.install(folder, certificate, authority.certificate)


def shown(identity: Identity) -> Credentials:
    """What it proves itself with."""
    return Credentials(identity.certificate, identity.key, identity.ca)


class Nobody:
    """A service that answers everybody."""

    def __getattr__(self, name: str) -> object:
        return self.call

    async def call(self, _peer: Peer, _frame: bytes) -> bytes:
        """What an impostor would say."""
        return b"believe me"


def listening(kind: str, mine: Identity) -> Listener:
    """A listener of that identity's."""
    service, credentials = Nobody(), shown(mine)
    if kind == "grpc":
        return GrpcListener(service, "localhost:0", credentials=credentials, admit=lambda _: mine.peer)  # type: ignore[arg-type]
    return WebSocketListener(service, "wss://localhost:0", credentials=credentials, admit=lambda _: mine.peer)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["grpc", "wss"])
@pytest.mark.parametrize(("name", "role"), [("localhost", Role.ENVOY), ("centre", Role.DIRECTOR)])
def test_an_envoy_cannot_pose_as_the_director_even_if_it_is_called_like_its_host(
    authority: Authority, kind: str, name: str, role: Role
) -> None:
    poses, victim = certified(authority, name, role), certified(authority, "north")

    async def dial() -> bytes:
        listener = listening(kind, poses)
        address = await listener.start()
        try:
            async with dialled(address, credentials=shown(victim)) as connection:
                return await connection.call(b"who are you?")
        finally:
            await listener.stop()

    if role is Role.DIRECTOR:
        assert asyncio.run(dial()) == b"believe me"
    else:
        with pytest.raises(NotConnected, match="certificate"):
            asyncio.run(dial())


def test_a_worker_takes_a_director_and_nobody_else(authority: Authority) -> None:
    centre = certified(authority, "centre", Role.DIRECTOR)
    assert admitted(centre.certificate) == centre.peer
    for name, role in (("north", Role.ENVOY), ("carol", Role.USER), ("root", Role.ADMIN)):
        with pytest.raises(CertificateError, match=f"'{name}' is no Director"):
            admitted(certified(authority, name, role).certificate)
