"""What programs import `log` from: Python's own logging, under the name "flwr"."""

from __future__ import annotations

import logging
from typing import Any

logger = logging.getLogger("flwr")


def log(level: int, message: object, *args: Any, **details: Any) -> None:
    """Log a message; what becomes of it is for the program's own logging settings."""
    logger.log(level, message, *args, **details)
