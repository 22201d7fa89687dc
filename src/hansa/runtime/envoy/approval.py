"""Before anything of a run is installed or imported here: it is fetched, its signature verified, and the owner asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from hansa.errors import HansaError, NotAllowed
from hansa.experiment.approval import Judgement, decide
from hansa.experiment.desk import Desk
from hansa.experiment.manifest import Manifest
from hansa.pki import verified
from hansa.protocol.envoy import Decided
from hansa.protocol.messages import Blob, Consent, Offer
from hansa.protocol.peer import Role
from hansa.runtime.config import EnvoyConfig

Fetch = Callable[[str, Blob], Awaitable[Path]]

_CONSENTS = {
    Judgement.APPROVED: Consent.READY,
    Judgement.WAITING: Consent.WAITING,
    Judgement.REFUSED: Consent.REFUSED,
}


class Approval:
    """The owner's policy, and the review desk.

    Args:
        config: the Envoy's.
        folder: the review desk's.
        ca: the federation's authority, PEM; None without TLS, where nobody signs.
    """

    def __init__(self, config: EnvoyConfig, folder: Path, ca: bytes | None) -> None:
        self._policy, self._signers, self._ca = config.approval.policy, config.approval.signers, ca
        self.desk = Desk(folder)
        self._stamp = self.desk.stamp()
        self._offers: dict[str, tuple[Manifest, str]] = {}
        self._contents: dict[str, dict[str, bytes]] = {}

    async def consider(self, offer: Offer, fetch: Fetch) -> Decided:
        """Fetch what is shipped, put it on the desk, and see whether it may run.

        The event says so; a package that is not what its hash or its signature says is refused.
        """
        try:
            manifest_file = await fetch(offer.run, offer.manifest)
            manifest = Manifest.decode(await asyncio.to_thread(manifest_file.read_bytes))
            signer = self._signer(offer)
            contents = {}
            for file in manifest.files:
                path = await fetch(offer.run, Blob(file.sha256, file.size))
                contents[file.sha256] = await asyncio.to_thread(path.read_bytes)
            await asyncio.to_thread(self.desk.offer, manifest, contents, signer, (offer.run,), time.time())
        except HansaError as problem:
            return Decided(offer.run, Consent.REFUSED, problem.line)
        self._offers[offer.run], self._contents[offer.run] = (manifest, signer), contents
        return self._decided(offer.run)

    def package(self, run: str) -> tuple[Manifest, dict[str, bytes]]:
        """What is shipped for a run that was considered."""
        return self._offers[run][0], self._contents[run]

    def forget(self, run: str) -> None:
        """A run is over."""
        self._offers.pop(run, None)
        self._contents.pop(run, None)

    def news(self) -> list[Decided]:
        """What a person has decided since this was last asked."""
        if (stamp := self.desk.stamp()) == self._stamp:
            return []
        self._stamp = stamp
        decided = [self._decided(run) for run in self._offers]
        return [each for each in decided if each.consent is not Consent.WAITING]

    def _decided(self, run: str) -> Decided:
        manifest, signer = self._offers[run]
        verdict = decide(self._policy, self._signers, signer, manifest.hash, self.desk.decisions())
        return Decided(run, _CONSENTS[verdict.judgement], verdict.why)

    def _signer(self, offer: Offer) -> str:
        """Who submitted it, proved by the signature.

        Raises:
            CertificateError: nobody did, or somebody whom the authority does not know.
            NotAllowed: it was signed by somebody who may not submit.
        """
        if self._ca is None:
            return "loopback"
        signed = offer.manifest.sha256.encode()
        peer = verified(offer.certificate, self._ca, signed, offer.signature, now=datetime.now(UTC))
        if peer.role not in (Role.USER, Role.ADMIN):
            raise NotAllowed(f"{peer.name!r}, who signed the experiment, is no user of the federation")
        return peer.name
