"""Reading certificates: who is it, until when, and did this authority issue it.

Everything here takes PEM that may come from anybody. This file must not know how certificates are issued or kept, nor which
were revoked: whoever asks compares `Peer.serial` with the Director's list.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hansa.errors import CertificateError, ConfigError
from hansa.pki.keys import LARGEST
from hansa.protocol.peer import Peer, Role, checked_name

SCHEME = "hansa:"
"""Begins the URI that says a certificate's role and name, `hansa:ROLE/NAME`."""

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def utc(now: datetime) -> datetime:
    """This moment in UTC, to the second, as certificates count time.

    Raises:
        ConfigError: it does not say its time zone.
    """
    if now.tzinfo is None or now.utcoffset() is None:
        raise ConfigError("a time without a zone could be any of a day's", hint="pass an aware datetime (tzinfo=UTC)")
    return now.astimezone(UTC).replace(microsecond=0)


def spoken(moment: datetime) -> str:
    """A moment as it is said in messages: to the minute, in UTC."""
    return f"{utc(moment):%Y-%m-%d %H:%M} UTC"


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def serial_of(certificate: x509.Certificate) -> str:
    """The serial number in lower-case hexadecimal, without leading zeros: the form used everywhere in Hansa."""
    return f"{certificate.serial_number:x}"


def load_certificate(pem: bytes, *, where: str = "") -> x509.Certificate:
    """The first certificate in this PEM.

    Raises:
        CertificateError: there is none, or it is damaged.
    """
    try:
        if len(pem) > LARGEST:
            raise ValueError
        return x509.load_pem_x509_certificate(pem)
    except _UNREADABLE:
        raise CertificateError(
            "this is not a certificate in PEM, or it is damaged", where=where, hint="get the file again from its origin"
        ) from None


def load_ca(pem: bytes, *, where: str = "") -> x509.Certificate:
    """The authority's certificate in this PEM.

    Raises:
        CertificateError: it is damaged, or one that may not issue others.
    """
    certificate = load_certificate(pem, where=where)
    try:
        may_issue = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except _UNREADABLE:
        may_issue = False
    if not may_issue:
        raise CertificateError(
            "this certificate is not an authority's: it may not issue others",
            where=where,
            hint="get the authority's certificate (ca.crt) from whoever runs the Director",
        )
    return certificate


def peer_of(certificate: bytes) -> Peer:
    """Whom this certificate names. Whether it is to be believed is for the handshake, or for `trusted`, to say.

    Args:
        certificate: PEM; of several, the first counts.

    Raises:
        CertificateError: it is damaged, or does not say one name and role in the way of Hansa's authority.
    """
    return subject(load_certificate(certificate))


def subject(certificate: x509.Certificate) -> Peer:
    """Like `peer_of`, of a certificate that was read."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = [uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith(SCHEME)]
        common = [each.value for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        (uri,) = uris
        role, _, name = uri.removeprefix(SCHEME).partition("/")
        peer = Peer(checked_name(name), Role(role), serial_of(certificate))
        if common != [name]:
            raise ValueError
    except _UNREADABLE:  # ConfigError, of a name that cannot be one, is a ValueError too
        raise CertificateError(
            "this certificate does not say who it is for: expected one URI hansa:ROLE/NAME, and NAME again as its CN",
            hint="use a certificate of the federation's own authority",
        ) from None
    return peer


def public_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    """The key that the certificate certifies.

    Raises:
        CertificateError: it is not on the curve P-256.
    """
    try:
        key = certificate.public_key()
    except _UNREADABLE:
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError("the key of a certificate must be on the curve P-256")
    return key


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of the certificate (in DER), 64 hexadecimal digits, to be compared over the telephone.

    Raises:
        CertificateError: it is damaged.
    """
    return hashlib.sha256(load_certificate(certificate).public_bytes(serialization.Encoding.DER)).hexdigest()


def expiry(certificate: bytes) -> datetime:
    """The last second in which it is valid, in UTC.

    Raises:
        CertificateError: it is damaged.
    """
    return load_certificate(certificate).not_valid_after_utc


def check_issued_by(certificate: x509.Certificate, ca: x509.Certificate, *, where: str = "") -> None:
    """See that the authority `ca` signed this certificate.

    Raises:
        CertificateError: another did, or it was altered.
    """
    try:
        certificate.verify_directly_issued_by(ca)
    except (*_UNREADABLE, InvalidSignature):
        raise CertificateError(
            "this certificate was not issued by this federation's authority",
            where=where,
            hint="join this federation with an invitation of its own",
        ) from None


def check_authority_valid(ca: x509.Certificate, *, now: datetime, where: str = "") -> None:
    """See that the authority's own certificate is valid at this moment.

    Raises:
        CertificateError: it has expired, or is not valid yet.
        ConfigError: `now` has no zone.
    """
    hint = "the federation needs a new authority, and each member a new invitation"
    check_valid(ca, now=now, whose="the authority", where=where, hint=hint)


def check_valid(
    certificate: x509.Certificate,
    *,
    now: datetime,
    whose: str,
    where: str = "",
    hint: str = "ask whoever runs the Director for a new invitation (a renewal), and join again in the same folder",
) -> None:
    """See that the certificate is valid at this moment.

    Args:
        certificate: the one to look at.
        now: this moment, aware.
        whose: for messages, such as "envoy 'north'".
        where: for messages, its file.
        hint: what to do if it has expired.

    Raises:
        CertificateError: it has expired, or is not valid yet.
        ConfigError: `now` has no zone.
    """
    moment = utc(now)
    if moment > certificate.not_valid_after_utc:
        raise CertificateError(
            f"the certificate of {whose} expired on {spoken(certificate.not_valid_after_utc)}; it is {spoken(moment)} now",
            where=where,
            hint=hint,
        )
    if moment < certificate.not_valid_before_utc:
        raise CertificateError(
            f"the certificate of {whose} is valid only from {spoken(certificate.not_valid_before_utc)};"
            f" by this machine's clock it is {spoken(moment)}",
            where=where,
            hint="set this machine's clock",
        )


def trusted(certificate: bytes, ca: bytes, *, now: datetime) -> Peer:
    """Whom this certificate names, if the authority issued it and it is valid now.

    Args:
        certificate: PEM, from anybody.
        ca: PEM of the authority's certificate, which is believed.
        now: this moment, aware.

    Raises:
        CertificateError: it is damaged, of another authority, expired, or not valid yet; or the authority's own is.
        ConfigError: `now` has no zone.
    """
    loaded, authority = load_certificate(certificate), load_ca(ca)
    check_issued_by(loaded, authority)
    check_authority_valid(authority, now=now)
    peer = subject(loaded)
    check_valid(loaded, now=now, whose=f"{peer.role} {peer.name!r}")
    return peer
