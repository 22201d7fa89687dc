"""`hansa federation`: a whole federation on this machine, to try things out before other machines are there."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hansa.cli.options import Json, parameters
from hansa.cli.screen import document, screen
from hansa.cli.status import show_status
from hansa.errors import ConfigError

if TYPE_CHECKING:
    from hansa.data.owners import Owner
    from hansa.runtime.local import LocalFederation

app = typer.Typer(help="A whole federation on this machine, to try things out.", no_args_is_help=True)

LOOK = 1.0
"""Seconds between two looks whether all processes are alive."""


@app.callback()
def _group() -> None:
    """Keeps `up` a command of its own, although it is the only one."""


@app.command()
def up(
    shard: Annotated[
        str | None,
        typer.Option(metavar="MODULE:CLASS", help="The class that reads each owner's data; its file lies here."),
    ] = None,
    envoys: Annotated[
        int | None, typer.Option(min=1, help="How many owners of data there are; 2 unless given.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What the class is given; {name} stands for envoy-1, envoy-2, ..., and {index} for 0, 1, ...",
        ),
    ] = None,
    owners: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, metavar="TOML", help="A file that names the owners, instead of the three options above."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(file_okay=False, metavar="DIR", help="Keep the federation there; one that is there goes on."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Start a Director and several Envoys as real processes on this machine, until Ctrl-C stops them all.

    They speak with each other as on several machines, with certificates. The Envoys run every experiment without asking.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # whoever ends this process ends all of them
    console = screen(as_json)
    with ExitStack() as stack:
        named = bool(shard or envoys or parameter)
        if owners is not None and named:
            raise ConfigError("--owners says who they are", hint="leave out --shard, --envoys and --parameter")
        wanted = _owners(owners, shard, envoys or 2, parameter or [])
        federation = _federation(wanted, folder, given=named or owners is not None, stack=stack)
        stack.enter_context(federation)
        with console.status("starting a Director and the Envoys"):
            federation.up()
        with federation.user() as user:
            overview = user.overview()
        if as_json:
            document(_described(federation))
            sys.stdout.flush()
        show_status(overview, console)
        identity = federation.folder / "user"
        console.print(
            f"\nTheir files and logs are in {federation.folder}{'' if folder else ', and go when this ends'}.\n"
            f"Submit an experiment to it from another terminal:\n"
            f"  hansa experiment submit FILE --identity {identity}\n\n"
            f"Ctrl-C stops it.",
            soft_wrap=True,
        )
        try:
            while not threading.Event().wait(LOOK):
                federation.check()
        except KeyboardInterrupt:
            console.print("stopping")
            federation.down()
            console.print("all have stopped" + (f"; start them again with --folder {folder}" if folder else ""))


def _owners(file: Path | None, shard: str | None, count: int, texts: list[str]) -> list[Owner]:
    from hansa.data.owners import load_owners

    if file is not None:
        return load_owners(file)
    return [] if shard is None else [_owner(shard, index, texts) for index in range(count)]


def _federation(owners: list[Owner], folder: Path | None, *, given: bool, stack: ExitStack) -> LocalFederation:
    """A new federation, or the one that is in the folder already.

    Raises:
        ConfigError: what was said cannot be.
    """
    from hansa.runtime.local import LocalFederation

    if folder is not None and LocalFederation.exists(folder):
        if given:
            raise ConfigError(
                "there is a federation in this folder, which would be started as it was",
                where=str(folder),
                hint="leave out --owners, --shard, --envoys and --parameter, or choose another folder",
            )
        return LocalFederation.open(folder)
    if not owners:
        raise ConfigError(
            "nobody says how the owners' data are read",
            hint="say it with --shard module:Class, or --owners owners.toml",
        )
    if folder is None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hansa-federation-")))
    elif folder.exists() and any(folder.iterdir()):
        raise ConfigError(
            "this folder holds something else than a federation", where=str(folder), hint="choose a new one"
        )
    federation = LocalFederation(folder, owners)
    federation.create()
    return federation


def _owner(shard: str, index: int, texts: list[str]) -> Owner:
    from hansa.data.owners import Owner

    name = f"envoy-{index + 1}"
    filled = [text.replace("{name}", name).replace("{index}", str(index)) for text in texts]
    module = shard.partition(":")[0].split(".")[0]
    lies_here = Path(f"{module}.py").exists() or Path(module).is_dir()
    return Owner(name, shard, parameters(filled), Path.cwd() if lies_here else None)


def _described(federation: LocalFederation) -> dict[str, Any]:
    return {
        "director": federation.address,
        "folder": str(federation.folder),
        "identity": str(federation.folder / "user"),
        "envoys": list(federation.owners),
        "processes": {name: process.pid for name, process in federation.processes.items()},
    }
