"""One run in a real federation, as a scientist sees it: what happens is streamed, and models are fetched on demand."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from hansa.callbacks import Callback, Told
from hansa.core.history import Entry, History
from hansa.core.tree import Tree
from hansa.errors import RunFailed
from hansa.federation.results import download
from hansa.federation.run import OVER, RunEvent, RunStatus, Which, not_kept
from hansa.protocol import codec
from hansa.protocol.messages import Blob, Request
from hansa.runtime.user import User


class ConnectedRun:
    """A run in a real federation; see `hansa.federation.run.Run`.

    Attributes:
        id: unique in the federation.
        name: the experiment's.
    """

    def __init__(
        self, user: User, id_: str, name: str, rounds: int | None = None, callbacks: Sequence[Callback] = ()
    ) -> None:
        self._user, self.id, self.name = user, id_, name
        self.rounds, self._callbacks = rounds, tuple(callbacks)

    def __repr__(self) -> str:
        return f"ConnectedRun({self.id!r}, {self.status()!r})"

    def _repr_html_(self) -> str:
        return self.status()._repr_html_()

    def status(self) -> RunStatus:
        """How it stands."""
        return self._status(self._user.about(self.id))

    @property
    def history(self) -> History:
        """What happened so far, the last model included; fetched each time."""
        return self._user.history(self.id)

    def stream(self) -> Iterator[RunEvent]:
        """What happens, from the beginning, as it happens; a connection that breaks is made again."""
        status = self.status()
        for report in self._user.follow(self.id):
            if "run" in report:
                status = self._status(report["run"])
                yield RunEvent(status)
            else:
                yield RunEvent(status, Entry.from_json(report["entry"]))

    def wait(self) -> Self:
        """Wait until it is over."""
        status = self.tell()
        if status.phase != "finished":
            hint = "run.logs() tells more; run.resume() goes on from where it stopped"
            raise RunFailed(status.why or status.phase, where=f"run {self.id}", hint=hint, history=self.history)
        return self

    def tell(self) -> RunStatus:
        """Tell the callbacks what happens until it is over; how it stands then."""
        seen = _Seen(self, History())
        status = self.status()
        told = Told(seen, self._callbacks)
        try:
            told.started()
            for event in self.stream():
                status = event.status
                seen.moves(event)
                if event.entry is not None:
                    told.entry(event.entry)
                elif status.asked:
                    told.answered(status.asked - len(status.waiting), status.asked)
        finally:
            told.ended()
        return status

    def model(self, which: Which = "last") -> Tree:
        """One of its models."""
        shown = self._user.about(self.id)
        models: dict[str, dict[str, Any]] = shown["models"]
        if which == "last" or which == shown["rounds"]:
            found = shown["model"]
        elif str(which) in models:
            found = models[str(which)]
        else:
            raise not_kept(which, models)
        return self._fetched(found)

    def logs(self, client: str = "") -> str:
        """What was printed by the Aggregator, and at the owners who let that leave."""
        return str(self._user.about(self.id, Request.LOGS, client)["log"])

    def cancel(self, why: str = "") -> None:
        """Stop it."""
        self._user.about(self.id, Request.CANCEL, why)

    def stop(self, why: str = "") -> None:
        """Stop it; a Director knows no other way than to cancel."""
        self.cancel(why)

    def resume(self) -> ConnectedRun:
        """Go on, as a new run, from the last completed ask; clients' private state begins anew."""
        new = self._user.about(self.id, Request.RESUME)["run"]
        return ConnectedRun(self._user, new, self.name, self.rounds, self._callbacks)

    def download(self, folder: Path | str) -> Path:
        """Write what came of it to a folder."""
        kept = {label: self._fetched(found) for label, found in self._user.about(self.id)["models"].items()}
        return download(Path(folder), self.history, kept)

    def _fetched(self, found: Mapping[str, Any]) -> Tree:
        with tempfile.TemporaryDirectory(prefix="hansa-model-") as folder:
            path = Path(folder) / "model.safetensors"
            self._user.fetch(self.id, Blob(found["sha256"], found["size"]), path)
            return codec.decode(path.read_bytes())

    def _status(self, shown: Mapping[str, Any]) -> RunStatus:
        asked = shown["asked"] or {"work": "", "waiting": (), "asked": 0}
        over = shown["phase"] in OVER
        return RunStatus(
            id=shown["run"],
            name=shown["name"],
            phase=shown["phase"],
            why=shown["why"],
            round=shown["rounds"],
            rounds=self.rounds,
            work="" if over else asked["work"],
            waiting=() if over else tuple(asked["waiting"]),
            asked=0 if over else asked["asked"],
            envoys={name: _standing(member) for name, member in shown["envoys"].items()},
            models={label: kept["round"] for label, kept in shown["models"].items()},
        )


class _Seen:
    """A run as its callbacks see it: its History as it was streamed, and so without a model that would have to be fetched."""

    def __init__(self, run: ConnectedRun, history: History) -> None:
        self._run, self.history, self.failure = run, history, ""
        self.id, self.name, self.rounds = run.id, run.name, run.rounds
        self.progress = self.remembered = None  # where the algorithm stands, the Director knows
        self.model, self.stop, self.cancel = run.model, run.stop, run.cancel

    def moves(self, event: RunEvent) -> None:
        """Take note of what happened."""
        rounds, entry = event.status.round, event.entry
        if entry is not None:
            self.history = self.history.extended(entry, {}, max(rounds, entry.round))
        self.failure = event.status.why if event.status.phase in ("failed", "cancelled") else ""


def _standing(member: Mapping[str, Any]) -> str:
    why = f": {member['why']}" if member["why"] else ""
    return f"{member['state']}{'' if member['online'] else ', away'}{why}"
