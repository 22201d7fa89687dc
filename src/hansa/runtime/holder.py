"""Which process works in a store. The journal's lock says it: unlike a file with a number, it goes when its process does.

This file must not know what the process is.
"""

from __future__ import annotations

from pathlib import Path

from hansa.errors import StoreError
from hansa.store.lock import ProcessLock

LOCK = "journal.sqlite.lock"


def holder(store: Path) -> int | None:
    """The process that has the store's journal open; None where nobody has.

    Raises:
        StoreError: that cannot be found out.
    """
    lock = store / LOCK
    if not lock.exists():
        return None
    try:
        ProcessLock(lock, "the journal").release()
    except StoreError:
        try:
            return int(lock.read_text())
        except (OSError, ValueError):
            pass
        raise
    return None
