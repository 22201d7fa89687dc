"""Files as streams of chunks, read in a thread so that the event loop goes on.

A thread is handed several chunks at a time: handing over costs about as much as reading or writing one.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from hansa.errors import HansaError, StoreError
from hansa.transport.port import CHUNK

AT_ONCE = 4
"""Chunks that a thread is handed at a time."""


async def chunks_of(path: Path, offset: int = 0) -> AsyncIterator[bytes]:
    """A file's bytes from an offset on, in chunks of `CHUNK`.

    Raises:
        StoreError: the file cannot be opened.
    """
    try:
        opened = path.open("rb")
    except OSError as problem:
        raise StoreError(f"a file cannot be read: {problem.strerror}", where=str(path)) from problem
    with opened as file:
        file.seek(offset)

        def some() -> list[bytes]:
            return [*itertools.takewhile(bool, (file.read(CHUNK) for _ in range(AT_ONCE)))]

        while chunks := await asyncio.to_thread(some):
            for chunk in chunks:
                yield chunk


async def in_groups(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Chunks as they come, several at a time; where the stream breaks, what came before the break comes first."""
    group: list[bytes] = []
    try:
        async for chunk in chunks:
            group.append(chunk)
            if len(group) == AT_ONCE:
                yield group
                group = []
    except HansaError:
        if group:
            yield group
        raise
    if group:
        yield group


def now() -> datetime:
    """The time, in UTC: what certificates are held against."""
    return datetime.now(UTC)
