"""`hansa demo`: Alice, Bob and Charlie learn all ten digits."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from hansa.core.history import FEDERATED, Entry, History
from hansa.demo.play import Measured, Played, holdings, play, simulated
from hansa.demo.report import write_report
from hansa.demo.scenario import DATASETS, GROUPS, OWNERS, Scenario
from hansa.experiment import prepare_folder, save_results

DatasetName = StrEnum("DatasetName", {name: name for name in DATASETS})  # type: ignore[misc]  # made from the scenario's list
DEFAULT = DatasetName(DATASETS[0])


def demo(
    dataset: Annotated[DatasetName, typer.Option(help="What they hold.")] = DEFAULT,
    rounds: Annotated[int, typer.Option(min=1, help="How often the owners' models are averaged.")] = 40,
    seed: Annotated[int, typer.Option(help="Of every random choice; the same seed gives the same model.")] = 0,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write model.safetensors, history.json and report.html there.")
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="In this process, instead of a real federation of processes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Let three owners, who hold digits 0-3, 4-6 and 7-9 only, learn all ten.

    A fourth participant, testing, evaluates and never trains. In each round every owner trains 10 batches of 32, and the
    models are averaged. Then you see what each owner would have learned alone, and what pooling all data would have given.

    The federation is real: a certificate authority, a Director and four Envoys are made, run as processes that speak over
    mutual TLS on this machine, and stopped at the end. With --simulate it all happens in this process; the same seed gives
    the same model either way, bit for bit.
    """
    if out is not None:
        prepare_folder(out)
    scenario = Scenario(str(dataset), rounds, seed)
    # With --json standard output belongs to the document; whoever watches sees the progress on the other stream.
    console = Console(stderr=as_json, highlight=False, quiet=as_json and not sys.stderr.isatty())
    _introduce(scenario, console)
    with Display(console) as display:
        played = play(scenario, display, time.perf_counter, simulated if simulate else display.really)
    _conclude(played, console)
    if out is not None:
        save_results(played.history, out)
        write_report(played, out / "report.html")
        console.print(f"\nwrote model.safetensors, history.json and report.html to {out}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(played.document(), indent=1, allow_nan=False))


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


def _introduce(scenario: Scenario, console: Console) -> None:
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


def _conclude(played: Played, console: Console) -> None:
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
