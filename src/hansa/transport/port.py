"""The port of transports: how frames travel between a Director and those who dial it.

A frame is `bytes`, opaque to whoever carries it. This file must not know what frames mean, nor how they are carried.

A stream's end is never mistaken for a break: an iterator of frames that ends was ended by the other side on purpose; one whose
other side failed or went away raises. Streams are pulled: whoever reads slowly holds back who writes, and no adapter keeps
more than a few frames in between.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from types import TracebackType
from typing import Protocol, Self

from hansa.protocol.peer import Peer

FRAME_LIMIT = 4 * 2**20
"""Bytes in one frame or chunk, at most."""

HEAD_LIMIT = 64 * 2**10
"""Bytes in the head of an upload or a download, at most."""

CHUNK = 2**20
"""Bytes in a chunk that travels fast: smaller ones cost calls, larger ones cost memory."""


class Service(Protocol):
    """What a Director offers to those who dial it.

    A `HansaError` raised here arrives at the caller as the same class with the same words; anything else arrives as a
    `FederationError` that tells nothing of it, and is logged here. Where the caller goes away, the coroutine or iterator is
    cancelled or closed, and reading from what the caller sends raises `NotConnected`; so clean up in `finally`.
    """

    def session(self, peer: Peer, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """A long-lived stream in both directions at once; the session ends when the returned iterator does."""
        ...

    async def call(self, peer: Peer, frame: bytes) -> bytes:
        """One question, one answer."""
        ...

    def watch(self, peer: Peer, frame: bytes) -> AsyncIterator[bytes]:
        """One question, and answers as they come."""
        ...

    async def upload(self, peer: Peer, head: bytes, chunks: AsyncIterator[bytes]) -> bytes:
        """Take a large content; it may answer before it has read all."""
        ...

    def download(self, peer: Peer, head: bytes) -> AsyncIterator[bytes]:
        """Give a large content, in chunks of `CHUNK` bytes where it can."""
        ...


class Connection(Protocol):
    """A client's end. All methods may be used at once, from one event loop.

    The iterators that are passed in are read no further than the other side takes them, and are closed when the call is over.
    Those that are returned begin their call when they are first read; leave one early with `contextlib.aclosing`, and the
    other side notices.

    Every method raises what the service raised, and moreover:

    Raises:
        NotConnected: the other side cannot be reached, the connection broke, or it was closed here.
        ProtocolError: a frame is larger than `FRAME_LIMIT`, or a head than `HEAD_LIMIT`.
        CertificateError: the other side knows this caller's certificate and does not accept it.
    """

    def session(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Send `frames` while receiving others. An error of `frames` ends the session, and is raised by the iterator."""
        ...

    async def call(self, frame: bytes) -> bytes:
        """Ask, and wait for the answer."""
        ...

    def watch(self, frame: bytes) -> AsyncIterator[bytes]:
        """Ask, and receive answers as they come."""
        ...

    async def upload(self, head: bytes, chunks: AsyncIterator[bytes]) -> bytes:
        """Send a large content; an error of `chunks` breaks the upload off, and is raised."""
        ...

    def download(self, head: bytes) -> AsyncIterator[bytes]:
        """Receive a large content."""
        ...

    async def close(self) -> None:
        """End everything under way, which then raises `NotConnected` where it is awaited. A second time changes nothing."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Listener(Protocol):
    """A server's handle."""

    async def start(self) -> str:
        """Begin to listen.

        Returns:
            The address that others dial, with the port that was chosen where port 0 was asked for.

        Raises:
            ConfigError: the address cannot be used; the message says why.
        """
        ...

    async def stop(self, grace: float = 0.0) -> None:
        """End sessions and watches at once, give everything else `grace` seconds, and listen no more."""
        ...

    def expel(self, serials: Collection[str]) -> int:
        """End everything under way of peers with these certificates; the callers see a `CertificateError`.

        It does not keep them from dialling again: that is for whoever admits peers.

        Returns:
            How many calls were ended.
        """
        ...
