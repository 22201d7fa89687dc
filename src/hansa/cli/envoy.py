"""`hansa envoy`: the long-lived process at an owner of data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from hansa.cli.options import Json, parameters
from hansa.cli.process import Insecure, LogFormat, LogFormatOption, Patience, run_until_stopped, stopped
from hansa.cli.review import Approve, Full, Hash, Refuse, reviewed
from hansa.cli.screen import document, plain, screen, table
from hansa.errors import ConfigError, DataError

if TYPE_CHECKING:
    from hansa.data.shards import ShardFacts
    from hansa.runtime.config import EnvoyConfig

app = typer.Typer(help="The long-lived process at an owner of data.", no_args_is_help=True)

FILE = "envoy.toml"

Folder = Annotated[Path, typer.Argument(help="The Envoy's folder, with its envoy.toml.")]
Listened = Annotated[
    str, typer.Option("--listen", metavar="URL", help="Listen there to be dialled, such as wss://0.0.0.0:8777.")
]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The Envoy's folder, for its settings, key and store.")],
    name: Annotated[str, typer.Option(help="Your name in the federation, as your invitation says it.")],
    shard: Annotated[
        str,
        typer.Option(metavar="MODULE:CLASS", help="The class that reads your data, such as ward:Ward, in ward.py."),
    ],
    director: Annotated[str, typer.Option(metavar="HOST:PORT", help="The Director, as your invitation says it.")] = "",
    listen: Listened = "",
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What the class is given. 3, true or [1, 2] are read as such, all else is text. Give it once for each.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an Envoy's folder: commented settings, and an example of the class that reads your data if there is none.

    The settings are your say over who may compute what on your data. As written, you are asked about every experiment.
    """
    from hansa.cli.shard_example import missing_module, shard_example
    from hansa.pki.files import PUBLIC, make_folder, write
    from hansa.runtime.config import template_envoy

    file = folder / FILE
    if file.exists():
        raise ConfigError("there is an Envoy in this folder already", where=str(file), hint="choose another folder")
    if bool(director) is bool(listen):
        raise ConfigError("an Envoy either dials or listens", hint="give --director HOST:PORT, or --listen URL")
    text = template_envoy(name, director, shard, parameters=parameters(parameter or ()), listen=listen)
    make_folder(folder)
    module = missing_module(shard, folder)
    if module is not None:
        write(module, shard_example(shard, parameters(parameter or ())).encode(), PUBLIC)
    write(file, text.encode(), PUBLIC)
    if as_json:
        document({"folder": str(folder), "name": name, "settings": str(file), "example": module and str(module)})
        return
    console = screen()
    console.print(f"made the Envoy {name} in {folder}:\n  {file}   its settings, each one explained", soft_wrap=True)
    if module is not None:
        console.print(f"  {module}   an EXAMPLE with made-up data: change it so that it reads yours", soft_wrap=True)
    console.print(
        f"\nNext:\n"
        f"  hansa envoy check {folder}   see what would be announced of your data\n"
        + _joins(name, folder, listen=bool(listen))
        + f"  hansa envoy start {folder}",
        soft_wrap=True,
    )


def _joins(name: str, folder: Path, *, listen: bool) -> str:
    """How this Envoy gets its certificate: one that listens dials nobody, and brings a request by hand."""
    identity = folder / "identity"
    if not listen:
        return f"  hansa pki enroll INVITATION {identity}\n"
    return (
        f"  hansa pki enroll --request {name} {identity}   and bring {name}.csr to whoever holds the authority\n"
        f"  hansa pki enroll --install {name}.crt --ca ca.crt {identity}\n"
    )


@app.command()
def start(
    folder: Annotated[
        Path, typer.Argument(help="The Envoy's folder, with its envoy.toml; this one unless given.")
    ] = Path(),
    listen: Listened = "",
    name: Annotated[str, typer.Option("--id", metavar="NAME", help="Your name in the federation.")] = "",
    insecure: Insecure = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Run the Envoy until it is stopped. Ctrl-C stops it in order.

    It dials its Director, also one that is not up yet. One that listens waits for a Director, or a coordinating script, to
    dial it instead. Options go before what envoy.toml says.
    """
    from hansa.runtime.config import EnvoyConfig
    from hansa.runtime.config.settings import checked
    from hansa.runtime.envoy.serve import serve

    said = {"name": name} if name else {}
    said |= {"listen": listen, "director": ""} if listen else {}
    config = replace(_config(folder), **checked(EnvoyConfig, said))
    run_until_stopped(lambda stop: serve(config, insecure=insecure, stop=stop), config.log, log_format)


@app.command()
def stop(folder: Folder, seconds: Patience = 60.0, as_json: Json = False) -> None:
    """Stop the Envoy that runs from this folder, and wait for it. Runs that it takes part in wait for its return."""
    stopped(folder, _config(folder).store, "Envoy", seconds, as_json)


@app.command()
def review(
    folder: Folder,
    content: Hash = None,
    approve: Approve = False,
    refuse: Refuse = None,
    full: Full = False,
    as_json: Json = False,
) -> None:
    """See which experiments wait for your approval; read one, and decide whether it may compute on your data.

    Without a HASH, what waits. With one: its files, what it needs, who signed it, which runs want it, and what has changed
    since the version that you approved last; on a terminal you are then asked. Nothing of it is run before you approve.
    """
    reviewed(_config(folder).store, "envoy", folder, content, approve, refuse, full, as_json)


@app.command()
def check(folder: Folder, as_json: Json = False) -> None:
    """Read your data as the Envoy would, and show what it would announce of them. Nobody is dialled.

    Announced are what an example looks like and how many there are; never a value.
    """
    from hansa.runtime.doctor.shard import look

    config = _config(folder)
    console = screen(as_json)
    with console.status("reading the data"):
        looked = look(config)
    if looked.facts is None:
        # What the owner's code said when it raised is their own, on their own machine.
        Console(stderr=True, highlight=False).print(plain(looked.log, "dim"), soft_wrap=True)
        raise looked.problem or DataError("the data could not be looked at")
    if as_json:
        document({**looked.facts.to_json(), "labels": dict(config.labels)})
    else:
        _show(looked.facts, config, console)


def _show(facts: ShardFacts, config: EnvoyConfig, console: Console) -> None:
    whom = (
        f"to the Director at {config.director}" if config.director else f"to a coordinator that dials {config.listen}"
    )
    console.print(f"{facts.name} would announce {whom}:\n", soft_wrap=True)
    console.print(f"  {facts.description}", soft_wrap=True)
    fields = [
        (name, "×".join(map(str, field.shape)) or "one number", field.dtype, field.classes or "")
        for name, field in facts.schema.items()
    ]
    console.print(table("What an example looks like", ("field", "shape", "dtype", "classes"), fields, ("classes",)))
    held = [(client, sizes.get("train", ""), sizes.get("test", "")) for client, sizes in facts.clients.items()]
    console.print(
        table("How many there are", ("client", "to train on", "to test on"), held, ("to train on", "to test on"))
    )
    said = ", ".join(f"{name}={value}" for name, value in config.labels.items())
    console.print(f"labels: {said or '(none)'}", soft_wrap=True)


def _config(folder: Path) -> EnvoyConfig:
    from hansa.runtime.config import EnvoyConfig

    return EnvoyConfig.load(folder / FILE)
