"""What the second Envoy keeps on disk: files by their sha256, the answers that are not settled, and what was settled."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Key = tuple[str, str]
"""(run, client)"""


class Memory:
    """One folder.

    Attributes:
        pending: the answers that are not settled, by run and client and then by ask, each the fields of a Result.
        settled: the highest ask that was settled, by run and client.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / "state.json"
        (folder / "files").mkdir(parents=True, exist_ok=True)
        told = json.loads(self._file.read_text()) if self._file.exists() else []
        self.pending: dict[Key, dict[int, dict[str, Any]]] = {}
        self.settled: dict[Key, int] = {}
        for run, client, settled, pending in told:
            self.settled[run, client] = settled
            self.pending[run, client] = {int(ask): result for ask, result in pending.items()}

    # --- answers

    def answer(self, run: str, client: str, ask: int) -> dict[str, Any] | None:
        """The answer to an ask, if it is not settled."""
        return self.pending.get((run, client), {}).get(ask)

    def keep(self, result: dict[str, Any]) -> None:
        """An answer goes on disk."""
        self.pending.setdefault((result["run"], result["client"]), {})[result["ask"]] = result
        self._write()

    def settle(self, run: str, client: str, ask: int) -> None:
        """An answer is settled, and forgotten."""
        if self.answer(run, client, ask) is not None:
            result = self.pending[run, client].pop(ask)
            self.settled[run, client] = max(ask, self.settled.get((run, client), 0))
            self._write()
            if result["update"] is not None:
                self.path(result["update"]["sha256"]).unlink(missing_ok=True)

    def forget(self, run: str) -> None:
        """Nothing of a run stays; the files go with the last run."""
        for each in (self.pending, self.settled):
            for key in [key for key in each if key[0] == run]:
                del each[key]
        self._write()
        if not self.pending:
            for file in (self._folder / "files").iterdir():
                file.unlink()

    def _write(self) -> None:
        keys = self.pending.keys() | self.settled.keys()
        told = [[*key, self.settled.get(key, 0), self.pending.get(key, {})] for key in sorted(keys)]
        replace(self._file, json.dumps(told).encode())

    # --- files

    def path(self, sha256: str) -> Path:
        """Where a whole file lies."""
        return self._folder / "files" / sha256

    def put(self, content: bytes) -> dict[str, Any]:
        """A new file, as a Blob."""
        sha256 = hashlib.sha256(content).hexdigest()
        replace(self.path(sha256), content)
        return {"sha256": sha256, "size": len(content)}

    def fetched(self, sha256: str, download: Callable[[int], Iterator[bytes]]) -> bytes:
        """A file's content; what is missing is downloaded from an offset on."""
        if (whole := self.path(sha256)).exists():
            return whole.read_bytes()
        part = whole.with_suffix(".part")
        with part.open("ab") as file:
            for chunk in download(file.tell()):
                file.write(chunk)
        content = part.read_bytes()
        part.unlink()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError(f"what came is not the file {sha256}")
        replace(whole, content)
        return content


def replace(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, whatever happens."""
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
