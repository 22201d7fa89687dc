"""What one side of a connection proves itself with, and checks the other against. Knows nothing of who issued it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate, its key, and the authority that the other side's certificate must come from.

    Attributes:
        certificate: PEM, with intermediate ones after it where there are any.
        key: PEM, of the certificate; never shown.
        authority: PEM.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    authority: bytes
