"""A real federation, by its Director: what a scientist's script or notebook does there."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from hansa.callbacks import Callback, Told
from hansa.callbacks.progress import transferring
from hansa.core.history import Entry, History
from hansa.core.tree import Tree
from hansa.data import FederatedData
from hansa.data.documents import schema_from_json
from hansa.data.dummy import dummy_data
from hansa.data.schema import Schema
from hansa.errors import DataError, RunFailed
from hansa.experiment import Experiment
from hansa.experiment.package import Package, pack
from hansa.experiment.reference import threads
from hansa.federation.results import download
from hansa.federation.run import OVER, EnvoyInfo, RunEvent, RunStatus, Which, not_kept, watching
from hansa.federation.source import Source, source_of
from hansa.protocol import codec
from hansa.protocol.messages import Blob, Request
from hansa.runtime.remembered import introduced
from hansa.runtime.user import User


class ConnectedFederation:
    """See `Federation.connect`."""

    def __init__(self, user: User, address: str) -> None:
        self._user, self.address = user, address

    @classmethod
    def dial(cls, address: str | None = None, identity: Path | str | None = None) -> Self:
        """Connect to a Director as `Federation.connect` says, and see that it answers."""
        address, mine = introduced(address, None if identity is None else Path(identity))
        user = User(address, mine)
        try:
            user.overview()
        except BaseException:
            user.close()
            raise
        return cls(user, address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; runs go on."""
        self._user.close()

    def __repr__(self) -> str:
        return f"ConnectedFederation({self.address!r})"

    def envoys(self) -> list[EnvoyInfo]:
        """The owners' Envoys that the Director knows, in session or not."""
        return [_envoy(each) for each in self._user.overview()["envoys"]]

    @property
    def schema(self) -> Schema:
        """The federation's schema, or where its Director names none, what the Envoys that are there have in common."""
        if (said := self._user.overview()["director"]["schema"]) is not None:
            return schema_from_json(said)
        schemas = [envoy.schema for envoy in self.envoys() if envoy.schema]
        if not schemas:
            raise DataError("nobody has said what the data look like", hint="wait until an Envoy is in session")
        first, *others = schemas
        return {name: field for name, field in first.items() if all(other.get(name) == field for other in others)}

    def dummy_data(self, n: int = 32, *, seed: int = 0) -> FederatedData:
        """Made-up examples that look like the owners', for the clients that are there."""
        clients = {client: held for envoy in self.envoys() if envoy.online for client, held in envoy.clients.items()}
        if not clients:
            raise DataError("no Envoy is in session", hint="wait until one is; hansa status shows who is")
        return dummy_data(self.schema, clients, n, seed)

    def run(
        self,
        experiment: Experiment,
        *,
        wait: bool = True,
        callbacks: Sequence[Callback] | None = None,
        source: Path | str | None = None,
    ) -> ConnectedRun:
        """See `Federation.run`. What is shipped is source: of the script or the notebook, what the experiment needs of it.

        Args:
            experiment: what to run; bound to a name at the top of the script, or in a notebook's cell.
            wait: until it is over. Ctrl-C only stops waiting: the run goes on, and `run_by_id` finds it again.
            callbacks: are told what happens; they run here.
            source: the experiment file to ship as it is, instead of what is found out.
        """
        found = Source(Path(source)) if source is not None else source_of(experiment, depth=1)
        with tempfile.TemporaryDirectory(prefix="hansa-submit-") as folder:
            package, initial = packed(found, experiment, Path(folder))
            with transferring("sending the experiment", Console(stderr=True)) as sent:
                id_ = self._user.submit(package, initial, sent)
        shown = watching(callbacks, wait)
        run = ConnectedRun(self._user, id_, experiment.name, package.manifest.rounds, shown)
        if wait:
            return run.wait()
        if shown:
            threading.Thread(target=run.tell, name=f"callbacks of {id_}", daemon=True).start()
        return run

    def preview(self, experiment: Experiment, *, source: Path | str | None = None) -> dict[str, Any]:
        """What would be shipped, and who would take part: nothing is submitted."""
        found = Source(Path(source)) if source is not None else source_of(experiment, depth=1)
        with tempfile.TemporaryDirectory(prefix="hansa-submit-") as folder:
            package, _ = packed(found, experiment, Path(folder))
        files = {file.path: package.contents[file.sha256].decode() for file in package.manifest.files}
        return {"files": files, "hash": package.manifest.hash, **self._user.preview(package)}

    def runs(self) -> list[ConnectedRun]:
        """All runs that you may see, the newest last."""
        return [ConnectedRun(self._user, each["run"], each["name"]) for each in self._user.overview()["runs"]]

    def run_by_id(self, id: str) -> ConnectedRun:  # noqa: A002 - what it is
        """A run that was submitted before, perhaps by another notebook."""
        return ConnectedRun(self._user, id, self._user.about(id)["name"])


def packed(source: Source, experiment: Experiment, folder: Path, **choices: Any) -> tuple[Package, Path]:
    """What is shipped of an experiment, and the file of its initial model.

    Args:
        source: its source.
        experiment: itself.
        folder: where the initial model is written.
        choices: other arguments of `hansa.experiment.package.pack` than the experiment says.
    """
    with threads("reference"):  # as the simulator makes it, so that both start from the same bits
        data = codec.encode(experiment.start())
    initial = folder / "initial.safetensors"
    initial.write_bytes(data)
    said: dict[str, Any] = {
        "name": experiment.name,
        "seed": experiment.seed,
        "rounds": experiment.rounds,
        "requirements": experiment.requirements,
        "include": experiment.include,
        "envoys": experiment.envoys,
        "labels": experiment.labels,
        "at_least": experiment.at_least or max(1, len(experiment.envoys)),
    }
    named = {name: value for name, value in choices.items() if value}
    package = pack(
        source.entry, text=source.text, initial=(hashlib.sha256(data).hexdigest(), len(data)), **(said | named)
    )
    return package, initial


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


def _envoy(shown: Mapping[str, Any]) -> EnvoyInfo:
    return EnvoyInfo(
        name=shown["name"],
        online=shown["online"],
        since=shown["since"],
        clients=shown["clients"],
        schema=schema_from_json(shown["schema"]) if shown["schema"] else {},
        devices=tuple(shown["devices"]),
        labels=shown["labels"],
        description=shown["description"],
    )
