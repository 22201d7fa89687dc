"""Throw-away certificates for tests of transports: an authority that lives in memory, and signs whatever it is told to.

Nothing here is fit for a federation: see `hansa.pki` for that. This file must not know who uses the certificates.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import Any

from hansa.errors import MissingExtra
from hansa.protocol.peer import Peer, Role
from hansa.transport import Credentials

DAYS_BACK = 9


class ThrowAwayAuthority:
    """An authority that is gone with its process.

    Args:
        name: of the authority.

    Attributes:
        certificate: PEM.

    Raises:
        MissingExtra: `cryptography` is not installed.
    """

    def __init__(self, name: str = "throw-away authority") -> None:
        try:
            from cryptography import x509
            from cryptography.hazmat.primitives import hashes, serialization
            from cryptography.hazmat.primitives.asymmetric import ec
        except ImportError as missing:
            raise MissingExtra.of("cryptography", "federation", "a certificate") from missing
        self._x509, self._hashes, self._serialization, self._ec = x509, hashes, serialization, ec
        self._name = self._named(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(self._name, self._key, 9).add_extension(x509.BasicConstraints(True, 0), critical=True)
        self.certificate = self._pem(made)

    def credentials(
        self, name: str, role: Role = Role.ENVOY, *, hosts: tuple[str, ...] = (), days: int = 5
    ) -> Credentials:
        """A key of its own and a certificate for it.

        Args:
            name: whom it is for.
            role: in the federation; it is written as the certificate's organisational unit.
            hosts: names and addresses that a server may be dialled by.
            days: until it expires; negative ones are past.
        """
        x509, key = self._x509, self._ec.generate_private_key(self._ec.SECP256R1())
        builder = self._builder(self._named(name, role), key, days)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([self._host(host) for host in hosts]), critical=False
            )
        form = self._serialization
        private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        return Credentials(self._pem(builder), private, self.certificate)

    def admit(self, certificate: bytes) -> Peer:
        """Whom a certificate of this authority is for; the authority itself is not checked, as TLS has done that."""
        found = self._x509.load_pem_x509_certificate(certificate)
        oid = self._x509.oid.NameOID
        name, role = (
            str(found.subject.get_attributes_for_oid(each)[0].value)
            for each in (oid.COMMON_NAME, oid.ORGANIZATIONAL_UNIT_NAME)
        )
        return Peer(name, Role(role), f"{found.serial_number:x}")

    def _named(self, name: str, role: str = "") -> Any:
        oid = self._x509.oid.NameOID
        pairs = ((oid.COMMON_NAME, name), (oid.ORGANIZATIONAL_UNIT_NAME, str(role)))
        return self._x509.Name([self._x509.NameAttribute(each, value) for each, value in pairs if value])

    def _host(self, host: str) -> Any:
        try:
            return self._x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            return self._x509.DNSName(host)

    def _builder(self, subject: Any, key: Any, days: int) -> Any:
        now = dt.datetime.now(dt.UTC)
        builder = self._x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        builder = builder.public_key(key.public_key()).serial_number(self._x509.random_serial_number())
        return builder.not_valid_before(now - dt.timedelta(days=DAYS_BACK)).not_valid_after(
            now + dt.timedelta(days=days)
        )

    def _pem(self, builder: Any) -> bytes:
        return bytes(builder.sign(self._key, self._hashes.SHA256()).public_bytes(self._serialization.Encoding.PEM))
