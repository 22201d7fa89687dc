"""A real federation, by its Director: what a scientist's script or notebook does there."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from hansa.callbacks import Callback
from hansa.callbacks.progress import transferring
from hansa.data import FederatedData
from hansa.data.documents import schema_from_json
from hansa.data.dummy import dummy_data
from hansa.data.schema import Schema
from hansa.errors import DataError
from hansa.experiment import Experiment
from hansa.experiment.requires import NOTHING
from hansa.federation.connected_run import ConnectedRun
from hansa.federation.embedded import EmbeddedDirector
from hansa.federation.run import OVER, EnvoyInfo, envoys_html, watching
from hansa.federation.source import Source, packed, source_of
from hansa.runtime.remembered import introduced
from hansa.runtime.user import User

PATIENCE = 5.0
"""Seconds that workers which listen have to be in session before one goes on without those that are not."""

LOOK = 0.02
"""Seconds between two looks whether they are."""


class ConnectedFederation:
    """See `Federation.connect`."""

    def __init__(self, user: User, address: str, director: EmbeddedDirector | None = None) -> None:
        self._user, self.address, self._director = user, address, director

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

    @classmethod
    def embed(cls, workers: Sequence[str], journal: Path | str, identity: Path | str | None = None) -> Self:
        """Coordinate Envoys that listen, as `Federation.connect` says, and wait a moment until they are there."""
        folder = None if identity is None else Path(identity).expanduser()
        director = EmbeddedDirector(workers, Path(journal).expanduser(), folder)
        try:
            user = director.user()
            until = time.monotonic() + PATIENCE
            while sum(envoy["online"] for envoy in user.overview()["envoys"]) < len(workers):
                if time.monotonic() > until:
                    break  # whoever is not there is dialled on, and was named in the log
                time.sleep(LOOK)
        except BaseException:
            director.stop()
            raise
        return cls(user, ", ".join(workers), director)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; runs go on. Those of a Director in this script rest until one begins again with its journal."""
        self._user.close()
        if self._director is not None:
            self._director.stop()

    def __repr__(self) -> str:
        return f"ConnectedFederation({self.address!r})"

    def _repr_html_(self) -> str:
        return envoys_html(repr(self), self.envoys())

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
        again: bool = False,
    ) -> ConnectedRun:
        """See `Federation.run`. What is shipped is source: of the script or the notebook, what the experiment needs of it.

        Args:
            experiment: what to run; bound to a name at the top of the script, or in a notebook's cell.
            wait: until it is over. Ctrl-C only stops waiting: the run goes on, and `run_by_id` finds it again.
            callbacks: are told what happens; they run here.
            source: the experiment file to ship as it is, instead of what is found out.
            again: where the Director is in this script (`connect([...], journal=DIR)`), a run of the same experiment that is
                in its journal and not over goes on, because a script that is started again means that one; True begins
                another. "The same" is the same in every byte: source, initial model, seed, requirements. There all workers
                that were named must take part, unless the experiment says whom it wants, or `at_least`.
        """
        found = Source(Path(source)) if source is not None else source_of(experiment, sys._getframe(1).f_globals)
        with tempfile.TemporaryDirectory(prefix="hansa-submit-") as folder:
            package, initial = packed(found, experiment, Path(folder), at_least=self._at_least(experiment))
            id_ = None if again else self._under_way(package.manifest.hash)
            if id_ is None:
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
        found = Source(Path(source)) if source is not None else source_of(experiment, sys._getframe(1).f_globals)
        with tempfile.TemporaryDirectory(prefix="hansa-submit-") as folder:
            package, _ = packed(found, experiment, Path(folder), at_least=self._at_least(experiment))
        files = {file.path: package.contents[file.sha256].decode() for file in package.manifest.files}
        return {"files": files, "hash": package.manifest.hash, **self._user.preview(package)}

    def runs(self) -> list[ConnectedRun]:
        """All runs that you may see, the newest last."""
        return [ConnectedRun(self._user, each["run"], each["name"]) for each in self._user.overview()["runs"]]

    def run_by_id(self, id: str) -> ConnectedRun:  # noqa: A002 - what it is
        """A run that was submitted before, perhaps by another notebook."""
        return ConnectedRun(self._user, id, self._user.about(id)["name"])

    def _at_least(self, experiment: Experiment) -> int:
        """How many Envoys must take part; 0 where that is the experiment's say."""
        said = experiment.at_least or experiment.envoys or experiment.labels or experiment.requires != NOTHING
        if self._director is None or said:
            return 0
        return len(self._director.workers)

    def _under_way(self, content: str) -> str | None:
        """The run of an experiment with this hash that an earlier process of this script began, if it is not over."""
        if self._director is None:
            return None
        runs = [run for run in self._user.overview()["runs"] if run["hash"] == content and run["phase"] not in OVER]
        return str(runs[-1]["run"]) if runs else None


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
        cores=shown["cores"],
        memory=shown["memory"],
    )
