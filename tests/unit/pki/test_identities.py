"""What a member keeps: installing it, loading it with a clear word on what is wrong, and signing with it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hansa.errors import CertificateError, StoreError
from hansa.pki import Authority, Identity, fingerprint, peer_of, trusted, verified
from hansa.pki.keys import load_key, new_key, request_pem
from hansa.protocol.peer import Role

Joins = Callable[..., Identity]
DAY = timedelta(days=1)


@pytest.fixture
def other(tmp_path: Path, now: datetime) -> Authority:
    """Another federation's authority, of the same name."""
    return Authority.create(tmp_path / "other", "north-sea", now=now)


def test_the_key_is_private_and_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "member"
    first = Identity.request(folder, "north")
    key = (folder / "key.pem").read_bytes()
    second = Identity.request(folder, "north")
    assert (folder / "key.pem").read_bytes() == key
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["key.pem"]
    assert x509.load_pem_x509_csr(first).public_key() == x509.load_pem_x509_csr(second).public_key()
    assert b"PRIVATE" not in first


def test_an_identity_is_loaded_as_it_was_installed(joins: Joins, authority: Authority, now: datetime) -> None:
    north = joins("north")
    loaded = Identity.load(north.folder, now=now)
    assert loaded == north
    assert loaded.ca == authority.certificate
    assert loaded.key == (north.folder / "key.pem").read_bytes()
    assert sorted(path.name for path in north.folder.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    assert "PRIVATE" not in repr(loaded)
    assert "_private" not in repr(loaded)


def test_what_is_missing_is_said(joins: Joins, now: datetime, tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="there is no identity in this folder") as caught:
        Identity.load(tmp_path / "nowhere", now=now)
    assert "invitation" in caught.value.hint
    Identity.request(tmp_path / "asked", "north")
    with pytest.raises(CertificateError, match=r"no cert\.pem: nobody has admitted it yet"):
        Identity.load(tmp_path / "asked", now=now)
    north = joins("north")
    (north.folder / "ca.pem").unlink()
    with pytest.raises(CertificateError, match=r"no ca\.pem"):
        Identity.load(north.folder, now=now)


def test_an_expired_certificate_is_said(joins: Joins, now: datetime) -> None:
    north = joins("north")
    assert Identity.load(north.folder, now=north.until).peer == north.peer
    with pytest.raises(CertificateError, match="envoy 'north' expired on 2027-03-01 12:00 UTC") as caught:
        Identity.load(north.folder, now=north.until + timedelta(seconds=1))
    assert "new invitation" in caught.value.hint
    assert caught.value.where.endswith("cert.pem")


def test_a_slow_clock_is_forgiven_for_a_day(joins: Joins, now: datetime) -> None:
    north = joins("north", at=now + 10 * DAY)
    assert Identity.load(north.folder, now=now + 9 * DAY).peer == north.peer
    with pytest.raises(CertificateError, match="valid only from 2026-03-10 12:00 UTC") as caught:
        Identity.load(north.folder, now=now + 8 * DAY)
    assert "clock" in caught.value.hint


def test_an_expired_authority_is_said(joins: Joins, authority: Authority, now: datetime) -> None:
    north = joins("north", at=now + 3649 * DAY)
    with pytest.raises(CertificateError, match="the authority expired") as caught:
        Identity.load(north.folder, now=now + 3651 * DAY)
    assert "new authority" in caught.value.hint


def test_another_key_is_said(joins: Joins, authority: Authority, now: datetime, tmp_path: Path) -> None:
    north = joins("north")
    Identity.request(tmp_path / "else", "north")
    with pytest.raises(CertificateError, match="for another key"):
        Identity.install(tmp_path / "else", north.certificate, authority.certificate)
    assert [path.name for path in (tmp_path / "else").iterdir()] == ["key.pem"]
    (north.folder / "key.pem").write_bytes((tmp_path / "else" / "key.pem").read_bytes())
    with pytest.raises(CertificateError, match="for another key"):
        Identity.load(north.folder, now=now)


def test_another_authority_is_said(joins: Joins, other: Authority, now: datetime) -> None:
    north = joins("north")
    with pytest.raises(CertificateError, match="not issued by this federation's authority"):
        Identity.install(north.folder, north.certificate, other.certificate)
    assert Identity.load(north.folder, now=now) == north
    (north.folder / "ca.pem").write_bytes(other.certificate)
    with pytest.raises(CertificateError, match="not issued by this federation's authority"):
        Identity.load(north.folder, now=now)
    (north.folder / "ca.pem").write_bytes(north.certificate)
    with pytest.raises(CertificateError, match="not an authority's"):
        Identity.load(north.folder, now=now)


def test_without_a_key_nothing_is_installed(joins: Joins, authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="there is no identity"):
        Identity.install(tmp_path / "empty", joins("north").certificate, authority.certificate)
    assert not (tmp_path / "empty").exists()


def test_the_authoritys_own_certificate_is_nobodys_identity(authority: Authority, now: datetime) -> None:
    with pytest.raises(CertificateError, match="does not say who it is for"):
        trusted(authority.certificate, authority.certificate, now=now)


@pytest.mark.parametrize("file", ["key.pem", "cert.pem", "ca.pem"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x00" * 100_000])
def test_a_damaged_file_is_named(joins: Joins, now: datetime, file: str, content: bytes) -> None:
    north = joins("north")
    (north.folder / file).write_bytes(content)
    with pytest.raises(CertificateError) as caught:
        Identity.load(north.folder, now=now)
    assert caught.value.where.endswith(file)
    assert caught.value.hint


def test_a_key_of_another_kind_is_refused() -> None:
    def pem(key: ec.EllipticCurvePrivateKey, lock: serialization.KeySerializationEncryption) -> bytes:
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)

    locked = pem(new_key(), serialization.BestAvailableEncryption(b"word"))
    longer = pem(ec.generate_private_key(ec.SECP384R1()), serialization.NoEncryption())
    for each in (locked, longer):
        with pytest.raises(CertificateError, match=r"not encrypted, on the curve P-256"):
            load_key(each, where="here")


def test_a_folder_that_cannot_be_used_is_a_store_error(tmp_path: Path, now: datetime) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        Identity.request(tmp_path / "file", "north")
    with pytest.raises(StoreError):
        Identity.request(tmp_path / "file" / "inner", "north")
    (tmp_path / "member" / "key.pem").mkdir(parents=True)
    with pytest.raises(StoreError):
        Identity.load(tmp_path / "member", now=now)


def test_a_signature_says_who_signed(joins: Joins, authority: Authority, other: Authority, now: datetime) -> None:
    north, south = joins("north"), joins("south", Role.ADMIN)
    data = b"I approve of experiment 7"
    signature = north.sign(data)
    assert verified(north.certificate, authority.certificate, data, signature, now=now) == north.peer
    for certificate, said, signed in (
        (north.certificate, data + b"7", signature),
        (north.certificate, data, signature[:-1]),
        (north.certificate, data, b""),
        (north.certificate, data, south.sign(data)),
        (south.certificate, data, signature),
    ):
        with pytest.raises(CertificateError, match="not signed by"):
            verified(certificate, authority.certificate, said, signed, now=now)
    with pytest.raises(CertificateError, match="not issued by"):
        verified(north.certificate, other.certificate, data, signature, now=now)
    with pytest.raises(CertificateError, match="expired"):
        verified(north.certificate, authority.certificate, data, signature, now=now + 366 * DAY)
    with pytest.raises(CertificateError, match="not a certificate"):
        verified(b"nonsense", authority.certificate, data, signature, now=now)


def test_what_is_signed_cannot_be_taken_for_a_handshake(joins: Joins, now: datetime) -> None:
    north = joins("north")
    key = x509.load_pem_x509_certificate(north.certificate).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    data = b"\x20" * 64 + b"TLS 1.3, client CertificateVerify\x00" + b"\x00" * 32
    key.verify(north.sign(data), b"hansa signature 1\n" + data, ec.ECDSA(hashes.SHA256()))


def test_a_newcomer_signs_nothing(authority: Authority, now: datetime) -> None:
    invitation = authority.invite("north", Role.ENVOY, address="localhost:7443", now=now)
    key = load_key(invitation.key, where="")
    signature = key.sign(b"hansa signature 1\nx", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(CertificateError, match="newcomer"):
        verified(invitation.certificate, authority.certificate, b"x", signature, now=now)


def _foreign(key: ec.EllipticCurvePrivateKey, common: list[str], *names: x509.GeneralName) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each) for each in common])
    since = datetime.fromisoformat("2026-01-01T00:00:00Z")
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(since)
        .not_valid_after(since + DAY)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_a_certificate_that_says_nobody_is_refused() -> None:
    key, uri = new_key(), x509.UniformResourceIdentifier
    assert peer_of(_foreign(key, ["north"], uri("hansa:envoy/north"), uri("https://x"))).serial == "7"
    for common, names in (
        (["north"], ()),
        (["north"], (x509.DNSName("north"),)),
        (["north"], (uri("hansa:envoy/south"),)),
        (["north"], (uri("hansa:king/north"),)),
        (["north"], (uri("hansa:envoy/"),)),
        (["a/b"], (uri("hansa:envoy/a/b"),)),
        (["NORTH"], (uri("hansa:envoy/NORTH"),)),
        (["north"], (uri("hansa:envoy/north"), uri("hansa:admin/north"))),
        (["north", "south"], (uri("hansa:envoy/north"),)),
        ([], (uri("hansa:envoy/north"),)),
    ):
        with pytest.raises(CertificateError, match="does not say who it is for"):
            peer_of(_foreign(key, common, *names))
    for nonsense in (
        b"",
        b"\xff" * 9,
        request_pem(key, "north"),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
    ):
        with pytest.raises(CertificateError, match="not a certificate"):
            fingerprint(nonsense)
