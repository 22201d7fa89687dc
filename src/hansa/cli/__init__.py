"""The command line: one file a command group. This one puts them together and turns errors into messages."""

from __future__ import annotations

import sys
import traceback

import typer
from rich.console import Console

import hansa
from hansa.cli import director, envoy, experiment, federation, pki
from hansa.cli.demo import demo
from hansa.cli.doctor import doctor
from hansa.cli.follow import StoppedFollowing
from hansa.cli.run import run
from hansa.cli.status import status
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
_ALONE, _FEDERATION, _PARTS = "On this machine alone", "In a federation", "What a federation is made of"

app.command(rich_help_panel=_ALONE)(demo)
app.command(rich_help_panel=_ALONE)(run)
app.add_typer(federation.app, name="federation", rich_help_panel=_ALONE)
app.add_typer(experiment.app, name="experiment", rich_help_panel=_FEDERATION)
app.command(rich_help_panel=_FEDERATION)(status)
app.command(rich_help_panel=_FEDERATION)(doctor)
app.add_typer(director.app, name="director", rich_help_panel=_PARTS)
app.add_typer(envoy.app, name="envoy", rich_help_panel=_PARTS)
app.add_typer(pki.app, name="pki", rich_help_panel=_PARTS)


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
        if end.code == STOPPED and not isinstance(end, StoppedFollowing):
            errors.print("stopped")
        raise
    except HansaError as problem:
        foreign = isinstance(problem, RunFailed | ExperimentFileError) and not isinstance(problem.__cause__, HansaError)
        if foreign and problem.__cause__ is not None:  # raised by the user's own code: show where
            errors.print("".join(traceback.format_exception(problem.__cause__)), style="dim", markup=False)
        errors.print(f"error: {problem}", style="red", markup=False)
        sys.exit(1)
