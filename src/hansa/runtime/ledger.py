"""Facts into the journal and out of it. Where the disk is full, writing waits until it is not: nothing is lost meanwhile.

This file must not know what the facts mean.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from hansa.errors import DiskFull
from hansa.protocol import wire
from hansa.store.port import Journal, Record

PATIENCE = 2.0
"""Seconds between two attempts to write to a full disk."""

_log = logging.getLogger("hansa.ledger")


class Ledger:
    """A journal of facts.

    Attributes:
        full: why nothing can be written at present; empty where it can.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.full = ""

    def facts(self, run: str | None = None) -> list[Any]:
        """What was written down, in order; of one run, or of all."""
        return [wire.decode(record.body) for record in self._journal.records(run)]

    async def record(self, facts: Sequence[Any]) -> None:
        """Write facts down, all of them or none; when this returns they survive a power cut."""
        records = [Record(fact.run, type(fact).__name__, wire.encode(fact)) for fact in facts]
        while True:
            try:
                await asyncio.to_thread(self._journal.append, records)
            except DiskFull as problem:
                if not self.full:
                    _log.error("the journal cannot be written, everything waits: %s", problem.line)
                self.full = problem.line
                await asyncio.sleep(PATIENCE)
            else:
                self.full = ""
                return

    async def forget(self, run: str) -> None:
        """Drop everything of a run."""
        await asyncio.to_thread(self._journal.forget, run)

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()
