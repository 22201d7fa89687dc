"""`hansa run`: run an experiment file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hansa.cli.entries import document, line
from hansa.core.loop import Step
from hansa.errors import RunFailed
from hansa.experiment import load_experiment, prepare_folder, save_results
from hansa.federation import Federation
from hansa.protocol import codec


def run(
    file: Annotated[Path, typer.Argument(help="A Python file that defines `experiment`, and `data` to simulate on.")],
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write model.safetensors and history.json there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Use every thread; last bits may differ from run to run.")
    ] = False,
) -> None:
    """Run an experiment file in the simulator."""
    if out is not None:
        prepare_folder(out)
    console = Console(stderr=as_json, highlight=False)
    with console.status(f"loading {file}") as status:
        loaded = load_experiment(file)
        federation = Federation.simulate(loaded.data(), mode="fast" if fast else "reference")

        def follow(step: Step) -> None:
            entry = step.history.entries[-1]
            status.update(f"{loaded.experiment.name}: {step.history.rounds} rounds completed")
            console.print(line(entry), soft_wrap=True)

        try:
            with loaded.importing():
                history = federation.run(loaded.experiment, follow)
        except RunFailed as failure:
            if out is not None and failure.history is not None:
                save_results(failure.history, out)
            raise
    if out is not None:
        save_results(history, out)
        console.print(f"wrote model.safetensors and history.json to {out}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(document(history), indent=1, allow_nan=False))
    else:
        console.print(f"model sha256 {codec.digest(history.model)}", soft_wrap=True)
