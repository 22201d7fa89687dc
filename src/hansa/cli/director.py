"""`hansa director`: the long-lived centre of a federation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hansa.cli.options import Json
from hansa.cli.process import Insecure, LogFormat, LogFormatOption, Patience, run_until_stopped, stopped
from hansa.cli.review import Approve, Full, Hash, Refuse, reviewed
from hansa.cli.screen import document, screen
from hansa.errors import ConfigError

if TYPE_CHECKING:
    from hansa.runtime.config import DirectorConfig

app = typer.Typer(help="The long-lived centre of a federation.", no_args_is_help=True)

FILE = "director.toml"

Folder = Annotated[Path, typer.Argument(help="The Director's folder, with its director.toml.")]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The Director's folder, for its settings, keys and store.")],
    name: Annotated[str, typer.Option(help="Its name: small letters, digits, '.', '_', '-'.")] = "director",
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where it listens; 0.0.0.0:8470 for every network it is in.")
    ] = "127.0.0.1:8470",
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A DNS name or IP address that owners dial. Give it once for each."),
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Keep the folder as it is; only give the Director a new certificate.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a Director's folder: commented settings, a certificate authority, and the Director's own certificate.

    With --renew the settings stay, and the certificate is made anew, for the hosts that they say.
    """
    from hansa.pki.files import make_folder
    from hansa.runtime.config import DirectorConfig, template_director
    from hansa.runtime.director.serve import AUTHORITY, IDENTITY

    file = folder / FILE
    if renew:
        config = DirectorConfig.load(file)
    elif file.exists():
        raise ConfigError(
            "there is a Director in this folder already",
            where=str(file),
            hint="start it with hansa director start, or give it a new certificate with --renew",
        )
    else:
        hosts = tuple(host or ("localhost", "127.0.0.1"))
        config = DirectorConfig(name=name, address=address, hosts=hosts)
        text = template_director(name=name, address=address, hosts=hosts)
        make_folder(folder)
    _identify(folder, config)
    if not renew:
        _written(file, text)
    if as_json:
        made = {"authority": str(folder / AUTHORITY), "identity": str(folder / IDENTITY), "settings": str(file)}
        document({"folder": str(folder), "name": config.name, "address": config.address, **made})
        return
    console = screen()
    if renew:
        console.print(
            f"{folder} has a new certificate for {', '.join(config.hosts)}; start the Director again", soft_wrap=True
        )
        return
    console.print(
        f"made the Director {config.name} in {folder}:\n"
        f"  {file}   its settings, each one explained\n"
        f"  {folder / AUTHORITY}   the federation's certificate authority; keep a backup, and let nobody read it\n"
        f"  {folder / IDENTITY}   the Director's own key and certificate, for {', '.join(config.hosts)}\n\n"
        f"Next:\n"
        f"  hansa pki issue NAME --role envoy --authority {folder}   an invitation for each owner of data\n"
        f"  hansa pki issue NAME --role user --authority {folder}   and for each user\n"
        f"  hansa director start {folder}",
        soft_wrap=True,
    )


def _identify(folder: Path, config: DirectorConfig) -> None:
    """Give the Director a certificate for its hosts, from the authority in its folder, which is made if need be."""
    from hansa.pki import Authority, Identity
    from hansa.protocol.peer import Role
    from hansa.runtime.director.serve import AUTHORITY, IDENTITY

    now = datetime.now(UTC)
    made = (folder / AUTHORITY).exists()
    authority = (
        Authority.open(folder / AUTHORITY) if made else Authority.create(folder / AUTHORITY, config.name, now=now)
    )
    request = Identity.request(folder / IDENTITY, config.name)
    certificate = authority.sign(request, config.name, Role.DIRECTOR, now=now, hosts=config.hosts, again=True)
    Identity.install(folder / IDENTITY, certificate, authority.certificate)


def _written(file: Path, text: str) -> None:
    from hansa.pki.files import PUBLIC, write

    write(file, text.encode(), PUBLIC)


@app.command()
def start(
    folder: Folder,
    websocket: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Listen there for WebSocket besides; dialled as wss://host:port.")
    ] = "",
    worker: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="An Envoy that listens, to be dialled: wss://host:port. Once for each."),
    ] = None,
    insecure: Insecure = False,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Run the Director until it is stopped; Ctrl-C stops it in order.

    Options go before what director.toml says. Whatever was going on when it last ended, however it ended, goes on.
    """
    from hansa.runtime.config import DirectorConfig
    from hansa.runtime.config.settings import checked
    from hansa.runtime.director.serve import serve

    said = {name: value for name, value in (("websocket", websocket), ("workers", worker)) if value}
    config = replace(_config(folder), **checked(DirectorConfig, said))
    run_until_stopped(lambda stop: serve(config, folder, insecure=insecure, stop=stop), config.log, log_format)


@app.command()
def stop(folder: Folder, seconds: Patience = 60.0, as_json: Json = False) -> None:
    """Stop the Director that runs from this folder, and wait for it. Runs under way go on when it is started again."""
    stopped(folder, _config(folder).store, "Director", seconds, as_json)


@app.command()
def review(
    folder: Folder,
    content: Hash = None,
    approve: Approve = False,
    refuse: Refuse = None,
    full: Full = False,
    as_json: Json = False,
) -> None:
    """See which experiments wait for the Director's own approval; read one, and decide.

    Only a Director whose policy is "ask" or "trusted" has any. Every owner decides for their own data besides.
    """
    reviewed(_config(folder).store, "director", folder, content, approve, refuse, full, as_json)


def _config(folder: Path) -> DirectorConfig:
    from hansa.runtime.config import DirectorConfig

    return DirectorConfig.load(folder / FILE)
