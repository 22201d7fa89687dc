"""Following a run while it goes on: a line for every entry of its History, and a bar for its rounds in a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hansa.cli.screen import plain

if TYPE_CHECKING:
    from hansa.core.history import Entry
    from hansa.runtime.user import User

OVER = ("finished", "failed", "cancelled")
"""The phases in which nothing happens any more."""


SHOWN = 8
"""So many clients are named on a line."""


class StoppedFollowing(SystemExit):
    """Somebody pressed Ctrl-C while they followed a run, which goes on without them; they have been told."""


def follow(
    user: User, run: str, console: Console, rounds: int | None = None, *, failures: bool = False
) -> dict[str, Any]:
    """Show a run until it is over.

    Args:
        user: a connection.
        run: which one.
        console: where to.
        rounds: how many there will be, where that is known.
        failures: show every client's failure with its traceback, too.

    Returns:
        The run as it is in the end.

    Raises:
        StoppedFollowing: Ctrl-C; the run goes on.
    """
    last: dict[str, Any] = {}
    with _explained(run, console), _Bar(run, rounds, console) as bar:
        for report in user.follow(run):
            if "entry" in report:
                show(report["entry"], console, failures=failures)
            else:
                last = report["run"]
                bar.moves(last)
    return last


def so_far(user: User, run: str) -> tuple[list[Any], dict[str, Any]]:
    """The entries of a run up to now, as JSON values, and how it stands."""
    entries: list[Any] = []
    for report in user.follow(run):
        if "run" in report:
            return entries, report["run"]
        entries.append(report["entry"])
    return entries, user.about(run)


def show(entry: Any, console: Console, *, failures: bool) -> None:
    """One entry, as JSON says it; with every failure's traceback where they are wanted."""
    from hansa.cli.entries import line
    from hansa.core.history import Entry

    read: Entry = Entry.from_json(entry)
    console.print(plain(line(read)), soft_wrap=True)
    if failures:
        for client, outcome in read.outcomes.items():
            if outcome.why:
                told = "\n".join(f"    {each}" for each in outcome.why.splitlines())
                console.print(plain(f"  {client} {outcome.status}:\n{told}", "red"), soft_wrap=True)


def state(run: dict[str, Any]) -> str:
    """How a run stands, on one line: its phase, and what it waits for."""
    why = str(run["why"]).split("\n", 1)[0]
    if why:
        return f"{run['phase']}: {why}"
    asked = run["asked"]
    if asked is None or not asked["waiting"]:
        return str(run["phase"])
    waiting = _some([_waited_for(client, run) for client in asked["waiting"]])
    until = "" if asked["until"] is None else time.strftime(", until %H:%M:%S", time.localtime(asked["until"]))
    left_out = (run["last"] or {}).get("left_out")
    besides = f"; left out: {_some(sorted(left_out))}" if left_out else ""
    come = f"{asked['updated']} of {asked['count']} updates, waits for {waiting}{until}{besides}"
    return f"{run['phase']}: round {asked['round']}, {asked['work']}: {come}"


def _some(names: Sequence[str]) -> str:
    """The first few of them."""
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown


def _waited_for(client: str, run: dict[str, Any]) -> str:
    """A client, and how far it is, where it tells: "alice (12 of 80)"."""
    done, of = run["progress"].get(client, (0, 0))
    return client if not done else f"{client} ({done} of {of})" if of else f"{client} ({done})"


class _Bar:
    """The rounds, and what the run waits for. Where there is no terminal, a line for whatever holds it up."""

    def __init__(self, run: str, rounds: int | None, console: Console) -> None:
        self._console, self._rounds, self._said = console, rounds, ""
        known = "{task.completed}/{task.total}" if rounds is not None else "{task.completed}"
        self._bars = Progress(
            TextColumn("{task.fields[name]}", markup=False),
            BarColumn(bar_width=24),
            TextColumn(f"{known} rounds"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._bars.add_task("", total=rounds, name=plain(run), state=plain(""))

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._bars.stop()

    def moves(self, run: dict[str, Any]) -> None:
        self._bars.update(self._task, completed=run["rounds"], state=plain(state(run), "dim"))
        said = f"{run['phase']}: {run['why']}"
        if run["why"] and run["phase"] not in OVER and said != self._said:
            self._console.print(plain(said, "dim"), soft_wrap=True)
        self._said = said


@contextmanager
def _explained(run: str, console: Console) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        console.print(
            f"\nno longer following; the run goes on.\n"
            f"  hansa experiment logs {run} --follow   follow it again\n"
            f"  hansa experiment download {run} DIR    fetch its model when it has finished\n"
            f"  hansa experiment cancel {run}          stop it",
            soft_wrap=True,
        )
        raise StoppedFollowing(130) from None
