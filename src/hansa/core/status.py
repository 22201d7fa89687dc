"""What may become of a client that was asked; alone in its file, so that who only passes it on loads no arrays."""

from __future__ import annotations

import enum


class Status(enum.StrEnum):
    """What became of a client that was asked."""

    UPDATED = "updated"
    """Its update counts."""
    FAILED = "failed"
    """Its work raised."""
    REJECTED = "rejected"
    """Its update was refused: not finite, another shape, a weight that makes no sense."""
    DROPPED = "dropped"
    """It never answered."""
    LATE = "late"
    """It answered after the ask was closed."""
