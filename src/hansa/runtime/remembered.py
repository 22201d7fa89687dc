"""Which Director an identity belongs to: its address, in a file beside the certificate, so that nobody types it again.

This file must not know how an identity came there, or who dials.
"""

from __future__ import annotations

from pathlib import Path

from hansa.pki.files import PUBLIC, read, write
from hansa.runtime.config import parse_address

FILE = "director"
"""Its name in the identity's folder."""


def remember(folder: Path, address: str) -> None:
    """Write a Director's address, `host:port`, beside the identity in a folder.

    Raises:
        ConfigError: it is no address.
        StoreError: the folder cannot be written.
    """
    parse_address(address)
    write(folder / FILE, f"{address}\n".encode(), PUBLIC)


def remembered(folder: Path) -> str | None:
    """The address beside the identity in a folder; None where there is none.

    Raises:
        StoreError: the file is there and cannot be read.
    """
    found = read(folder / FILE)
    return None if found is None else found.decode("utf-8", "replace").strip() or None
