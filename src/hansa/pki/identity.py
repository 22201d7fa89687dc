"""What a member keeps: a key that never leaves its folder, the certificate for it, and whom to trust.

This file must not know how certificates are issued, nor how they travel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hansa.errors import CertificateError
from hansa.pki.certificates import (
    check_authority_valid,
    check_issued_by,
    check_valid,
    load_ca,
    load_certificate,
    public_key,
    subject,
    trusted,
)
from hansa.pki.files import PRIVATE, PUBLIC, make_folder, read, write, write_new
from hansa.pki.keys import key_id, key_pem, load_key, new_key, request_pem
from hansa.protocol.peer import Peer, Role, checked_name

KEY = "key.pem"
CERTIFICATE = "cert.pem"
CA = "ca.pem"

_SIGNED = b"hansa signature 1\n"
"""Precedes what is signed: a key that also speaks TLS must never sign bytes that could be mistaken for a handshake's."""
_JOIN = "join the federation with an invitation from whoever runs its Director"


@dataclass(frozen=True, slots=True)
class Identity:
    """A member's identity.

    Attributes:
        folder: where it lives: `key.pem` (mode 0600), `cert.pem`, `ca.pem`.
        peer: who it is, as its certificate says.
        until: the last second in which the certificate is valid, in UTC.
        certificate: PEM.
        ca: the certificate of the federation's authority, PEM.
        key: the private key, PEM, for a TLS library in this process. A secret.
    """

    folder: Path
    peer: Peer
    until: datetime
    certificate: bytes = field(repr=False)
    ca: bytes = field(repr=False)
    key: bytes = field(repr=False)
    _private: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    @staticmethod
    def request(folder: Path, name: str) -> bytes:
        """A request for a certificate, to be brought to the authority. Makes the folder and the key if there is none.

        Args:
            folder: the member's.
            name: the name to be known by.

        Returns:
            The request (CSR), PEM; it holds no secret.

        Raises:
            ConfigError: `name` cannot be one.
            CertificateError: there is a key that cannot be read.
            StoreError: the folder cannot be written.
        """
        checked_name(name)
        make_folder(folder)
        if read(folder / KEY) is None:
            write_new(folder / KEY, key_pem(new_key()), PRIVATE)
        return request_pem(_key(folder)[1], name)

    @classmethod
    def install(cls, folder: Path, certificate: bytes, ca: bytes) -> Identity:
        """Keep a certificate that the authority gave; it replaces an earlier one.

        Args:
            folder: where `request` made the key.
            certificate: PEM.
            ca: PEM of the authority's certificate, from a source that is trusted, such as the invitation.

        Raises:
            CertificateError: it is for another key, or another authority's; there is no key here. Nothing is changed.
            StoreError: the folder cannot be written.
        """
        identity = cls._of(folder, certificate, ca)
        write(folder / CA, ca, PUBLIC)
        write(folder / CERTIFICATE, certificate, PUBLIC)
        return identity

    @classmethod
    def load(cls, folder: Path, *, now: datetime) -> Identity:
        """The identity in this folder.

        Args:
            folder: the member's.
            now: this moment, aware.

        Raises:
            CertificateError: a part is missing or damaged; the certificate has expired, is not valid yet, is for another
                key or of another authority. Each says what to do.
            StoreError: a file cannot be read.
        """
        _key(folder)  # before all else: without a key there never was an identity
        certificate, ca = read(folder / CERTIFICATE), read(folder / CA)
        if certificate is None or ca is None:
            raise CertificateError(
                f"there is a key here, but no {CERTIFICATE if certificate is None else CA}: nobody has admitted it yet",
                where=str(folder),
                hint=_JOIN,
            )
        identity = cls._of(folder, certificate, ca)
        peer = identity.peer
        check_authority_valid(load_ca(ca), now=now, where=str(folder / CA))
        check_valid(
            load_certificate(certificate),
            now=now,
            whose=f"{peer.role.value} {peer.name!r}",
            where=str(folder / CERTIFICATE),
        )
        return identity

    def sign(self, data: bytes) -> bytes:
        """A signature over the data by this member: ECDSA with SHA-256, in DER; see `verified`."""
        return self._private.sign(_SIGNED + data, ec.ECDSA(hashes.SHA256()))

    @classmethod
    def _of(cls, folder: Path, certificate: bytes, ca: bytes) -> Identity:
        """The identity of these parts, if they belong together, whatever the time."""
        pem, key = _key(folder)
        where = str(folder / CERTIFICATE)
        loaded = load_certificate(certificate, where=where)
        check_issued_by(loaded, load_ca(ca, where=str(folder / CA)), where=where)
        if key_id(public_key(loaded)) != key_id(key.public_key()):
            raise CertificateError(
                f"the certificate is for another key than the {KEY} in this folder",
                where=where,
                hint="install the certificate where its request was made, or ask for a new invitation and join here",
            )
        return cls(folder, subject(loaded), loaded.not_valid_after_utc, certificate, ca, pem, key)


def verified(certificate: bytes, ca: bytes, data: bytes, signature: bytes, *, now: datetime) -> Peer:
    """Who signed this data. Whether the certificate was revoked is not known here: compare `serial` with the Director's list.

    Args:
        certificate: the signer's, PEM, from anybody.
        ca: the certificate of the authority that is trusted, PEM.
        data: what was signed with `Identity.sign`.
        signature: what that gave.
        now: this moment, aware.

    Raises:
        CertificateError: another signed it, or the data was altered; the certificate is damaged, a newcomer's, of another
            authority, expired, or not valid yet.
        ConfigError: `now` has no zone.
    """
    peer = trusted(certificate, ca, now=now)
    if peer.role is Role.NEWCOMER:
        raise CertificateError(
            f"{peer.name!r} is a newcomer, who can sign nothing yet", hint="sign after joining the federation"
        )
    try:
        public_key(load_certificate(certificate)).verify(signature, _SIGNED + data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise CertificateError(
            f"this was not signed by {peer.role.value} {peer.name!r}, or it was altered afterwards",
            hint="get the data and its signature again from whoever signed it",
        ) from None
    return peer


def _key(folder: Path) -> tuple[bytes, ec.EllipticCurvePrivateKey]:
    pem = read(folder / KEY)
    if pem is None:
        raise CertificateError("there is no identity in this folder", where=str(folder), hint=_JOIN)
    return pem, load_key(pem, where=str(folder / KEY))
