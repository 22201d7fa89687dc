"""The review desk: where packages wait until a person decides, and where their decisions are kept.

It is plain files: the long-lived process puts packages there, and a person decides with another, `hansa envoy review`. Nothing
that lies there is imported, installed or run. This file must not know the policy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hansa.errors import Damaged, InputError, UnknownName
from hansa.experiment import disk
from hansa.experiment.approval import Decision
from hansa.experiment.manifest import Manifest
from hansa.experiment.package import Package, checked
from hansa.experiment.review import Review, compared
from hansa.protocol.peer import checked_name

_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Offer:
    """A package that lies on the desk.

    Attributes:
        manifest: what it is.
        signers: who submitted it, the first one first.
        runs: the ids of the runs that want it.
        at: when it came first, in seconds since 1970; 0 where nobody said.
    """

    manifest: Manifest
    signers: tuple[str, ...]
    runs: tuple[str, ...]
    at: float


class Desk:
    """The review desk of a Director or an Envoy, in a folder of its own.

    One process offers; any number decide and read. The folder and all in it are private.

    Args:
        folder: is made if need be.

    Raises:
        StoreError: on making one, or from any method, where the disk refuses; as `DiskFull` where there is no room.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contents, self._offers, self._decisions = (folder / name for name in ("contents", "offers", "decisions"))
        self._log = folder / "decisions.log"
        with disk.explained("the review desk cannot be made", folder):
            for each in (folder, self._contents, self._offers, self._decisions):
                disk.make_private(each)
            self._log.touch(0o600)

    def offer(
        self,
        manifest: Manifest,
        contents: Mapping[str, bytes],
        signer: str,
        runs: Collection[str] = (),
        at: float = 0.0,
    ) -> Offer:
        """Put a package on the desk. One that lies there already only gains a signer, or runs that want it.

        Args:
            manifest: the package's.
            contents: at least the contents that it names, by sha256; no others are kept.
            signer: the proved name of who signed it.
            runs: the ids of runs that want it.
            at: when, in seconds since 1970.

        Raises:
            Damaged: a content is missing, or is not what its hash says.
            InputError: a content is no text that a person can read, or the signer has no proper name.
        """
        checked_name(signer, "name of a signer")
        Package(manifest, contents)
        with disk.explained("the package cannot be put on the review desk", self._folder):
            for file in manifest.files:
                self._keep(file.sha256, contents[file.sha256])
            known = self._offer(manifest.hash)
            had = known or Offer(manifest, (), (), at)
            signers, wanted = (*had.signers, signer), (*had.runs, *runs)
            offer = Offer(manifest, tuple(dict.fromkeys(signers)), tuple(dict.fromkeys(wanted)), had.at)
            if offer != known:
                record = {"at": offer.at, "runs": offer.runs, "signers": offer.signers}
                content = _json(record | {"manifest": manifest.encode().decode()})
                disk.replace(self._offers / f"{manifest.hash}.json", content)
        return offer

    def offers(self) -> tuple[Offer, ...]:
        """All packages that ever lay here, the oldest first."""
        with disk.explained("the review desk cannot be read", self._offers):
            found = [self._offer(each) for each in self._hashes(self._offers)]
        return tuple(
            sorted((each for each in found if each is not None), key=lambda each: (each.at, each.manifest.hash))
        )

    def waiting(self) -> tuple[Offer, ...]:
        """The packages that nobody has decided about, the oldest first."""
        with disk.explained("the review desk cannot be read", self._decisions):
            decided = self._hashes(self._decisions)
        return tuple(each for each in self.offers() if each.manifest.hash not in decided)

    def decide(self, content: str, approved: bool, why: str, by: str, now: float) -> Decision:
        """Approve or refuse a package; the last decision about it holds, and `decisions.log` keeps them all.

        Args:
            content: the manifest's hash.
            approved: or refused.
            why: the reason, one line; may be empty.
            by: who decides.
            now: in seconds since 1970.

        Raises:
            UnknownName: no such package lies here.
            InputError: the reason or the name is no printable line.
        """
        for what, text in (("the reason", why), ("the name of who decides", by)):
            if not text.isprintable() or len(text) > 1000:
                raise InputError(f"{what} is one printable line of at most 1000 characters: {text!r:.100}")
        self._known(content)
        decision = Decision(content, approved, why, by, float(now))
        with disk.explained("the decision cannot be written down", self._decisions):
            disk.replace(self._decisions / f"{content}.json", _json(asdict(decision)))
            disk.append(self._log, _json(asdict(decision)))
        return decision

    def decision(self, content: str) -> Decision | None:
        """What was decided about a hash; None where nothing was, or where it never lay here.

        Raises:
            Damaged: the record of it cannot be read.
        """
        path = self._decisions / f"{content}.json"
        data = self._read(path) if _HASH.fullmatch(content) else None
        if data is None:
            return None
        try:
            made = Decision(data["hash"], data["approved"], data["why"], data["by"], float(data["at"]))
        except (LookupError, TypeError, ValueError) as problem:
            raise _damaged(path) from problem
        if made.hash != content or type(made.approved) is not bool:
            raise _damaged(path)
        return made

    def decisions(self) -> dict[str, Decision]:
        """What was decided, by hash."""
        with disk.explained("the review desk cannot be read", self._decisions):
            found = {each: self.decision(each) for each in self._hashes(self._decisions)}
        return {each: made for each, made in found.items() if made is not None}

    def stamp(self) -> tuple[int, int]:
        """Changes when a decision was made, by whichever process; costs two looks at the disk and reads nothing."""
        with disk.explained("the review desk cannot be read", self._folder):
            return self._log.stat().st_size, self._decisions.stat().st_mtime_ns

    def last_approved(self, name: str, signer: str) -> Offer | None:
        """The package of this name and signer that was approved last, of those whose approval still holds."""
        return self._last_approved(name, {signer}, "")

    def review(self, content: str) -> Review:
        """A package as a person reads it.

        Raises:
            UnknownName: no such package lies here.
            Damaged: a file of it is not what its hash says.
        """
        offer = self._known(content)
        before = self._last_approved(offer.manifest.name, set(offer.signers), content)
        with disk.explained("the package cannot be read", self._folder):
            texts_before = {} if before is None else self._texts(before.manifest)
            return compared(
                offer.manifest,
                offer.signers,
                self._texts(offer.manifest),
                None if before is None else before.manifest,
                texts_before,
            )

    def _last_approved(self, name: str, signers: set[str], but: str) -> Offer | None:
        approved = [(made.at, each) for each, made in self.decisions().items() if made.approved and each != but]
        for _, content in sorted(approved, reverse=True):
            offer = self._offer(content)
            if offer is not None and offer.manifest.name == name and signers & set(offer.signers):
                return offer
        return None

    def _known(self, content: str) -> Offer:
        with disk.explained("the review desk cannot be read", self._offers):
            offer = self._offer(content) if _HASH.fullmatch(content) else None
            if offer is None:
                raise UnknownName.among("package on the review desk", content, sorted(self._hashes(self._offers)))
        return offer

    def _offer(self, content: str) -> Offer | None:
        path = self._offers / f"{content}.json"
        data = self._read(path)
        if data is None:
            return None
        try:
            manifest = Manifest.decode(data["manifest"].encode())
            offer = Offer(manifest, _strings(data["signers"]), _strings(data["runs"]), float(data["at"]))
        except (LookupError, TypeError, ValueError, AttributeError) as problem:
            raise _damaged(path) from problem
        if manifest.hash != content:
            raise _damaged(path)
        return offer

    def _keep(self, sha256: str, content: bytes) -> None:
        path = self._contents / sha256
        try:
            if path.read_bytes() == content:
                return
        except FileNotFoundError:
            pass
        disk.replace(path, content)

    def _texts(self, manifest: Manifest) -> dict[str, str]:
        texts = {}
        for file in manifest.files:
            path = self._contents / file.sha256
            try:
                texts[file.path] = checked(file, path.read_bytes())
            except Damaged as problem:
                problem.where = str(path)
                raise
        return texts

    def _read(self, path: Path) -> dict[str, Any] | None:
        with disk.explained("the review desk cannot be read", path):
            try:
                found = json.loads(path.read_bytes())
            except FileNotFoundError:
                return None
            except (ValueError, RecursionError) as problem:
                raise _damaged(path) from problem
        if not isinstance(found, dict):
            raise _damaged(path)
        return found

    def _hashes(self, folder: Path) -> frozenset[str]:
        return frozenset(each.stem for each in folder.glob("*.json") if _HASH.fullmatch(each.stem))


def _json(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True).encode()


def _strings(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise TypeError("a list of texts is expected")
    return tuple(values)


def _damaged(path: Path) -> Damaged:
    return Damaged(
        "a record on the review desk cannot be read",
        where=str(path),
        hint="remove the file, and submit or decide again",
    )
