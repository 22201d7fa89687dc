"""The post between a parent and one worker: letters over a socket, large ones in shared memory.

A frame on the socket is never longer than a few kilobytes, so that the socket's buffer always has room for those that may be
under way, and neither side ever waits for the other to read. This file must not know what letters say.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from dataclasses import dataclass

import numpy as np

from hansa.core.tree import ALIGNMENT
from hansa.errors import NotConnected
from hansa.simulation.processes.letters import Written
from hansa.simulation.processes.memory import Shared

INLINE = 8192
"""Bytes of a letter that go through the socket itself; a longer one goes as shared memory."""

_FRAME = struct.Struct("<QB")


@dataclass(frozen=True)
class Parcel:
    """A letter in the form in which it is sent, to one worker or to many; to be closed.

    Attributes:
        content: all of it, where it is short.
        shared: where it lies, otherwise.
    """

    content: bytes
    shared: Shared | None

    @classmethod
    def of(cls, written: Written) -> Parcel:
        """A written letter: the one copy that is made of its arrays."""
        if written.size <= INLINE:
            content = bytearray(written.size)
            written.put(memoryview(content))
            return cls(bytes(content), None)
        shared = Shared.new(written.size)
        try:
            written.put(shared.mapped(writable=True))
        except BaseException:
            shared.close()
            raise
        return cls(b"", shared)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content) if self.shared is None else self.shared.size

    def send(self, end: socket.socket) -> None:
        """Send it.

        Raises:
            OSError: the other side is gone.
        """
        header = _FRAME.pack(self.size, self.shared is not None)
        if self.shared is None:
            end.sendall(header + self.content)
        else:
            socket.send_fds(end, [header], [self.shared.descriptor])

    def close(self) -> None:
        """Give its memory up; who received it keeps it."""
        if self.shared is not None:
            self.shared.close()


def received(end: socket.socket, *, writable: bool = False) -> memoryview | None:
    """The next letter's memory, or None where the other side is gone.

    Raises:
        NotConnected: it went in the middle of a letter.
    """
    descriptors: list[int] = []
    header = b""
    with contextlib.ExitStack() as held:
        while len(header) < _FRAME.size:
            try:
                part, more, _, _ = socket.recv_fds(end, _FRAME.size - len(header), 1)
            except ConnectionError:
                part, more = b"", []
            for each in more:
                held.callback(os.close, each)
            descriptors += more
            if not part:
                if header:
                    raise NotConnected("a worker ended in the middle of a letter")
                return None
            header += part
        size, is_shared = _FRAME.unpack(header)
        if is_shared:
            return Shared(descriptors[0], size).mapped(writable=writable)
    return _inline(end, size)


def _inline(end: socket.socket, size: int) -> memoryview:
    room = np.empty(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    memory, count = room.data[start : start + size], 0
    while count < size:
        part = end.recv_into(memory[count:])
        if not part:
            raise NotConnected("a worker ended in the middle of a letter")
        count += part
    return memory
