"""Making certificates: which fields and extensions a certificate of Hansa's has (RFC 5280).

Pure but for the operating system's random numbers. This file must not know who may have a certificate, nor keep any.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hansa.errors import ConfigError
from hansa.pki.certificates import SCHEME, check_authority_valid, utc
from hansa.protocol.peer import Role, checked_name

EARLIER = timedelta(days=1)
"""How far a certificate's beginning is back-dated, so that a machine whose clock is slow is not locked out by it."""
AUTHORITY_LASTS = timedelta(days=3650)
"""How long an authority is valid."""
MEMBER_LASTS = timedelta(days=365)
"""How long the certificate of a member is valid, unless said otherwise."""

_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")


@dataclass(frozen=True, slots=True)
class Issuer:
    """What signs certificates.

    Attributes:
        certificate: the authority's own.
        key: its private key.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def self_signed(name: str, key: ec.EllipticCurvePrivateKey, *, now: datetime) -> x509.Certificate:
    """The certificate of a new authority.

    Args:
        name: the federation's.
        key: the authority's.
        now: this moment, aware.

    Raises:
        ConfigError: `name` cannot be one, or `now` has no zone.
    """
    # The organisation keeps the authority's subject apart from that of a member who has the federation's name.
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Hansa authority"),
            x509.NameAttribute(NameOID.COMMON_NAME, checked_name(name, "federation's name")),
        ]
    )
    moment, public = utc(now), key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - EARLIER)
        .not_valid_after(moment + AUTHORITY_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(issues=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def issue(
    issuer: Issuer,
    name: str,
    role: Role,
    key: ec.EllipticCurvePublicKey,
    *,
    now: datetime,
    until: datetime,
    hosts: Sequence[str] = (),
) -> x509.Certificate:
    """A certificate for one member.

    Args:
        issuer: the authority.
        name: the member's.
        role: the member's. The Director may serve and dial; all others may only dial.
        key: the member's public key.
        now: this moment, aware; the certificate begins a day before.
        until: the last moment of validity, aware; see `end`.
        hosts: the DNS names and IP addresses under which a Director is dialled.

    Raises:
        ConfigError: `name` or a host cannot be one; hosts for a role that serves nobody, or a Director without any.
    """
    if (role is Role.DIRECTOR) != bool(hosts):
        raise ConfigError(
            f"a certificate for the role {role.value!r} "
            + ("needs at least one host" if role is Role.DIRECTOR else "has no hosts"),
            hint="name the hosts under which the Director is dialled in the Director's certificate, and in no other",
        )
    uri = x509.UniformResourceIdentifier(f"{SCHEME}{role.value}/{checked_name(name)}")
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if role in (Role.DIRECTOR, Role.ENVOY):
        # An Envoy may listen, and is the TLS server then of the Director that dials it. For a Director it cannot be taken:
        # whoever dials one looks for its host among the certificate's hosts, and at nothing else.
        usages.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
    above = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc(now) - EARLIER)
        .not_valid_after(utc(until))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(issues=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([uri, *map(_host, hosts)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )


def end(issuer: Issuer, *, now: datetime, valid: timedelta) -> datetime:
    """When a certificate made now for the time `valid` ends: no later than its authority.

    Raises:
        CertificateError: the authority has expired, or is not valid yet.
        ConfigError: `valid` is shorter than a second, or `now` has no zone.
    """
    if valid < timedelta(seconds=1):
        raise ConfigError(f"a certificate cannot be valid for {valid}", hint="give a time of at least a second")
    check_authority_valid(issuer.certificate, now=now)
    last = issuer.certificate.not_valid_after_utc
    moment = utc(now)
    return last if valid > last - moment else utc(moment + valid)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not _HOST.fullmatch(name := host.lower()) or name.rpartition(".")[2].isdigit():
        raise ConfigError(
            f"{host!r} is neither a DNS name nor an IP address",
            hint="give a host alone, without a port or a scheme, such as 'director.example.org' or '10.0.0.7'",
        )
    return x509.DNSName(name)


def _usage(*, issues: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not issues,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issues,
        crl_sign=issues,
        encipher_only=False,
        decipher_only=False,
    )
