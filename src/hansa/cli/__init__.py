"""The command line: one file a command group. This one puts them together and turns errors into messages."""

from __future__ import annotations

import sys
import traceback

import typer
from rich.console import Console

import hansa
from hansa.cli.demo import demo
from hansa.cli.run import run
from hansa.errors import ExperimentFileError, HansaError, RunFailed

STOPPED = 130
"""The exit status after Ctrl-C, as shells have it."""

app = typer.Typer(
    name="hansa",
    help="Federated learning: several owners of data train one model together, and no record leaves its owner.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(run)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"hansa {hansa.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """What comes before the command."""


def main() -> None:
    """The console script: 0 for success, 1 for an error that was explained, 2 for wrong usage, 130 for Ctrl-C."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        app()
    except SystemExit as end:
        if end.code == STOPPED:
            errors.print("stopped")
        raise
    except HansaError as problem:
        foreign = isinstance(problem, RunFailed | ExperimentFileError) and not isinstance(problem.__cause__, HansaError)
        if foreign and problem.__cause__ is not None:  # raised by the user's own code: show where
            errors.print("".join(traceback.format_exception(problem.__cause__)), style="dim", markup=False)
        errors.print(f"error: {problem}", style="red", markup=False)
        sys.exit(1)
