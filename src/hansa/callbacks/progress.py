"""ProgressBar: how far a run is, in a terminal as a bar, anywhere else as plain lines.

What is shown was partly written by others, somewhere else: it is never taken for markup, nor for a terminal's commands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from hansa.callbacks.port import Watched
from hansa.core.ask import Status
from hansa.core.history import FEDERATED, Entry


@dataclass
class ProgressBar:
    """Shows rounds completed, the last metrics, and how many clients have answered.

    In a terminal it is a bar at the bottom that goes when the run ends, also by Ctrl-C. Elsewhere, in a file, a pipe or a
    notebook, it is a line for every evaluation of the federated model, or for every ask where nothing is evaluated.

    Attributes:
        console: where to; standard error unless given.
    """

    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    _bars: Progress | None = field(default=None, init=False, repr=False, compare=False)
    _task: TaskID = field(default=TaskID(0), init=False, repr=False, compare=False)
    _said: str = field(default="", init=False, repr=False, compare=False)
    _metrics: str = field(default="", init=False, repr=False, compare=False)

    def started(self, run: Watched) -> None:
        """Show the bar, or say that it begins."""
        self._said = self._metrics = ""
        if self.console.is_terminal and not self.console.is_jupyter:
            self._bars = _bars(self.console, run.rounds is not None)
            self._task = self._bars.add_task(
                "", total=run.rounds, completed=run.history.rounds, name=_plain(run.name), state=""
            )
            self._bars.start()

    def entry(self, run: Watched, entry: Entry) -> None:
        """Show what came of an ask."""
        if entry.model in (None, FEDERATED) or not self._metrics:
            self._metrics = "  ".join(f"{name} {value:.4g}" for name, value in entry.metrics.numbers().items())
        answered = sum(outcome.status is Status.UPDATED for outcome in entry.outcomes.values())
        clients = f"{answered} of {len(entry.outcomes)} clients" if entry.outcomes else ""
        if self._bars is not None:
            self._bars.update(self._task, completed=run.history.rounds)
            self._state(self._metrics, clients)
        elif entry.model == FEDERATED or (entry.model is None and not _is_evaluated(run)):
            of = "" if run.rounds is None else f"/{run.rounds}"
            line = f"{run.name}  round {run.history.rounds}{of}  {self._metrics}  {clients}"
            self.console.print(Text(_plain(line.rstrip())), soft_wrap=True)

    def answered(self, count: int, of: int) -> None:
        """So many clients of the present ask have answered; for runs that know it before the ask is closed."""
        self._state(self._metrics, f"{count} of {of} clients")

    def ended(self, run: Watched) -> None:
        """Take the bar away, and say how it ended."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
        why = run.failure.split("\n", 1)[0]
        ending = f"ended: {why}" if why else "finished"
        rounds = f"{run.history.rounds} round{'' if run.history.rounds == 1 else 's'}"
        said = f"{run.name}  {ending} after {rounds}  {self._metrics}".rstrip()
        self.console.print(Text(_plain(said), style="red" if why else "green"), soft_wrap=True)

    def _state(self, *parts: str) -> None:
        self._said = "  ".join(part for part in parts if part)
        if self._bars is not None:
            self._bars.update(self._task, state=_plain(self._said))


@contextmanager
def transferring(what: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """Shows how much of a transfer is done, in a terminal; gives the function to tell, (bytes done, bytes in all)."""
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        DownloadColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _bars(console: Console, known: bool) -> Progress:
    return Progress(
        TextColumn("{task.fields[name]}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.completed}/{task.total} rounds" if known else "{task.completed} rounds"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}", style="dim", markup=False),
        console=console,
        transient=True,
    )


def _is_evaluated(run: Watched) -> bool:
    return any(True for _ in run.history.evaluations(FEDERATED))


def _plain(text: str) -> str:
    """A text of somebody else's, without what a terminal would obey."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)
