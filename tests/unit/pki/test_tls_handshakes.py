"""Our certificates in real TLS handshakes, by Python's `ssl`, as strict as it can be.

OpenSSL looks at this machine's clock, so here alone the time is the real one.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hansa.pki import Authority, Identity, Invitation, peer_of
from hansa.pki.certificates import certificate_pem, load_certificate
from hansa.pki.files import PRIVATE, write
from hansa.pki.issuing import Issuer, issue
from hansa.pki.keys import load_key
from hansa.protocol.peer import Peer, Role

Joins = Callable[..., Identity]


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def director(joins: Joins) -> Identity:
    return joins("centre", Role.DIRECTOR)


def context(identity: Identity, purpose: ssl.Purpose, trust: bytes | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(purpose, cadata=(trust or identity.ca).decode())
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    made.hostname_checks_common_name = False  # as `hansa.transport.tls` has it: a member's common name is its own
    made.load_cert_chain(identity.folder / "cert.pem", identity.folder / "key.pem")
    if purpose is ssl.Purpose.CLIENT_AUTH:
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "localhost") -> Peer:
    """Both ends shake hands over a socket pair; whom the server then sees."""
    left, right = socket.socketpair()
    left.settimeout(20)
    right.settimeout(20)

    def serve() -> Peer:
        with left, server.wrap_socket(left, server_side=True) as tls:
            tls.sendall(b"welcome")
            found = tls.getpeercert(binary_form=True)
            assert found is not None
            return peer_of(ssl.DER_cert_to_PEM_cert(found).encode())

    def dial() -> None:
        with right, client.wrap_socket(right, server_hostname=host) as tls:
            assert tls.recv(16) == b"welcome"

    with ThreadPoolExecutor(2) as pool:
        serving, dialling = pool.submit(serve), pool.submit(dial)
        errors = [error for error in (serving.exception(), dialling.exception()) if error is not None]
    refused = [error for error in errors if isinstance(error, ssl.SSLCertVerificationError)]
    if refused or errors:  # who refused knows why; the other end only that it was refused
        raise (refused or errors)[0]
    return serving.result()


@pytest.mark.parametrize("role", [Role.ENVOY, Role.USER, Role.ADMIN])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_member_is_known_by_its_certificate(director: Identity, joins: Joins, role: Role, host: str) -> None:
    north = joins("north", role)
    server, client = context(director, ssl.Purpose.CLIENT_AUTH), context(north, ssl.Purpose.SERVER_AUTH)
    assert handshake(server, client, host) == north.peer


def test_a_newcomer_can_dial(director: Identity, authority: Authority, now: datetime, tmp_path: Path) -> None:
    invitation: Invitation = authority.invite("north", Role.ENVOY, address="localhost:7443", now=now)
    write(tmp_path / "cert.pem", invitation.certificate, PRIVATE)
    write(tmp_path / "key.pem", invitation.key, PRIVATE)
    client = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=invitation.ca.decode())
    client.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    seen = handshake(context(director, ssl.Purpose.CLIENT_AUTH), client)
    assert (seen.name, seen.role) == ("north", Role.NEWCOMER)


def test_another_authoritys_member_is_refused(director: Identity, joins: Joins, tmp_path: Path, now: datetime) -> None:
    other = Authority.create(tmp_path / "other", "north-sea", now=now)
    stranger = joins("north", by=other)
    client = context(stranger, ssl.Purpose.SERVER_AUTH, trust=director.ca)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        handshake(context(director, ssl.Purpose.CLIENT_AUTH), client)


def test_another_authoritys_director_is_refused(joins: Joins, tmp_path: Path, now: datetime) -> None:
    other = Authority.create(tmp_path / "other", "north-sea", now=now)
    north, impostor = joins("north"), joins("centre", Role.DIRECTOR, by=other)
    server = context(impostor, ssl.Purpose.CLIENT_AUTH, trust=north.ca)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        handshake(server, context(north, ssl.Purpose.SERVER_AUTH))


def test_an_expired_member_is_refused(tmp_path: Path, now: datetime) -> None:
    past = now - timedelta(days=30)
    authority = Authority.create(tmp_path / "ca-of-old", "north-sea", now=past)
    for name, role, valid in (("centre", Role.DIRECTOR, 300), ("north", Role.ENVOY, 20)):
        csr = Identity.request(tmp_path / name, name)
        hosts = ("localhost",) if role is Role.DIRECTOR else ()
        signed = authority.sign(csr, name, role, now=past, valid=timedelta(days=valid), hosts=hosts)
        Identity.install(tmp_path / name, signed, authority.certificate)
    director = Identity.load(tmp_path / "centre", now=now)
    north = Identity.load(tmp_path / "north", now=past)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        handshake(context(director, ssl.Purpose.CLIENT_AUTH), context(north, ssl.Purpose.SERVER_AUTH))


def test_nobody_without_a_certificate(director: Identity) -> None:
    client = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=director.ca.decode())
    with pytest.raises(ssl.SSLError, match="did not return a certificate"):
        handshake(context(director, ssl.Purpose.CLIENT_AUTH), client)


def test_a_director_of_another_host_is_refused(director: Identity, joins: Joins) -> None:
    client = context(joins("north"), ssl.Purpose.SERVER_AUTH)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(context(director, ssl.Purpose.CLIENT_AUTH), client, "elsewhere.example")


def test_a_member_cannot_pose_as_the_director(joins: Joins) -> None:
    envoy, user, north = joins("localhost"), joins("south", Role.USER), joins("north")  # the envoy has the host's name
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(context(envoy, ssl.Purpose.CLIENT_AUTH), context(north, ssl.Purpose.SERVER_AUTH))
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        handshake(context(user, ssl.Purpose.CLIENT_AUTH), context(north, ssl.Purpose.SERVER_AUTH))


def test_a_member_cannot_issue(director: Identity, joins: Joins, authority: Authority, now: datetime) -> None:
    north = joins("north")
    forged = joins("south")
    issuer = Issuer(load_certificate(north.certificate), load_key(north.key, where=""))
    public = load_key(forged.key, where="").public_key()
    pem = issue(issuer, "root", Role.ADMIN, public, now=now, until=now + timedelta(days=9))
    write(forged.folder / "cert.pem", certificate_pem(pem) + north.certificate, PRIVATE)
    client = context(forged, ssl.Purpose.SERVER_AUTH)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        handshake(context(director, ssl.Purpose.CLIENT_AUTH), client)
