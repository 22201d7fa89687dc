"""The options that many commands have, and what stands behind them: who one is, and which Director one speaks to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hansa.errors import ConfigError, InputError
from hansa.runtime.own import VARIABLE

if TYPE_CHECKING:
    from hansa.runtime.user import User

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


@contextmanager
def connected(director: str | None, identity: Path | None) -> Iterator[User]:
    """A connection to a Director.

    Raises:
        CertificateError: there is no identity, or it is no longer good.
        ConfigError: nobody says where the Director is.
    """
    from hansa.runtime.remembered import introduced
    from hansa.runtime.user import User

    with User(*introduced(director, identity)) as user:
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
