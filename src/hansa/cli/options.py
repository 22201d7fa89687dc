"""The options that many commands have, and what stands behind them: who one is, and which Director one speaks to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hansa.errors import CertificateError, ConfigError, InputError

if TYPE_CHECKING:
    from hansa.runtime.user import User

VARIABLE = "HANSA_IDENTITY"
"""The environment variable that names one's identity."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
DirectorAddress = Annotated[
    str | None,
    typer.Option("--director", metavar="HOST:PORT", help="The Director; unless given, the one that you enrolled with."),
]
IdentityFolder = Annotated[
    Path | None,
    typer.Option(
        "--identity",
        metavar="FOLDER",
        help=f"Your key and certificate; unless given, what {VARIABLE} says, or the folder that hansa pki enroll uses.",
    ),
]


def own_identity(folder: Path | None) -> Path:
    """The folder of one's identity: the one given, the environment's, or that of the user's settings."""
    if folder is not None:
        return folder
    if said := os.environ.get(VARIABLE):
        return Path(said)
    import platformdirs

    return platformdirs.user_config_path("hansa") / "identity"


@contextmanager
def connected(director: str | None, identity: Path | None) -> Iterator[User]:
    """A connection to a Director.

    Raises:
        CertificateError: there is no identity, or it is no longer good.
        ConfigError: nobody says where the Director is.
    """
    from hansa.pki import Identity
    from hansa.pki.identity import KEY
    from hansa.runtime.files import now
    from hansa.runtime.remembered import remembered
    from hansa.runtime.user import User

    folder = own_identity(identity)
    if not (folder / KEY).exists():
        raise CertificateError(
            "there is no identity in this folder",
            where=str(folder),
            hint=f"join with: hansa pki enroll INVITATION; or name another folder with --identity, or with {VARIABLE}",
        )
    mine = Identity.load(folder, now=now())
    address = director or remembered(folder)
    if address is None:
        raise ConfigError(
            "it is not known where the Director is", where=str(folder), hint="say it with --director HOST:PORT"
        )
    with User(address, mine) as user:
        yield user


def split_pairs(texts: Sequence[str], what: str) -> dict[str, str]:
    """Options of the form name=value.

    Raises:
        ConfigError: one has no "=", no name, or a name that another has too.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or name in found:
            problem = "stands there twice" if name in found else "has no name and value"
            raise ConfigError(f"{what} {text!r} {problem}", hint="write name=value, each name once")
        found[name.strip()] = value
    return found


def parameters(texts: Sequence[str]) -> dict[str, Any]:
    """The parameters of an owner's class: a value that TOML knows (a number, true, a list, "text") is that, else it is text.

    Raises:
        ConfigError: see `split_pairs`.
    """
    import tomllib

    found: dict[str, Any] = {}
    for name, value in split_pairs(texts, "the parameter").items():
        try:
            read = tomllib.loads(f"value = {value}")
        except tomllib.TOMLDecodeError:
            read = {}
        found[name] = read["value"] if read.keys() == {"value"} else value
    return found


def absent(file: Path) -> None:
    """See that a file that is to be written is not there.

    Raises:
        InputError: it is.
    """
    if file.exists():
        raise InputError("there is such a file already", where=str(file), hint="name another with --out, or remove it")
