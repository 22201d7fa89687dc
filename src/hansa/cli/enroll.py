"""`hansa pki enroll`: become a member. The key is made here and never leaves; what travels is a request for a certificate."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hansa.cli.options import Json, absent
from hansa.cli.screen import document, pairs, screen
from hansa.errors import CertificateError, Damaged, InputError, ProtocolError
from hansa.runtime.own import own_identity

if TYPE_CHECKING:
    from hansa.pki import Identity, Invitation

_USAGE = "name at most a FILE and a FOLDER, and one of the three ways; see hansa pki enroll --help"


def enroll(
    places: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[INVITATION] [FOLDER]",
            show_default=False,
            help="The invitation's file, and where your key and certificate go; for users that is found by itself.",
        ),
    ] = None,
    request: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Without a network: only make a request, to be brought to the authority."),
    ] = None,
    install: Annotated[
        Path | None,
        typer.Option(dir_okay=False, metavar="FILE", help="Without a network: install the certificate brought back."),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(dir_okay=False, metavar="FILE", help="With --install: the authority's certificate, ca.crt."),
    ] = None,
    director: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="With --install: where the Director is, to be remembered."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, metavar="FILE", help="With --request: where to write it; else NAME.csr here."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Join a federation with an invitation, or renew your certificate with a new one.

    Your key is made on this machine and stays on it. The Director is dialled once, and answers with your certificate.
    """
    from hansa.runtime.remembered import remember

    given = places or []
    if request is not None and install is None and len(given) <= 1:
        _request(own_identity(given[0] if given else None), request, out, as_json)
        return
    if install is not None and request is None and len(given) <= 1:
        folder = own_identity(given[0] if given else None)
        identity = _installed(folder, install, ca)
        if director is not None:
            remember(folder, director)
    elif request is None and install is None and 1 <= len(given) <= 2:
        folder = own_identity(given[1] if len(given) == 2 else None)
        invitation = _invitation(given[0])
        identity = _admitted(folder, invitation)
        remember(folder, director := invitation.address)
    else:
        raise typer.BadParameter(_USAGE)
    _say(identity, folder, director, as_json)


def _request(folder: Path, name: str, out: Path | None, as_json: bool) -> None:
    from hansa.pki import Identity
    from hansa.pki.files import PUBLIC, write
    from hansa.protocol.peer import checked_name

    file = out or Path(f"{checked_name(name)}.csr")
    absent(file)
    write(file, Identity.request(folder, name), PUBLIC)
    if as_json:
        document({"name": name, "folder": str(folder), "request": str(file)})
        return
    screen().print(
        f"wrote {file}; the key is in {folder} and stays there\n\n"
        f"Bring {file.name} (it is no secret) to whoever runs the authority, who signs it with:\n"
        f"  hansa pki issue {name} --role ROLE --csr {file.name} --authority FOLDER",
        soft_wrap=True,
    )


def _installed(folder: Path, certificate: Path, ca: Path | None) -> Identity:
    from hansa.pki import Identity
    from hansa.pki.files import read

    if ca is None:
        raise typer.BadParameter("--install needs --ca, the authority's certificate, from a source that you trust")
    found = {file: read(file) for file in (certificate, ca)}
    for file, content in found.items():
        if content is None:
            raise InputError("there is no such file", where=str(file), hint="check the path")
    return Identity.install(folder, found[certificate] or b"", found[ca] or b"")


def _invitation(file: Path) -> Invitation:
    from hansa.pki import Invitation
    from hansa.pki.files import read

    content = read(file)
    if content is None:
        raise InputError("there is no such invitation", where=str(file), hint="check the path")
    try:
        invitation = Invitation.from_text(content.decode("utf-8", "replace"))
    except (Damaged, ProtocolError) as problem:
        problem.where = problem.where or str(file)
        raise
    if invitation.expired(datetime.now(UTC)):
        raise CertificateError(
            f"this invitation expired on {invitation.until:%Y-%m-%d %H:%M} UTC",
            where=str(file),
            hint="ask whoever runs the Director for another",
        )
    return invitation


def _admitted(folder: Path, invitation: Invitation) -> Identity:
    """Dial the Director as a newcomer, and be given a certificate. A second try with the same key gets the same one."""
    from hansa.pki import Identity

    request = Identity.request(folder, invitation.name)
    return Identity.install(folder, asyncio.run(_certificate(invitation, request)), invitation.ca)


async def _certificate(invitation: Invitation, request: bytes) -> bytes:
    from hansa.protocol import wire
    from hansa.protocol.messages import Enroll, Enrolled
    from hansa.transport.credentials import Credentials
    from hansa.transport.dial import dialled

    bootstrap = Credentials(invitation.certificate, invitation.key, invitation.ca)
    async with dialled(invitation.address, credentials=bootstrap) as connection:
        answer = wire.decode(await connection.call(wire.encode(Enroll(request, invitation.token))))
    if not isinstance(answer, Enrolled):
        raise ProtocolError(f"the Director answered {type(answer).__name__}", hint="compare the versions of both sides")
    return answer.certificate


def _say(identity: Identity, folder: Path, director: str | None, as_json: bool) -> None:
    from hansa.pki import fingerprint

    peer, mark = identity.peer, fingerprint(identity.ca)
    if as_json:
        said = {"name": peer.name, "role": peer.role.value, "until": identity.until.isoformat()}
        document({**said, "folder": str(folder), "director": director, "authority_fingerprint": mark})
        return
    console = screen()
    console.print(f"enrolled: {folder} is now {peer.name} ({peer.role.value})", soft_wrap=True)
    console.print(
        pairs(
            {
                "certificate good until": f"{identity.until:%Y-%m-%d}",
                "Director": director or "(not known; say it with --director)",
                "authority's fingerprint": mark,
            }
        )
    )
    if peer.role.value in ("user", "admin"):
        given = "" if folder == own_identity(None) else f" --identity {folder}"
        console.print(f"\nNext:\n  hansa status{given}", soft_wrap=True)
