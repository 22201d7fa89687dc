"""Checkpoint: models of a run on disk while it goes on, and for a simulation all that is needed to go on after a kill.

This file must not know what a checkpoint's files look like; that is `hansa.callbacks.stored`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from hansa.callbacks import stored
from hansa.callbacks.port import Watched, Which
from hansa.callbacks.stored import Stored
from hansa.core.goal import Goal
from hansa.core.history import FEDERATED, Entry, History
from hansa.errors import ConfigError, InputError, UnknownName
from hansa.experiment import load_results, prepare_folder

Keep = Literal["best", "last", "all"]


@dataclass
class Checkpoint:
    """Write the model and the History every so many rounds: whole or not at all, at whatever moment the process is killed.

    A simulation's checkpoint also holds the algorithm's state and the clients' private states: `Checkpoint.resume` gives them
    back, and the run goes on to the same bits. The newest checkpoint is always kept; a round is written when it is completed,
    moved on when its model was evaluated, and the last one is written when the run ends, however it ends.

    Attributes:
        folder: for the checkpoints of this one run, "round-00012" and so on.
        keep: "last" keeps the newest, "best" the best by `by` besides the newest, "all" every one.
        by: what is best, "max accuracy" or "min loss", by the evaluations of the federated model.
        every: rounds from one checkpoint to the next; a best one is written whatever its round.
        most: how many are kept, besides the newest; one unless given.
        names: what the experiment file defines (`ExperimentFile.names`), where an algorithm's own classes are found again.
    """

    folder: Path | str
    keep: Keep = "last"
    by: str = "max accuracy"
    every: int = 1
    most: int | None = None
    names: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _last: Stored | None = field(default=None, init=False, repr=False, compare=False)
    _written: tuple[int, int] = field(default=(-1, -1), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.keep not in get_args(Keep):
            raise ConfigError(f"there is no way to keep {self.keep!r}", hint='choose "best", "last" or "all"')
        Goal.of(self.by)
        for name in ("every", "most"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise ConfigError(f"{name} is at least 1, not {number}")
        if self.keep == "all" and self.most is not None:
            raise ConfigError('keep="all" keeps every checkpoint, so that most has no meaning', hint="leave one out")

    # --- the callback

    def started(self, run: Watched) -> None:
        """See that the folder can be written, and that it holds nothing but this run's past.

        Raises:
            ConfigError: it cannot, or it holds checkpoints of another run.
        """
        folder = Path(self.folder)
        prepare_folder(folder)
        stored.sweep(folder)
        self._last, self._written = None, (-1, -1)
        if not (rounds := stored.rounds_in(folder)):
            return
        past = stored.past(folder, rounds[-1])
        if [entry.to_json() for entry in run.history.entries[: len(past)]] != past:
            raise ConfigError(
                f"the folder holds a checkpoint of round {rounds[-1]} that is not of this run's past",
                where=str(folder),
                hint="go on from it with Checkpoint.resume(folder), name another folder, or remove this one",
            )
        self._written = rounds[-1], len(past)
        self._prune(run.history)

    def entry(self, run: Watched, entry: Entry) -> None:
        """Write a checkpoint where one is due.

        Raises:
            StoreError: it cannot be written; DiskFull where there is no room.
            InputError: the algorithm's state cannot be kept; the model and the History were.
        """
        history = run.history
        if run.progress is not None:
            history = run.progress.history
            self._last = Stored(history, run.progress, run.remembered)
        evaluated = entry.model == FEDERATED
        due = history.rounds % self.every == 0 or (evaluated and self.keep == "best" and self._is_best(history))
        if due and (evaluated or self._written[0] != history.rounds) and (history.rounds or evaluated):
            self._write(run, history)

    def ended(self, run: Watched) -> None:
        """Write the last state of the run, unless it is written already.

        Raises:
            StoreError, InputError: as `entry`.
        """
        history = run.history if self._last is None else self._last.history
        if history.entries and self._written != (history.rounds, len(history.entries)):
            self._write(run, history)

    def _write(self, run: Watched, history: History) -> None:
        kept = self._last
        if kept is None:
            kept = Stored(history.with_model(run.model("last"), history.rounds))
        try:
            stored.write(Path(self.folder), kept, self.names)
        finally:  # a model whose state cannot be kept is written all the same
            self._prune(history)
        self._written = history.rounds, len(history.entries)

    # --- which are kept

    def _is_best(self, history: History) -> bool:
        return bool(history.entries) and ranked(history, self.by)[:1] == [history.rounds]

    def _prune(self, history: History) -> None:
        folder = Path(self.folder)
        rounds = stored.rounds_in(folder)
        most = self.most or 1
        if self.keep == "all":
            return
        kept = set(
            rounds[-most:] if self.keep == "last" else [r for r in ranked(history, self.by) if r in rounds][:most]
        )
        for round_ in rounds[:-1]:
            if round_ not in kept:
                stored.remove(folder, round_)

    # --- reading

    @staticmethod
    def load(folder: Path | str, which: Which = "last", *, by: str = "max accuracy") -> History:
        """The History up to a checkpoint, with its model.

        Args:
            folder: of the checkpoints.
            which: "last", "best" or a round.
            by: what is best.

        Raises:
            UnknownName: there is no such checkpoint.
            InputError: it is damaged.
        """
        return load_results(stored.folder_of(Path(folder), _chosen(Path(folder), which, by)))

    @staticmethod
    def resume(
        folder: Path | str,
        which: Which = "last",
        *,
        by: str = "max accuracy",
        names: Mapping[str, Any] | None = None,
    ) -> Stored:
        """A checkpoint to go on from: the History, and for a simulation its progress and what the executor remembered.

        Args:
            folder: of the checkpoints.
            which: "last", "best" or a round.
            by: what is best.
            names: what the experiment file defines, as in `Checkpoint.names`.

        Raises:
            UnknownName: there is no such checkpoint.
            InputError: it is damaged, or its state is of classes that are gone.
        """
        return stored.read(Path(folder), _chosen(Path(folder), which, by), names or {})


def ranked(history: History, by: str) -> list[int]:
    """The evaluated rounds of the federated model, the best one first, the earlier one of equals; NaN is not ranked."""
    goal = Goal.of(by)
    values = {round_: value for round_, value in history.series(goal.metric) if value == value}
    return sorted(values, key=lambda round_: (-values[round_] if goal.most else values[round_], round_))


def _chosen(folder: Path, which: Which, by: str) -> int:
    rounds = stored.rounds_in(folder)
    if not rounds:
        raise InputError("there is no checkpoint", where=str(folder), hint="check the folder's name")
    if which == "last":
        return rounds[-1]
    if which == "best":
        last = load_results(stored.folder_of(folder, rounds[-1]))
        best = [round_ for round_ in ranked(last, by) if round_ in rounds]
        if not best:
            measured = dict.fromkeys(name for entry in last.evaluations(FEDERATED) for name in entry.metrics)
            raise UnknownName.among("metric", Goal.of(by).metric, measured)
        return best[0]
    if which not in rounds:
        raise UnknownName.among("checkpoint", which, ["last", "best", *rounds])
    return int(which)
