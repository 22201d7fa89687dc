"""What `hansa demo` shows: who holds what, how far it is, and what federating gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from hansa.core.history import FEDERATED, Entry, History
from hansa.demo.play import Measured, Played, holdings
from hansa.demo.scenario import GROUPS, OWNERS, Scenario


class Display:
    """Shows how far the demo is: a table row for every model that was measured; in a terminal, a bar for each part."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rounds"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, int] = {}
        self._round = 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._bars.stop()

    def really(self, scenario: Scenario, follow: Callable[[Entry, int], None]) -> History:
        """The federation as processes, and what is done about them."""
        from hansa.demo.real import run  # needs the extra `federation`, which a simulation does not

        return run(scenario, lambda line: self._console.print(f"[dim]{line}[/]", soft_wrap=True), follow)

    def begins(self, part: str, rounds: int) -> None:
        """Open a bar; a plain line where there is none."""
        title = "federated" if part == FEDERATED else "pooled" if part not in OWNERS else f"{part} alone"
        self._tasks[part] = self._bars.add_task(title, total=rounds)
        if part == FEDERATED:
            head = _row("round", "model", [f"says {group}" for group in GROUPS], "loss", "accuracy")
            self._console.print(Text(head, style="bold"))
        elif not self._console.is_terminal:
            self._console.print(f"training for comparison: {title}")

    def round_done(self, part: str, completed: int) -> None:
        """Move the bar."""
        self._bars.update(self._tasks[part], completed=completed)  # type: ignore[arg-type]  # rich's ids are integers

    def measured(self, part: str, measured: Measured) -> None:
        """A row for a model of the federation."""
        if part != FEDERATED:
            return
        first = str(measured.round) if measured.round != self._round else ""
        self._round = measured.round
        shares = [f"{share:.1%}" for share in measured.shares.values()]
        row = _row(first, measured.model, shares, f"{measured.loss:.3f}", f"{measured.accuracy:.1%}")
        self._console.print(Text(row, style="bold green" if measured.model == FEDERATED else ""))


def _row(round_: str, model: str, shares: list[str], loss: str, accuracy: str) -> str:
    return f"{round_:>5}  {model:<10}" + "".join(f"{share:>10}" for share in shares) + f"{loss:>9}{accuracy:>10}"


def introduce(scenario: Scenario, console: Console) -> None:
    """Who holds what."""
    source = scenario.source
    sizes = f"{len(source.train)} examples to train on and {len(source.test)} to test"
    console.print(f"{source.title}: {sizes}, seed {scenario.seed}\n", soft_wrap=True)
    for name, counts in holdings(scenario).items():
        total = sum(counts.values())
        held = ", ".join(f"{n} of {label}" for label, n in counts.items())
        what = (
            f"{held}, total {total}"
            if name in OWNERS
            else f"{total} examples of all classes; it evaluates and never trains"
        )
        console.print(f"[bold]{name:<8}[/] holds {what}", soft_wrap=True)
    console.print()


def conclude(played: Played, console: Console) -> None:
    """What federating gave."""
    table = Table(box=box.SIMPLE_HEAD, title="What federating gave", title_justify="left", pad_edge=False)
    for heading in ("trained by", "on the classes", "accuracy", "loss"):
        table.add_column(heading, justify="right" if heading in ("accuracy", "loss") else "left")
    for owner, measured in played.alone.items():
        group = OWNERS[owner]
        table.add_row(f"{owner} alone", f"{group[0]}-{group[-1]}", f"{measured.accuracy:.1%}", f"{measured.loss:.3f}")
    final, pooled = played.final, played.pooled
    table.add_row(
        "the federation", "all, at their owners", f"{final.accuracy:.1%}", f"{final.loss:.3f}", style="bold green"
    )
    table.add_row("everyone's data pooled", "all, in one place", f"{pooled.accuracy:.1%}", f"{pooled.loss:.3f}")
    console.print()
    console.print(table)
    console.print(f"model sha256 {played.model_sha256}", soft_wrap=True)
    console.print(
        f"{played.seconds:.1f} s, {played.history.mode} mode: the same seed gives the same model, bit for bit"
    )
