"""An Envoy reduced to its transfers: the real protocol, shelf and connection, and no Collaborator.

`python -m benchmarks.federation.envoy FOLDER ADDRESS NAME FLOATS`: it takes part in a run of the echo experiment, but fetches,
delivers and answers when it is told so: "down", "prepare", "up", "answer".
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from json import dumps
from pathlib import Path

import numpy as np

import hansa
from benchmarks.federation.movers import obeying
from hansa.core.metrics import Metrics
from hansa.data.shards import ShardFacts
from hansa.pki import Identity
from hansa.protocol import codec, wire
from hansa.protocol.messages import VERSIONS, Answer, Assign, Consent, Hello, Offer, Result
from hansa.runtime.envoy.transfers import Transfers
from hansa.runtime.files import now
from hansa.runtime.shelf import Shelf
from hansa.store.blobs import FileBlobs
from hansa.transport.credentials import Credentials
from hansa.transport.grpc.client import GrpcConnection
from hansa.transport.malloc import tune


def hello(name: str, examples: int = 60) -> bytes:
    """The first frame of a session of the shard in `given`."""
    schema = {"x": hansa.Field((5,), "float32"), "y": hansa.Field((), "int64", classes=3)}
    facts = ShardFacts(name, "Sixty examples of three classes.", schema, {name: {"train": examples}})
    return wire.encode(Hello(VERSIONS, hansa.__version__, time.time(), dumps(facts.to_json())))


class LightEnvoy:
    """One Envoy."""

    def __init__(self, folder: Path, address: str, name: str) -> None:
        self.name, self._address, self._folder = name, address, folder
        self._identity = Identity.load(folder / "identity", now=now())
        self._shelf = Shelf(FileBlobs(folder / "blobs"), lambda: self._held, time.monotonic)
        self._transfers, self._outgoing = Transfers(self._shelf), asyncio.Queue[bytes]()
        self._assigned: asyncio.Queue[Assign] = asyncio.Queue()
        self._held: set[str] = set()

    async def listen(self) -> None:
        """Hold a session; say yes to every run."""
        mine = self._identity
        async with GrpcConnection(
            self._address, credentials=Credentials(mine.certificate, mine.key, mine.ca)
        ) as connection:
            self._transfers.connected(connection)
            async for frame in connection.session(self._frames()):
                match wire.decode(frame):
                    case Offer(run=run):
                        self._outgoing.put_nowait(wire.encode(Answer(run, Consent.READY)))
                    case Assign() as assign:
                        self._assigned.put_nowait(assign)
                    case _:
                        continue

    async def _frames(self) -> AsyncIterator[bytes]:
        yield hello(self.name)
        while True:
            yield await self._outgoing.get()

    async def assigned(self) -> None:
        """Wait until something is asked."""
        self._asked = await self._assigned.get()

    async def down(self) -> None:
        """Fetch the broadcast: it is durable here when this returns."""
        self._path = await self._transfers.fetched(self._asked.run, self._asked.broadcast)

    async def prepare(self) -> None:
        """Make the update."""
        await self._shelf.discard(list(self._held))
        tree = codec.read(self._path)
        update = self._folder / "update"
        update.unlink(missing_ok=True)
        codec.write({**tree, "own": np.full(1, hash((self.name, self._asked.round)) % 1000, np.float32)}, update)
        blob = await self._shelf.put(update, self.name)
        self._held = {self._asked.broadcast.sha256, blob.sha256}
        self._result = Result(self._asked.run, self._asked.ask, self.name, blob, 1.0, dumps(Metrics().to_json()))

    async def up(self) -> None:
        """Deliver it: it is durable at the Director when this returns."""
        await self._transfers.deliver(self._result)

    async def answer(self) -> None:
        """Say that it is there."""
        self._outgoing.put_nowait(wire.encode(self._result))


async def main(folder: Path, address: str, name: str) -> None:
    """Do as told."""
    envoy = LightEnvoy(folder, address, name)
    listening = asyncio.create_task(envoy.listen())
    words = ("assigned", "down", "prepare", "up", "answer")
    await obeying({word: getattr(envoy, word) for word in words})
    listening.cancel()
    await asyncio.wait([listening])


if __name__ == "__main__":
    tune()
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
