"""One run in this process: driven here or in a thread of its own, followed, stopped and resumed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from hansa.callbacks import Callback, Told
from hansa.callbacks.stored import Stored
from hansa.core.ask import FederatedAlgorithm
from hansa.core.history import VIRTUAL, Entry, History
from hansa.core.keeping import BEST, CHECKPOINT, Best
from hansa.core.loop import Progress, Step, steps
from hansa.core.tree import Tree
from hansa.errors import HansaError, NotAllowed, RunFailed
from hansa.experiment import Experiment
from hansa.experiment.reference import environment, threads
from hansa.federation.results import download
from hansa.federation.run import RunEvent, RunStatus, Which, not_kept
from hansa.simulation import ExecutorState
from hansa.simulation.choice import ExecutorChoice, Job, Simulator


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
        job: Job,
        executor: ExecutorChoice,
        callbacks: Sequence[Callback],
        resume: Stored | None,
    ) -> None:
        self.id, self.experiment, self._mode = name, experiment, job.mode
        self.progress = None if resume is None else resume.progress
        self._callbacks, self._changed = callbacks, threading.Condition()
        self._status = RunStatus(name, experiment.name, "queued", rounds=experiment.rounds)
        self._entries = [] if self.progress is None else list(self.progress.history.entries)
        self._kept: dict[str, tuple[int, Tree]] = {}
        self._failure: BaseException | None = None
        self._asked_to_stop: tuple[str, str] | None = None
        self._best: Best | None = experiment.keeping.so_far(self.history)
        self._job, self._choice = job, executor
        self._remembered = None if resume is None else resume.remembered
        self._executor: Simulator | None = None

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
        if self._executor is not None:
            return self._executor.state
        return ExecutorState((), {}, {}) if self._remembered is None else self._remembered

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
        try:
            told.started()
            with closing(self._opened()) as executor:
                executor.answered = told.answered
                phase, why = self._run(executor, told.entry)
        except BaseException as problem:  # noqa: BLE001 - it is raised where somebody waits
            self._failure = problem
            phase, why = "failed" if isinstance(problem, Exception) else "cancelled", self.failure
        told.ended()
        self._moves(phase, why=why)

    def _opened(self) -> Simulator:
        """An executor that goes on from where the last one stood."""
        remembered, executor = self.remembered, self._choice.open(self._job)
        executor.restore(remembered)
        self._executor = executor
        return executor

    def _run(self, executor: Simulator, tell: Callable[[Entry], None]) -> tuple[str, str]:
        """All rounds, or as many as there are until somebody stops it; in which phase it ended, and why."""
        plan = self.experiment.plan
        self._moves("running")
        if self.progress is None:
            self.progress = self._begun(plan)
        for step in steps(plan, executor, self.progress, executor.seconds):
            self._keep(step, executor.chosen)
            tell(step.history.entries[-1])
            del step  # and its aggregate, while the next ask is carried out
            if self._asked_to_stop is not None:
                return self._asked_to_stop
        return "finished", ""

    def _begun(self, plan: FederatedAlgorithm[Any]) -> Progress:
        """Before the first ask."""
        with threads(self._mode):
            initial = self.experiment.start()
        there = {**environment(self._mode), **({} if self._job.clock is None else {"clock": VIRTUAL})}
        return Progress.begin(
            plan, History(model=initial, seed=self.experiment.seed, mode=self._mode, environment=there)
        )

    def _keep(self, step: Step, how: Mapping[str, str]) -> None:
        """Take a step, and keep its model where the experiment says so."""
        before = self.history.rounds
        marks, self._best = self.experiment.keeping.marks(step.history, before, self._best)
        labels = {BEST: BEST, CHECKPOINT: str(step.history.rounds)}
        self._kept |= {labels[mark]: (step.history.rounds, step.history.model) for mark in marks}
        history = step.history
        if not how.items() <= history.environment.items():
            history = replace(history, environment={**history.environment, **how})
        self.progress = replace(step.progress, history=history)
        self._moves("running", entry=step.history.entries[-1])

    def _moves(self, phase: str, *, why: str = "", entry: Entry | None = None) -> None:
        with self._changed:
            if entry is not None:
                self._entries.append(entry)
            models = {label: round_ for label, (round_, _) in self._kept.items()}
            self._status = replace(self._status, phase=phase, why=why, round=self.history.rounds, models=models)
            self._changed.notify_all()
