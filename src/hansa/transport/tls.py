"""TLS contexts for Python's own `ssl`, made of `Credentials`: both sides show a certificate, and check the other's.

This file must not know who dials whom, nor what is carried.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hansa.errors import CertificateError
from hansa.transport.credentials import Credentials

HTTP = "http/1.1"
"""What is spoken over TLS (ALPN); so that who speaks gRPC is told apart in the handshake."""


_DESCRIPTORS = Path("/proc/self/fd")


def server(credentials: Credentials) -> ssl.SSLContext:
    """For who listens.

    Raises:
        CertificateError: the certificate, the key or the authority cannot be read, or do not belong together.
    """
    return _context(ssl.PROTOCOL_TLS_SERVER, credentials)


def client(credentials: Credentials, *, names: bool) -> ssl.SSLContext:
    """For who dials.

    Args:
        credentials: the client's.
        names: the server's certificate must be for the host that is dialled. Where it is not, whoever dials looks at
            whom the certificate is for instead.

    Raises:
        CertificateError: as `server`.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, credentials)
    context.check_hostname = names
    context.hostname_checks_common_name = False  # it is the member's own name, and an Envoy may be called like a host
    return context


def shown(connection: object) -> bytes:
    """The other side's certificate, PEM.

    Args:
        connection: an `ssl.SSLObject` after its handshake.

    Raises:
        CertificateError: it showed none.
    """
    certificate = connection.getpeercert(binary_form=True) if isinstance(connection, ssl.SSLObject) else None
    if not certificate:
        raise CertificateError("the other side showed no certificate", hint="enrol first")
    return ssl.DER_cert_to_PEM_cert(certificate).encode()


def _context(kind: int, own: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(kind)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([HTTP])
    try:
        context.load_verify_locations(cadata=own.authority.decode("ascii"))
        with _readable(own.certificate.rstrip() + b"\n" + own.key) as path:
            context.load_cert_chain(path, password=lambda: b"")  # else OpenSSL asks at the terminal
    except (ssl.SSLError, ValueError):  # UnicodeDecodeError too
        raise CertificateError(
            "this certificate and key cannot be used for TLS",
            hint="check that both are PEM, that the key is the certificate's, and the authority's certificate",
        ) from None
    return context


@contextmanager
def _readable(secret: bytes) -> Iterator[str]:
    """A path from which OpenSSL can read this, as it reads from nothing else; where the system allows, never on a disk."""
    if hasattr(os, "memfd_create") and _DESCRIPTORS.is_dir():
        descriptor = os.memfd_create("hansa", os.MFD_CLOEXEC)
        with open(descriptor, "wb", buffering=0) as file:
            file.write(secret)
            yield str(_DESCRIPTORS / str(descriptor))
    else:
        with tempfile.TemporaryDirectory(prefix="hansa-") as folder:  # for this user only
            path = Path(folder) / "own.pem"
            path.touch(mode=0o600)
            path.write_bytes(secret)
            yield str(path)
