"""Many Envoys that only say that they are there: hansa's own protocol, transport and patience, and nothing else of an Envoy.

`python -m benchmarks.federation.crowd FOLDER ADDRESS FIRST LAST`: those with these numbers, whose identities lie in the folder.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.federation.envoy import hello
from benchmarks.federation.movers import obeying
from hansa.errors import NotConnected
from hansa.pki import Identity
from hansa.protocol import wire
from hansa.protocol.effects import Say
from hansa.protocol.envoy import Cut, Envoy, Hears, Passes
from hansa.protocol.messages import Goodbye, Welcome
from hansa.runtime.files import now
from hansa.transport.backoff import delays
from hansa.transport.credentials import Credentials
from hansa.transport.grpc.client import GrpcConnection
from hansa.transport.malloc import tune


class Idle:
    """An Envoy that nobody asks for anything."""

    def __init__(self, folder: Path, address: str) -> None:
        identity = Identity.load(folder, now=now())
        self._name, self._address = identity.peer.name, address
        self._credentials = Credentials(identity.certificate, identity.key, identity.ca)
        self._machine, self._outgoing = Envoy(), asyncio.Queue[bytes]()
        self._woken = asyncio.Event()

    async def live(self) -> None:
        """Dial, and dial again."""
        waits = delays(random.Random(self._name))  # noqa: S311 - when to dial is no secret
        beating = asyncio.create_task(self._beat())
        try:
            while True:
                try:
                    async with GrpcConnection(self._address, credentials=self._credentials) as connection:
                        async for frame in connection.session(self._frames()):
                            message = wire.decode(frame)
                            if isinstance(message, Goodbye):
                                raise NotConnected(message.why)
                            if isinstance(message, Welcome):
                                waits = delays(random.Random(self._name))  # noqa: S311 - when to dial is no secret
                            self._handle(Hears(message))
                except NotConnected:
                    self._handle(Cut())
                await asyncio.sleep(next(waits))
        finally:
            beating.cancel()

    async def _beat(self) -> None:
        while True:
            self._woken.clear()
            wait = self._machine.wake - time.time()
            try:
                await asyncio.wait_for(self._woken.wait(), None if wait == float("inf") else max(0.0, wait))
            except TimeoutError:
                self._handle(Passes())

    def _handle(self, event: object) -> None:
        for effect in self._machine.handle(event, time.time()):
            if isinstance(effect, Say):
                self._outgoing.put_nowait(wire.encode(effect.message))
        self._woken.set()

    async def _frames(self) -> AsyncIterator[bytes]:
        self._outgoing = outgoing = asyncio.Queue[bytes]()
        yield hello(self._name)
        while True:
            yield await outgoing.get()


async def main(folder: Path, address: str, first: str, last: str) -> None:
    """All of them, until the input ends."""
    everyone = [Idle(folder / f"idle-{n}", address) for n in range(int(first), int(last))]
    tasks = [asyncio.create_task(each.live()) for each in everyone]
    await obeying({})
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    tune()
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
