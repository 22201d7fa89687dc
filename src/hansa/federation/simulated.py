"""A federation in this process: clients are simulated, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from hansa.callbacks import Callback
from hansa.callbacks.stored import Stored
from hansa.data import FederatedData
from hansa.data.dummy import dummy_data
from hansa.data.schema import Schema
from hansa.errors import ConfigError, DataError, UnknownName
from hansa.experiment import Experiment
from hansa.experiment.reference import Mode
from hansa.federation.run import EnvoyInfo, envoys_html, watching
from hansa.federation.simulated_run import SimulatedRun

LABELS = "y"
"""The field whose classes are counted."""

MOST = 30
"""How many clients a notebook shows."""


class SimulatedFederation:
    """See `Federation.simulate`."""

    def __init__(self, data: FederatedData, *, mode: Mode = "reference", device: str = "cpu") -> None:
        if mode not in get_args(Mode):
            raise ConfigError(f"there is no mode {mode!r}", hint='choose "reference" or "fast"')
        for client, examples in data.sizes("train").items():
            if not examples:
                raise DataError(
                    "this client has no examples to train on",
                    where=f"client {client!r}",
                    hint='leave it out of the training split; one that only evaluates belongs in "test" alone',
                )
        self.data, self.mode, self.device = data, mode, device
        self._runs: list[SimulatedRun] = []

    def __repr__(self) -> str:
        return f"SimulatedFederation({self.data!r}, mode={self.mode!r})"

    def _repr_html_(self) -> str:
        return envoys_html(f"SimulatedFederation, {self.mode} mode", self.envoys()[:MOST])

    def envoys(self) -> list[EnvoyInfo]:
        """The clients, as if each were an owner of its own."""
        sizes = {split: self.data.sizes(split) for split in ("train", "test")}
        held = {c: {s: n[c] for s, n in sizes.items() if n.get(c)} for c in self.data.clients}
        return [EnvoyInfo(name, True, 0.0, {name: each}, self.schema, (self.device,)) for name, each in held.items()]

    @property
    def schema(self) -> Schema:
        """What the clients' examples look like; how many classes "y" has is counted where nobody declared it."""
        schema = dict(self.data.schema)
        labels = schema.get(LABELS)
        if (
            labels is not None
            and labels.classes is None
            and labels.shape == ()
            and labels.dtype.startswith(("int", "u"))
        ):
            splits = [
                self.data.label_counts(LABELS, split=split) for split in ("train", "test") if self.data.sizes(split)
            ]
            schema[LABELS] = replace(labels, classes=max(len(n) for held in splits for n in held.values()))
        return schema

    def dummy_data(self, n: int = 32, *, seed: int = 0) -> FederatedData:
        """Made-up examples that look like the clients'."""
        return dummy_data(self.schema, {envoy.name: envoy.clients[envoy.name] for envoy in self.envoys()}, n, seed)

    def run(
        self,
        experiment: Experiment,
        *,
        wait: bool = True,
        callbacks: Sequence[Callback] | None = None,
        resume: Stored | None = None,
    ) -> SimulatedRun:
        """See `Federation.run`; with `resume=Checkpoint.resume(folder)` the run goes on from there, to the same bits."""
        name, shown = f"{experiment.name}-{len(self._runs) + 1}", watching(callbacks, wait)
        run = SimulatedRun(name, experiment, self.data, self.mode, self.device, shown, resume)
        self._runs.append(run)
        return run.begin(wait)

    def runs(self) -> list[SimulatedRun]:
        """All runs of this object, the newest last."""
        return list(self._runs)

    def run_by_id(self, id: str) -> SimulatedRun:  # noqa: A002 - what it is
        """One of them."""
        for run in self._runs:
            if run.id == id:
                return run
        raise UnknownName.among("run", id, [run.id for run in self._runs])
