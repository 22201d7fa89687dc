"""A wire between the machine and a network namespace: every packet through it is late, slow, and perhaps lost.

What the kernel's netem does, in a thread over two TUN devices, because not every machine's kernel has netem. It knows nothing
of what is in a packet.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import threading
import time
from dataclasses import dataclass

from hansa.core.units import parse_rate

LARGEST = 65_536
"""Bytes of a packet, at most."""

WAITING = 60
"""Packets that wait for their turn, at most; what comes then is lost."""

_SET_INTERFACE, _TUN, _NO_HEADER = 0x400454CA, 0x0001, 0x1000


@dataclass(frozen=True)
class Line:
    """How bad a wire is, each way.

    Attributes:
        delay: seconds that each packet takes.
        loss: the share of packets that are lost.
        rate: "1 Mbit/s".
    """

    delay: float = 0.2
    loss: float = 0.05
    rate: str = "1 Mbit/s"


class Wire:
    """Two TUN devices and what is between them, until it is closed.

    Args:
        near: the name of the device at this end.
        far: of the other, which is to be moved into a namespace.
        line: how bad it is.
        seed: of which packets are lost.

    Attributes:
        carried: bytes of packets that arrived at [this end, the other].
        plugged: whether the cable is in.
    """

    def __init__(self, near: str, far: str, line: Line, seed: int) -> None:
        self._ends = [_device(near), _device(far)]
        self._line, self._rate, self._chance = line, parse_rate(line.rate), random.Random(seed)  # noqa: S311 - no secret
        self._late: list[tuple[float, int, int, bytes]] = []
        self._numbers, self._free, self._waiting = 0, [0.0, 0.0], [0, 0]
        self.carried, self.plugged, self._over = [0, 0], True, False
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take the devices away."""
        self._over = True
        self._thread.join()
        for end in self._ends:
            os.close(end)

    def _pass_on(self) -> None:
        while not self._over:
            wait = max(0.0, min(0.1, self._late[0][0] - time.monotonic() if self._late else 0.1))
            ready, _, _ = select.select(self._ends, [], [], wait)
            for end in ready:
                self._take(self._ends.index(end))
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, to, packet = heapq.heappop(self._late)
                self._waiting[to] -= 1
                self._give(to, packet)

    def _take(self, place: int) -> None:
        """A packet comes from an end."""
        try:
            packet = os.read(self._ends[place], LARGEST)
        except OSError:  # the device is down
            return
        to = 1 - place
        if not self.plugged or self._chance.random() < self._line.loss or self._waiting[to] >= WAITING:
            return
        now = time.monotonic()
        self._free[to] = max(self._free[to], now) + len(packet) / self._rate
        self._numbers += 1
        self._waiting[to] += 1
        heapq.heappush(self._late, (self._free[to] + self._line.delay, self._numbers, to, packet))

    def _give(self, to: int, packet: bytes) -> None:
        if self.plugged:
            try:
                os.write(self._ends[to], packet)
            except OSError:  # as above
                return
            self.carried[to] += len(packet)


def _device(name: str) -> int:
    """A new TUN device, open.

    Raises:
        OSError: not without root, or not on this system.
    """
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(device, _SET_INTERFACE, struct.pack("16sH", name.encode(), _TUN | _NO_HEADER))
    except OSError:
        os.close(device)
        raise
    return device
