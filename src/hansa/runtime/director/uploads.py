"""Which updates of Envoys a Director takes: of each open visit one, so that nobody fills its disk with what nobody waits for.

This file must not know how bytes arrive or where they lie.
"""

from __future__ import annotations

from collections.abc import Mapping

from hansa.errors import NotAllowed
from hansa.protocol.messages import Upload
from hansa.protocol.peer import Peer
from hansa.protocol.run import Run
from hansa.runtime.shelf import Shelf


class Uploads:
    """What comes for which visit.

    Args:
        runs: the Director's, by id.
        shelf: where updates lie.
    """

    def __init__(self, runs: Mapping[str, Run], shelf: Shelf) -> None:
        self._runs, self._shelf = runs, shelf
        self._coming: dict[tuple[str, int, str], str] = {}

    async def admit(self, peer: Peer, message: Upload) -> None:
        """Let an Envoy send an update; another that it has sent for the same visit makes room.

        Raises:
            NotAllowed: nobody waits for it: it was not asked for, is here already, or its ask is over.
        """
        key = message.run, message.ask, message.client
        if not self._awaited(*key, peer.name):
            raise NotAllowed(
                f"nobody waits for this update of {message.client!r}", hint="the Director says what it wants"
            )
        before = self._coming.get(key)
        if before is not None and before != message.blob.sha256:
            await self._shelf.release(before, peer.name)
        self._coming = {each: sha for each, sha in self._coming.items() if self._awaited(*each)}
        self._coming[key] = message.blob.sha256

    def _awaited(self, run: str, ask: int, client: str, envoy: str | None = None) -> bool:
        visit = self._runs[run].visits.get((ask, client)) if run in self._runs else None
        return visit is not None and visit.came is None and envoy in (None, visit.part.envoy)
