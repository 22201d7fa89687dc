"""Private keys, and requests for a certificate (CSRs). All keys are on the curve P-256.

This file must not know where keys are kept, nor who may have a certificate. No error raised here repeats any of a key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hansa.errors import CertificateError
from hansa.protocol.peer import checked_name

LARGEST = 64 * 1024
"""Bytes of a certificate or a request that are looked at; real ones have about a thousand."""


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new private key, from the operating system's generator."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The private key as PEM (PKCS #8, not encrypted)."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(pem: bytes, *, where: str) -> ec.EllipticCurvePrivateKey:
    """The private key in this PEM.

    Raises:
        CertificateError: it is damaged, encrypted, or not on the curve P-256.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None  # the library's message is left behind, as it may quote what it read
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError(
            "this is not a private key that Hansa made: expected PEM, not encrypted, on the curve P-256",
            where=where,
            hint="restore the file from a backup; or move its folder away, and ask for a new certificate",
        )
    return key


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the public key (its SubjectPublicKeyInfo in DER), in hexadecimal."""
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def request_pem(key: ec.EllipticCurvePrivateKey, name: str) -> bytes:
    """A request for a certificate for `name`, signed with the key, as PEM.

    Raises:
        ConfigError: `name` cannot be one.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, checked_name(name))])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True, slots=True)
class Request:
    """What a request asks, once its signature has shown that the asker holds the key.

    Attributes:
        name: who asks; nothing but their own word.
        key: the public key to certify.
    """

    name: str
    key: ec.EllipticCurvePublicKey

    def check_name(self, name: str) -> None:
        """See that the request is for `name`.

        Raises:
            CertificateError: it is for another.
        """
        if self.name != name:
            raise CertificateError(
                f"the request is for the name {self.name[:80]!r}, but this certificate is for {name!r}",
                hint=f"make the request again with the name {name!r}",
            )


def read_request(csr: bytes) -> Request:
    """The request in this PEM, which may come from anybody.

    Raises:
        CertificateError: it is damaged, not signed by its own key, on another curve, or has no name.
    """
    hint = "make the request again, and hand it over unchanged"
    if len(csr) > LARGEST:
        raise CertificateError(f"a request has at most {LARGEST} bytes, this one has {len(csr)}", hint=hint)
    try:
        request = x509.load_pem_x509_csr(csr)
        key, signed = request.public_key(), request.is_signature_valid
        names = [each.value for each in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError("this is not a request for a certificate in PEM, or it is damaged", hint=hint) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError("the key of a request must be on the curve P-256", hint=hint)
    if not signed:
        raise CertificateError("the request is not signed by the key that it wants certified", hint=hint)
    if len(names) != 1 or not isinstance(names[0], str):
        raise CertificateError(f"a request must have one name (CN), this one has {len(names)}", hint=hint)
    return Request(names[0], key)
