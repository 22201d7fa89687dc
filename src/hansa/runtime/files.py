"""Files as streams of chunks, read in a thread so that the event loop goes on.

A thread is handed several chunks at a time: handing over costs about as much as reading or writing one.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from hansa.errors import HansaError, StoreError
from hansa.transport.frames import closing
from hansa.transport.port import CHUNK

AT_ONCE = 4
"""Chunks that a thread is handed at a time."""

LEAST = 2**15
"""Bytes in the first chunks of a stream, and in those on a slow link: what a cut may cost."""

SHARE = 8
"""A chunk is at most this part of what was sent before it, so that a cut never costs more than that."""

WHILE = 0.5
"""Seconds that a chunk may take on its way, at the speed so far: a sign of life does not wait longer behind it."""

LINGER = 0.05
"""Seconds that a chunk waits for others before it is written."""


def chunk_size(sent: int, seconds: float) -> int:
    """How large the next chunk of a stream is to be: `CHUNK` where it is fast, less at its beginning and on a slow link.

    Args:
        sent: bytes so far.
        seconds: since the stream began.
    """
    fitting = min(sent / SHARE, sent * WHILE / max(seconds, 1e-9), CHUNK)
    return max(LEAST, int(fitting))


async def chunks_of(path: Path, offset: int = 0, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[bytes]:
    """A file's bytes from an offset on, in chunks of at most `CHUNK`, as large as suits the speed at which they are taken.

    Raises:
        StoreError: the file cannot be opened.
    """
    try:
        opened = path.open("rb")
    except OSError as problem:
        raise StoreError(f"a file cannot be read: {problem.strerror}", where=str(path)) from problem
    with opened as file:
        file.seek(offset)
        began, sent = clock(), 0

        def some(size: int) -> list[bytes]:
            return [*itertools.takewhile(bool, (file.read(size) for _ in range(AT_ONCE)))]

        while chunks := await asyncio.to_thread(some, chunk_size(sent, clock() - began)):
            for chunk in chunks:
                yield chunk
                sent += len(chunk)


async def in_groups(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Chunks as they come, several at a time where they come fast; where the stream breaks, what came before comes first."""
    group: list[bytes] = []
    coming: asyncio.Future[bytes] | None = None
    async with closing(chunks):
        try:
            while True:
                if coming is None:
                    coming = asyncio.ensure_future(anext(chunks))
                await asyncio.wait([coming], timeout=LINGER if group else None)
                if coming.done():
                    group.append(coming.result())
                    coming = None
                if len(group) == AT_ONCE or coming is not None:
                    yield group
                    group = []
        except StopAsyncIteration:
            pass
        except HansaError:
            if group:
                yield group
            raise
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.wait([coming])
                _ = coming.cancelled() or coming.exception()  # how it broke is of no interest to who reads no more
        if group:
            yield group


def now() -> datetime:
    """The time, in UTC: what certificates are held against."""
    return datetime.now(UTC)
