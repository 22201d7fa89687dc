"""The authority: its folder, what its certificates say, and who may have one."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hansa.errors import CertificateError, ConfigError, Damaged, StoreError, UnknownName
from hansa.pki import Authority, Identity, expiry, fingerprint, peer_of, trusted
from hansa.pki.keys import new_key, request_pem
from hansa.protocol.peer import Peer, Role

DAY = timedelta(days=1)
Joins = Callable[..., Identity]


def request(name: str) -> bytes:
    return request_pem(new_key(), name)


def extension(pem: bytes, kind: type[x509.ExtensionType]) -> x509.Extension[x509.ExtensionType]:
    return x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(kind)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_a_new_authority_has_four_files_and_keeps_its_secrets(authority: Authority) -> None:
    assert modes(authority.folder) == {"ca.key": 0o600, "ca.crt": 0o644, "register.sqlite": 0o600, "revocations": 0o600}
    assert stat.S_IMODE(authority.folder.stat().st_mode) == 0o700
    assert "PRIVATE" not in repr(authority)
    assert "key" not in repr(authority)


def test_an_authority_is_opened_again(authority: Authority, now: datetime) -> None:
    again = Authority.open(authority.folder)
    assert again.certificate == authority.certificate
    assert again.name == "north-sea"
    assert expiry(again.certificate) == now + 3650 * DAY
    assert len(fingerprint(again.certificate)) == 64


def test_a_folder_holds_one_authority(authority: Authority, now: datetime) -> None:
    before = (authority.folder / "ca.key").read_bytes()
    with pytest.raises(ConfigError, match="there is an authority"):
        Authority.create(authority.folder, "other", now=now)
    for absent in ("ca.crt", "ca.key"):
        (authority.folder / absent).rename(authority.folder / f"{absent}.kept")
        with pytest.raises(ConfigError, match="or a part of one"):
            Authority.create(authority.folder, "other", now=now)
        with pytest.raises(CertificateError, match=f"{absent} is missing"):
            Authority.open(authority.folder)
        (authority.folder / f"{absent}.kept").rename(authority.folder / absent)
    assert (authority.folder / "ca.key").read_bytes() == before


def test_what_is_damaged_is_said(authority: Authority, tmp_path: Path, now: datetime) -> None:
    other = Authority.create(tmp_path / "other", "north-sea", now=now)
    key = authority.folder / "ca.key"
    whole = key.read_bytes()
    key.write_bytes((other.folder / "ca.key").read_bytes())
    with pytest.raises(CertificateError, match="is not the key of"):
        Authority.open(authority.folder)
    key.write_bytes(whole[:100])
    with pytest.raises(CertificateError, match="not a private key") as caught:
        Authority.open(authority.folder)
    assert whole.decode().splitlines()[1][:20] not in str(caught.value)
    key.write_bytes(whole)
    (authority.folder / "revocations").unlink()
    with pytest.raises(StoreError, match="revocations"):
        Authority.open(authority.folder)
    (authority.folder / "revocations").touch()
    (authority.folder / "register.sqlite").write_bytes(b"no register" * 100)
    with pytest.raises(Damaged, match="not a register"):
        Authority.open(authority.folder)
    (authority.folder / "register.sqlite").write_bytes(b"")
    with pytest.raises(StoreError, match="version 0"):
        Authority.open(authority.folder)
    (authority.folder / "register.sqlite").unlink()
    with pytest.raises(StoreError, match="cannot be used"):
        authority.revoked()


def test_the_authoritys_certificate_may_issue_members_only(authority: Authority) -> None:
    constraints = extension(authority.certificate, x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    usage = extension(authority.certificate, x509.KeyUsage)
    assert isinstance(usage.value, x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature


@pytest.mark.parametrize("role", [Role.ENVOY, Role.USER, Role.ADMIN, Role.DIRECTOR])
def test_a_members_certificate_says_who_and_for_what(
    authority: Authority, joins: Joins, now: datetime, role: Role
) -> None:
    member = joins("north", role)
    pem = member.certificate
    assert peer_of(pem) == Peer("north", role, f"{x509.load_pem_x509_certificate(pem).serial_number:x}")
    assert trusted(pem, authority.certificate, now=now) == member.peer
    names = extension(pem, x509.SubjectAlternativeName).value
    assert isinstance(names, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"hansa:{role}/north"]
    serves = role is Role.DIRECTOR
    assert names.get_values_for_type(x509.DNSName) == ["localhost"] * serves
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")] * serves
    usages = extension(pem, x509.ExtendedKeyUsage).value
    assert isinstance(usages, x509.ExtendedKeyUsage)
    listens = {ExtendedKeyUsageOID.SERVER_AUTH} if role in (Role.DIRECTOR, Role.ENVOY) else set()
    assert set(usages) == {ExtendedKeyUsageOID.CLIENT_AUTH} | listens
    assert extension(pem, x509.BasicConstraints).value == x509.BasicConstraints(ca=False, path_length=None)
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.not_valid_before_utc == now - DAY
    assert certificate.not_valid_after_utc == member.until == expiry(pem) == now + 365 * DAY
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)


def test_no_certificate_outlives_its_authority(authority: Authority, now: datetime) -> None:
    pem = authority.sign(request("north"), "north", Role.ENVOY, now=now, valid=timedelta.max)
    assert expiry(pem) == expiry(authority.certificate)
    with pytest.raises(CertificateError, match="the authority expired") as caught:
        authority.sign(request("south"), "south", Role.ENVOY, now=now + 4000 * DAY)
    assert "new authority" in caught.value.hint


def test_times_have_a_zone_and_any_will_do(authority: Authority, now: datetime) -> None:
    elsewhere = now.astimezone(timezone(timedelta(hours=-7)))
    pem = authority.sign(request("north"), "north", Role.ENVOY, now=elsewhere, valid=DAY)
    assert expiry(pem) == now + DAY
    for naive in (now.replace(tzinfo=None),):
        with pytest.raises(ConfigError, match="without a zone"):
            authority.sign(request("south"), "south", Role.ENVOY, now=naive)
        with pytest.raises(ConfigError, match="without a zone"):
            authority.revoke("north", now=naive)
        with pytest.raises(ConfigError, match="without a zone"):
            Authority.create(authority.folder.parent / "new", "new", now=naive)
    with pytest.raises(ConfigError, match="cannot be valid"):
        authority.sign(request("south"), "south", Role.ENVOY, now=now, valid=timedelta(0))


def test_a_name_has_one_certificate_until_it_is_renewed_or_revoked(authority: Authority, now: datetime) -> None:
    authority.sign(request("north"), "north", Role.ENVOY, now=now)
    with pytest.raises(CertificateError, match="has a valid certificate already, as envoy") as caught:
        authority.sign(request("north"), "north", Role.ENVOY, now=now)
    assert "renewal" in caught.value.hint
    authority.sign(request("north"), "north", Role.ENVOY, now=now, again=True)
    with pytest.raises(CertificateError, match="as envoy"):  # a renewal never changes what somebody may do
        authority.sign(request("north"), "north", Role.ADMIN, now=now, again=True)
    assert len(authority.revoke("north", now=now)) == 2
    authority.sign(request("north"), "north", Role.ADMIN, now=now)
    authority.sign(request("north"), "north", Role.USER, now=now + 366 * DAY)  # that one has expired


@pytest.mark.parametrize("name", ["", "North", "../north", "a b", "n" * 64, "a..b"])
def test_what_cannot_be_a_name_is_refused(authority: Authority, now: datetime, name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be a name"):
        authority.sign(request("north"), name, Role.ENVOY, now=now)
    with pytest.raises(ConfigError, match="cannot be a name"):
        authority.invite(name, Role.ENVOY, address="localhost:1", now=now)
    with pytest.raises(ConfigError, match="cannot be a name"):
        Identity.request(tmp_path / "member", name)
    with pytest.raises(ConfigError, match="cannot be a federation's name"):
        Authority.create(tmp_path / "new", name, now=now)
    assert not (tmp_path / "member").exists()
    assert not (tmp_path / "new").exists()
    assert authority.issued() == []


def test_hosts_are_for_the_director_alone(authority: Authority, now: datetime) -> None:
    with pytest.raises(ConfigError, match="needs at least one host"):
        authority.sign(request("centre"), "centre", Role.DIRECTOR, now=now)
    with pytest.raises(ConfigError, match="has no hosts"):
        authority.sign(request("north"), "north", Role.ENVOY, now=now, hosts=("localhost",))
    for wrong in ("localhost:7443", "https://x", "", "a b", "10.0.0.999", "-x", "x" * 64, "*", "ü.example"):
        with pytest.raises(ConfigError, match="neither a DNS name nor an IP address"):
            authority.sign(request("centre"), "centre", Role.DIRECTOR, now=now, hosts=(wrong,))
    assert authority.issued() == []
    hosts = ("Director.Example.org", "my_director", "::1")
    pem = authority.sign(request("centre"), "centre", Role.DIRECTOR, now=now, hosts=hosts)
    names = extension(pem, x509.SubjectAlternativeName).value
    assert isinstance(names, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["director.example.org", "my_director"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("::1")]


def test_a_newcomers_certificate_comes_with_an_invitation_only(authority: Authority, now: datetime) -> None:
    with pytest.raises(ConfigError, match="with an invitation only"):
        authority.sign(request("north"), "north", Role.NEWCOMER, now=now)


def test_a_request_for_another_name_is_refused(authority: Authority, now: datetime) -> None:
    with pytest.raises(CertificateError, match=r"for the name 'south'.*for 'north'"):
        authority.sign(request("south"), "north", Role.ENVOY, now=now)


def test_an_altered_request_is_refused(authority: Authority, now: datetime) -> None:
    der = bytearray(x509.load_pem_x509_csr(request("north")).public_bytes(serialization.Encoding.DER))
    at = bytes(der).index(b"north")
    der[at : at + 5] = b"south"
    altered = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(CertificateError, match="not signed by the key"):
        authority.sign(altered, "south", Role.ENVOY, now=now)
    assert authority.issued() == []


def _unusual(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, names: list[str]) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_what_is_no_proper_request_is_refused(authority: Authority, now: datetime) -> None:
    p256 = ec.generate_private_key(ec.SECP256R1())
    cases = {
        b"": "not a request",
        b"\x00\xff" * 99: "not a request",
        request("north")[:200]: "not a request",
        authority.certificate: "not a request",
        b"x" * 70_000: "at most 65536 bytes",
        _unusual(ec.generate_private_key(ec.SECP384R1()), ["north"]): "curve P-256",
        _unusual(rsa.generate_private_key(65537, 2048), ["north"]): "curve P-256",
        _unusual(p256, []): "one name",
        _unusual(p256, ["north", "north"]): "one name",
    }
    for csr, why in cases.items():
        with pytest.raises(CertificateError, match=why):
            authority.sign(csr, "north", Role.ENVOY, now=now)


def test_a_request_cannot_ask_for_more_than_its_key_and_name(authority: Authority, now: datetime) -> None:
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "north")])
    wishes = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier("hansa:admin/root"), x509.DNSName("x.org")]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = authority.sign(wishes.public_bytes(serialization.Encoding.PEM), "north", Role.ENVOY, now=now)
    assert (peer_of(pem).name, peer_of(pem).role) == ("north", Role.ENVOY)
    assert extension(pem, x509.BasicConstraints).value == x509.BasicConstraints(ca=False, path_length=None)
    names = extension(pem, x509.SubjectAlternativeName).value
    assert isinstance(names, x509.SubjectAlternativeName)
    assert len(names) == 1


def test_the_register_lists_all_that_was_issued(authority: Authority, joins: Joins, now: datetime) -> None:
    north, centre = joins("north"), joins("centre", Role.DIRECTOR)
    later = now + DAY
    assert authority.revoke("north", now=later, why="left the study") == (north.peer.serial,)
    first, second = Authority.open(authority.folder).issued()
    assert (first.name, first.role, first.serial, first.since, first.until) == (
        "north",
        Role.ENVOY,
        north.peer.serial,
        now - DAY,
        now + 365 * DAY,
    )
    assert (first.revoked, first.why) == (later, "left the study")
    assert (second.name, second.role, second.serial) == ("centre", Role.DIRECTOR, centre.peer.serial)
    assert (second.revoked, second.why) == (None, "")
    assert first.until.tzinfo is UTC


def test_whom_nobody_knows_cannot_be_revoked(authority: Authority, joins: Joins, now: datetime) -> None:
    joins("north")
    with pytest.raises(UnknownName, match="'nort'") as caught:
        authority.revoke("nort", now=now)
    assert "north" in caught.value.hint
