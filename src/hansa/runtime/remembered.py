"""Which Director an identity belongs to: its address, in a file beside the certificate, so that nobody types it again.

This file must not know how an identity came there, or who dials.
"""

from __future__ import annotations

from pathlib import Path

from hansa.errors import CertificateError, ConfigError
from hansa.pki import Identity
from hansa.pki.files import PUBLIC, read, write
from hansa.pki.identity import KEY
from hansa.runtime.config import parse_dialled
from hansa.runtime.files import now
from hansa.runtime.own import VARIABLE, own_identity

FILE = "director"
"""The address's name in the identity's folder."""


def remember(folder: Path, address: str) -> None:
    """Write a Director's address, `host:port` or `wss://host:port`, beside the identity in a folder.

    Raises:
        ConfigError: it is no address.
        StoreError: the folder cannot be written.
    """
    parse_dialled(address)
    write(folder / FILE, f"{address}\n".encode(), PUBLIC)


def remembered(folder: Path) -> str | None:
    """The address beside the identity in a folder; None where there is none.

    Raises:
        StoreError: the file is there and cannot be read.
    """
    found = read(folder / FILE)
    return None if found is None else found.decode("utf-8", "replace").strip() or None


def introduced(director: str | None = None, folder: Path | None = None) -> tuple[str, Identity]:
    """Where the Director is, and who one is.

    Raises:
        CertificateError: there is no identity, or it is no longer good.
        ConfigError: nobody says where the Director is.
    """
    folder = own_identity(folder)
    if not (folder / KEY).exists():
        raise CertificateError(
            "there is no identity in this folder",
            where=str(folder),
            hint=f"join with: hansa pki enroll INVITATION; or name another folder, or let {VARIABLE} name it",
        )
    mine = Identity.load(folder, now=now())
    address = director or remembered(folder)
    if address is None:
        raise ConfigError(
            "it is not known where the Director is",
            where=str(folder),
            hint="say it: --director HOST:PORT, or Federation.connect('HOST:PORT')",
        )
    return address, mine
