"""The Director's own approval: its policy, and its review desk. The Envoys decide for themselves besides."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from hansa.experiment.approval import Judgement, Verdict, decide
from hansa.experiment.desk import Desk
from hansa.experiment.manifest import Manifest
from hansa.protocol.director import Concerns, Director
from hansa.protocol.events import Release, Withhold
from hansa.protocol.run import Phase
from hansa.runtime.config import DirectorConfig
from hansa.runtime.shelf import Shelf


class Approval:
    """Which experiments may run.

    Args:
        config: the Director's; says the policy.
        folder: the review desk's.
    """

    def __init__(self, config: DirectorConfig, folder: Path) -> None:
        self._policy, self._signers = config.approval.policy, config.approval.signers
        self._desk = Desk(folder)
        self._stamp = self._desk.stamp()

    async def holds(self, manifest: Manifest, shelf: Shelf, signer: str) -> bool:
        """Whether an experiment has to wait for a person; it then lies on the desk.

        Raises:
            NotAllowed: a person has refused it already.
        """
        judgement = self._judged(manifest.hash, signer).judgement
        if judgement is Judgement.APPROVED:
            return False
        contents = {}
        for file in manifest.files:
            path = shelf.path(file.sha256)
            if path is not None:
                contents[file.sha256] = await asyncio.to_thread(path.read_bytes)
        await asyncio.to_thread(self._desk.offer, manifest, contents, signer, (), time.time())
        return True

    def decided(self, machine: Director) -> list[Concerns]:
        """What was decided at the desk since this was last asked, as events of the runs that wait for it."""
        if (stamp := self._desk.stamp()) == self._stamp:
            return []
        self._stamp, events = stamp, []
        for run in machine.runs.values():
            if run.phase is Phase.HELD:
                verdict = self._judged(run.submission.manifest.sha256, run.submission.owner)
                if verdict.judgement is Judgement.APPROVED:
                    events.append(Concerns(run.id, Release(verdict.why)))
                elif verdict.judgement is Judgement.REFUSED:
                    events.append(Concerns(run.id, Withhold(verdict.why)))
        return events

    def _judged(self, content: str, signer: str) -> Verdict:
        return decide(self._policy, self._signers, signer, content, self._desk.decisions())
