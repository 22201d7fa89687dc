"""`hansa demo`: Alice, Bob and Charlie learn all ten digits."""

from __future__ import annotations

import json
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


class DatasetName(StrEnum):
    """The data sets of `hansa.demo.scenario`, which loads more than the other commands need."""

    digits = "digits"
    mnist = "mnist"
    fashion_mnist = "fashion_mnist"


def demo(
    dataset: Annotated[DatasetName, typer.Option(help="What they hold.")] = DatasetName.digits,
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
    from hansa.cli.demo_screen import Display, conclude, introduce
    from hansa.demo.play import play, simulated
    from hansa.demo.report import write_report
    from hansa.demo.scenario import Scenario
    from hansa.experiment import prepare_folder, save_results

    if out is not None:
        prepare_folder(out)
    scenario = Scenario(str(dataset), rounds, seed)
    # With --json standard output belongs to the document; whoever watches sees the progress on the other stream.
    console = Console(stderr=as_json, highlight=False, quiet=as_json and not sys.stderr.isatty())
    introduce(scenario, console)
    with Display(console) as display:
        played = play(scenario, display, time.perf_counter, simulated if simulate else display.really)
    conclude(played, console)
    if out is not None:
        save_results(played.history, out)
        write_report(played, out / "report.html")
        console.print(f"\nwrote model.safetensors, history.json and report.html to {out}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(played.document(), indent=1, allow_nan=False))
