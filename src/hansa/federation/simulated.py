"""A federation whose clients are simulated, on this machine or on a cluster."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from hansa.callbacks import Callback
from hansa.callbacks.stored import Stored
from hansa.core.population import LazySizes
from hansa.data import FederatedData
from hansa.data.dummy import dummy_data
from hansa.data.schema import Schema
from hansa.errors import ConfigError, DataError, UnknownName
from hansa.experiment import Experiment
from hansa.experiment.device import chosen
from hansa.experiment.reference import Mode
from hansa.federation.run import EnvoyInfo, envoys_html, watching
from hansa.federation.simulated_run import SimulatedRun
from hansa.simulation.choice import Auto, ExecutorChoice, Job
from hansa.simulation.clock import VirtualClock

if TYPE_CHECKING:
    from hansa.federation.source import Source
    from hansa.simulation.processes import Origin

LABELS = "y"
"""The field whose classes are counted."""

MOST = 30
"""How many clients a notebook shows."""

FEW = 1_000
"""So many clients are loaded to look at them, where their sizes are not known."""


class SimulatedFederation:
    """See `Federation.simulate`."""

    def __init__(
        self,
        data: FederatedData,
        *,
        mode: Mode = "reference",
        device: str = "cpu",
        executor: ExecutorChoice | None = None,
        clock: VirtualClock | None = None,
    ) -> None:
        if mode not in get_args(Mode):
            raise ConfigError(f"there is no mode {mode!r}", hint='choose "reference" or "fast"')
        sizes = data.sizes("train")
        for client, examples in (
            () if isinstance(sizes, LazySizes) else sizes.items()
        ):  # else whoever loads it finds out
            if not examples:
                raise DataError(
                    "this client has no examples to train on",
                    where=f"client {client!r}",
                    hint='leave it out of the training split; one that only evaluates belongs in "test" alone',
                )
        self.data, self.mode, self.device, self.clock = data, mode, device, clock
        self.executor: ExecutorChoice = Auto() if executor is None else executor
        self._runs: list[SimulatedRun] = []

    def __repr__(self) -> str:
        return f"SimulatedFederation({self.data!r}, mode={self.mode!r})"

    def _repr_html_(self) -> str:
        return envoys_html(f"SimulatedFederation, {self.mode} mode", self.envoys(MOST))

    def envoys(self, most: int | None = None) -> list[EnvoyInfo]:
        """The clients, as if each were an owner of its own: all, or the first `most`. Whose sizes nobody knows are loaded."""
        sizes = {split: self.data.sizes(split) for split in ("train", "test")}
        held = {c: {s: n[c] for s, n in sizes.items() if n.get(c)} for c in itertools.islice(self.data.clients, most)}
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
            and not self._lazy
        ):
            splits = [
                self.data.label_counts(LABELS, split=split) for split in ("train", "test") if self.data.sizes(split)
            ]
            schema[LABELS] = replace(labels, classes=max(len(n) for held in splits for n in held.values()))
        return schema

    def dummy_data(self, n: int = 32, *, seed: int = 0) -> FederatedData:
        """Made-up examples that look like the clients'; of the first few, where nobody lists them."""
        envoys = self.envoys(MOST if self._lazy else None)
        return dummy_data(self.schema, {envoy.name: envoy.clients[envoy.name] for envoy in envoys}, n, seed)

    @property
    def _lazy(self) -> bool:
        """Whether looking at every client would load more of them than anybody wants to wait for."""
        return len(self.data.clients) > FEW and any(self.data.split(split).lazy for split in ("train", "test"))

    def run(
        self,
        experiment: Experiment,
        *,
        wait: bool = True,
        callbacks: Sequence[Callback] | None = None,
        resume: Stored | None = None,
        source: Path | str | Source | None = None,
    ) -> SimulatedRun:
        """See `Federation.run`.

        Args:
            experiment: what to run.
            wait: until it is over.
            callbacks: are told what happens.
            resume: go on from there, to the same bits: `Checkpoint.resume(folder)`.
            source: the experiment's file, for executors with processes of their own, instead of what is found out.
        """
        caller = sys._getframe(
            1
        ).f_globals  # the module that made the experiment, as `warnings.warn(stacklevel=2)` finds it
        name, shown = f"{experiment.name}-{len(self._runs) + 1}", watching(callbacks, wait)
        run = SimulatedRun(name, experiment, self._job(experiment, source, caller), self.executor, shown, resume)
        self._runs.append(run)
        return run.begin(wait)

    def _job(self, experiment: Experiment, source: Path | str | Source | None, names: Mapping[str, Any]) -> Job:
        """What there is to simulate; where its source is, is found out only if somebody needs it."""

        def origin() -> Origin:
            from hansa.federation.source import Source, origin_of, source_of

            if source is None:
                return origin_of(experiment, source_of(experiment, names))
            return origin_of(experiment, source if isinstance(source, Source) else Source(Path(source)))

        device = chosen(experiment.device, (self.device,))
        return Job(experiment.plan.works, self.data, experiment.seed, self.mode, device, origin, self.clock)

    def runs(self) -> list[SimulatedRun]:
        """All runs of this object, the newest last."""
        return list(self._runs)

    def run_by_id(self, id: str) -> SimulatedRun:  # noqa: A002 - what it is
        """One of them."""
        for run in self._runs:
            if run.id == id:
                return run
        raise UnknownName.among("run", id, [run.id for run in self._runs])
