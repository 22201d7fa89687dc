"""Two rules about frames that every adapter keeps: their size, and that iterators are closed. Knows of no adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hansa.errors import ProtocolError
from hansa.transport.port import FRAME_LIMIT


def checked(frame: bytes, limit: int = FRAME_LIMIT) -> bytes:
    """The frame itself, if it may travel.

    Raises:
        ProtocolError: it has more than `limit` bytes, or is not `bytes`.
    """
    if not isinstance(frame, bytes):
        raise ProtocolError(f"a frame is bytes, not {type(frame).__name__}")
    if len(frame) > limit:
        raise ProtocolError(
            f"a frame of {len(frame):,} bytes is too large: at most {limit:,} travel at once",
            hint="send large contents as an upload or a download, in chunks",
        )
    return frame


@asynccontextmanager
async def closing(frames: AsyncIterator[bytes] | None) -> AsyncIterator[None]:
    """Close the iterator afterwards, if there is one and it can be closed; `contextlib.aclosing` insists on both."""
    try:
        yield
    finally:
        close = getattr(frames, "aclose", None)
        if close is not None:
            await close()
