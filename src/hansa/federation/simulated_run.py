"""One run in this process: driven here or in a thread of its own, followed, stopped and resumed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from hansa.callbacks import Callback, Told
from hansa.callbacks.stored import Stored
from hansa.core.history import Entry, History
from hansa.core.keeping import BEST, CHECKPOINT, Best
from hansa.core.loop import Progress, Step, steps
from hansa.core.tree import Tree
from hansa.data import FederatedData
from hansa.errors import HansaError, NotAllowed, RunFailed
from hansa.experiment import Experiment
from hansa.experiment.device import chosen
from hansa.experiment.reference import Mode, environment, threads
from hansa.federation.results import download
from hansa.federation.run import RunEvent, RunStatus, Which, not_kept
from hansa.simulation import ExecutorState, SequentialExecutor


class SimulatedRun:
    """A run in this process; see `hansa.federation.run.Run`.

    Attributes:
        id: unique in its federation.
        experiment: what is run.
        progress: where it stands: all that is needed to go on from there; None before it began.
    """

    def __init__(
        self,
        name: str,
        experiment: Experiment,
        data: FederatedData,
        mode: Mode,
        device: str,
        callbacks: Sequence[Callback],
        resume: Stored | None,
    ) -> None:
        self.id, self.experiment, self._mode = name, experiment, mode
        self.progress = None if resume is None else resume.progress
        self._callbacks, self._changed = callbacks, threading.Condition()
        self._status = RunStatus(name, experiment.name, "queued", rounds=experiment.rounds)
        self._entries = [] if self.progress is None else list(self.progress.history.entries)
        self._kept: dict[str, tuple[int, Tree]] = {}
        self._failure: BaseException | None = None
        self._asked_to_stop: tuple[str, str] | None = None
        self._best: Best | None = experiment.keeping.so_far(self.history)
        there = chosen(experiment.device, (device,))
        self._executor = SequentialExecutor(experiment.plan.works, data, experiment.seed, mode=mode, device=there)
        if resume is not None and resume.remembered is not None:
            self._executor.restore(resume.remembered)

    def __repr__(self) -> str:
        return f"SimulatedRun({self.id!r}, {self._status!r})"

    def _repr_html_(self) -> str:
        return self._status._repr_html_()

    @property
    def name(self) -> str:
        """The experiment's."""
        return self.experiment.name

    @property
    def rounds(self) -> int | None:
        """How many there will be, where that is known."""
        return self.experiment.rounds

    @property
    def remembered(self) -> ExecutorState:
        """What the executor keeps from one ask to the next; with `progress` all that the same bits need to go on."""
        return self._executor.state

    @property
    def failure(self) -> str:
        """Why it failed or was cancelled; empty while all is well."""
        if self._failure is not None:
            problem = self._failure
            return str(problem) if isinstance(problem, HansaError) else f"{type(problem).__name__}: {problem}"
        phase, why = self._asked_to_stop or ("", "")
        return why if phase == "cancelled" else ""

    @property
    def history(self) -> History:
        """What happened so far; where the run failed, the failed round included."""
        failed: History | None = getattr(self._failure, "history", None)
        if failed is not None:
            return failed
        if self.progress is None:
            return History(seed=self.experiment.seed, mode=self._mode)
        return self.progress.history

    def status(self) -> RunStatus:
        """How it stands."""
        return self._status

    def stream(self) -> Iterator[RunEvent]:
        """What happens, from the beginning, until it is over."""
        seen = 0
        while True:
            with self._changed:
                while len(self._entries) == seen and not self._status.over:
                    self._changed.wait()
                new, status = self._entries[seen:], self._status
            yield from (RunEvent(status, entry) for entry in new)
            seen += len(new)
            if status.over and seen == len(self._entries):
                yield RunEvent(status)
                return

    def wait(self) -> Self:
        """Wait until it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._status.over)
        if self._failure is not None:
            raise self._failure
        if self._status.phase == "cancelled":
            raise RunFailed(self._status.why, where=f"run {self.id}", history=self.history)
        return self

    def model(self, which: Which = "last") -> Tree:
        """One of its models."""
        history = self.history
        if which == "last" or which == history.rounds:
            return history.model
        if str(which) not in self._kept:
            raise not_kept(which, self._kept)
        return self._kept[str(which)][1]

    def logs(self, client: str = "") -> str:
        """What became of the clients, ask by ask; what works print goes to this process' own output."""
        lines = []
        for entry in self._entries:
            for name, outcome in entry.outcomes.items():
                if client in ("", name):
                    numbers = "  ".join(f"{key} {value:.4g}" for key, value in outcome.metrics.numbers().items())
                    why = f": {outcome.why}" if outcome.why else ""
                    lines.append(
                        f"round {entry.round}  {entry.work}  {name}  {outcome.status}{why}  {numbers}".rstrip()
                    )
        return "\n".join(lines)

    def cancel(self, why: str = "") -> None:
        """Stop it after the ask that it is at."""
        self._asked_to_stop = "cancelled", why or "it was cancelled"

    def stop(self, why: str = "") -> None:
        """End it after the ask that it is at, as finished."""
        self._asked_to_stop = "finished", why

    def resume(self) -> Self:
        """Go on from the last completed ask, and wait until it is over."""
        if not self._status.over or self._status.phase == "finished":
            what = f"run {self.id!r} is {self._status.phase}, and only one that failed or was cancelled is resumed"
            raise NotAllowed(what)
        self._failure = self._asked_to_stop = None
        self._entries = [] if self.progress is None else list(self.progress.history.entries)
        self._status = replace(self._status, phase="queued", why="")
        return self.begin(wait=True)

    def download(self, folder: Path | str) -> Path:
        """Write what came of it to a folder."""
        return download(Path(folder), self.history, {label: tree for label, (_, tree) in self._kept.items()})

    # --- inside

    def begin(self, wait: bool) -> Self:
        """Run it, here or in a thread of its own."""
        if not wait:
            threading.Thread(target=self._drive, name=f"hansa run {self.id}", daemon=True).start()
            return self
        self._drive()
        return self.wait()

    def _drive(self) -> None:
        told = Told(self, self._callbacks)
        self._executor.answered = told.answered
        try:
            told.started()
            phase, why = self._run(told.entry)
        except BaseException as problem:  # noqa: BLE001 - it is raised where somebody waits
            self._failure = problem
            phase, why = "failed" if isinstance(problem, Exception) else "cancelled", self.failure
        told.ended()
        self._moves(phase, why=why)

    def _run(self, tell: Callable[[Entry], None]) -> tuple[str, str]:
        """All rounds, or as many as there are until somebody stops it; in which phase it ended, and why."""
        experiment, plan, mode = self.experiment, self.experiment.plan, self._mode
        self._moves("running")
        if self.progress is None:
            with threads(mode):
                initial = experiment.start()
            history = History(model=initial, seed=experiment.seed, mode=mode, environment=environment(mode))
            self.progress = Progress.begin(plan, history)
        for step in steps(plan, self._executor, self.progress, time.perf_counter):
            self._keep(step)
            tell(step.history.entries[-1])
            if self._asked_to_stop is not None:
                return self._asked_to_stop
        return "finished", ""

    def _keep(self, step: Step) -> None:
        """Take a step, and keep its model where the experiment says so."""
        before = self.history.rounds
        marks, self._best = self.experiment.keeping.marks(step.history, before, self._best)
        labels = {BEST: BEST, CHECKPOINT: str(step.history.rounds)}
        self._kept |= {labels[mark]: (step.history.rounds, step.history.model) for mark in marks}
        self.progress = step.progress
        self._moves("running", entry=step.history.entries[-1])

    def _moves(self, phase: str, *, why: str = "", entry: Entry | None = None) -> None:
        with self._changed:
            if entry is not None:
                self._entries.append(entry)
            models = {label: round_ for label, (round_, _) in self._kept.items()}
            self._status = replace(self._status, phase=phase, why=why, round=self.history.rounds, models=models)
            self._changed.notify_all()
