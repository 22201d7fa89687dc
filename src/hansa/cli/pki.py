"""`hansa pki`: the federation's own certificate authority. Who is a member, as what, and who is one no longer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hansa.cli.enroll import enroll
from hansa.cli.options import Json, absent
from hansa.cli.screen import document, pairs, plain, screen, table
from hansa.errors import CertificateError, ConfigError

if TYPE_CHECKING:
    from hansa.pki import Authority, Issued

app = typer.Typer(
    help="The federation's own certificate authority: invite members, let them enroll, and revoke them.",
    no_args_is_help=True,
)
app.command()(enroll)

AuthorityFolder = Annotated[
    Path, typer.Option("--authority", metavar="FOLDER", help="The authority's folder, or the Director's around it.")
]


class Member(StrEnum):
    """As what somebody can be admitted."""

    ENVOY = "envoy"
    USER = "user"
    ADMIN = "admin"


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder; keep it beside the Director, and back it up.")],
    name: Annotated[str, typer.Option(help="The federation's name: small letters, digits, '.', '_', '-'.")] = "hansa",
    as_json: Json = False,
) -> None:
    """Make a certificate authority. Not needed where hansa director init made one."""
    from hansa.pki import Authority, fingerprint

    authority = Authority.create(folder, name, now=datetime.now(UTC))
    mark = fingerprint(authority.certificate)
    if as_json:
        document({"folder": str(folder), "name": name, "fingerprint": mark})
        return
    console = screen()
    console.print(f"made the authority of the federation {name!r} in {folder}", soft_wrap=True)
    console.print(f"fingerprint (SHA-256) {mark}", soft_wrap=True)
    console.print("Whoever has its ca.key can admit anybody: let nobody else read the folder, and keep a backup of it.")


@app.command()
def issue(
    name: Annotated[str, typer.Argument(help="Who: small letters, digits, '.', '_', '-'.")],
    role: Annotated[
        Member, typer.Option(help="An owner of data, a user who submits experiments, or an administrator.")
    ],
    authority: AuthorityFolder,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where they reach the Director; else as its director.toml says."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, metavar="FILE", help="Where to write it; else NAME.invitation here.")
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(min=0.01, help="How long it is good; else an invitation 24 hours, a certificate a year."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="The name has a valid certificate in this role, and gets another.")
    ] = False,
    csr: Annotated[
        Path | None,
        typer.Option(dir_okay=False, metavar="FILE", help="Sign this request, brought by hand, instead of inviting."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Invite a member: write the file that they enroll with, once.

    An invitation is a secret. Hand it to nobody but the one whom it is for. With --csr there is no invitation: the request
    that `hansa pki enroll --request` made is signed, and the certificate is written for its bearer to install.
    """
    from hansa.pki.files import PRIVATE, PUBLIC, write
    from hansa.pki.issuing import MEMBER_LASTS
    from hansa.protocol.peer import Role, checked_name

    checked_name(name)
    found, now = opened(authority), datetime.now(UTC)
    file = out or Path(f"{name}.crt" if csr else f"{name}.invitation")
    absent(file)
    valid = None if hours is None else timedelta(hours=hours)
    if csr is not None:
        certificate = found.sign(
            _brought(csr), name, Role(role.value), now=now, again=again, valid=valid or MEMBER_LASTS
        )
        write(file, certificate, PUBLIC)
        _say_signed(found, certificate, name, role, file, as_json)
        return
    invitation = found.invite(
        name,
        Role(role.value),
        address=address or _dialled(found.folder),
        now=now,
        again=again,
        valid=valid or timedelta(hours=24),
    )
    write(file, invitation.to_text().encode(), PRIVATE)
    said = {"name": name, "role": role.value, "address": invitation.address, "until": invitation.until.isoformat()}
    if as_json:
        document({**said, "file": str(file)})
        return
    console = screen()
    console.print(f"wrote {file}, an invitation for the {role.value} {name}", soft_wrap=True)
    console.print(pairs({"good once, until": _day(invitation.until), "to the Director at": invitation.address}))
    folder = f" {name}/identity" if role is Member.ENVOY else ""
    console.print(f"\nIt is a secret. Its bearer enrolls with:\n  hansa pki enroll {file.name}{folder}", soft_wrap=True)


@app.command()
def revoke(
    whom: Annotated[str, typer.Argument(metavar="NAME_OR_SERIAL", help="A member, or one certificate by its serial.")],
    authority: AuthorityFolder,
    why: Annotated[str, typer.Option(help="The reason, kept in the register.")] = "",
    as_json: Json = False,
) -> None:
    """Shut a member out, at once: a running Director ends their sessions. Their unused invitations are withdrawn too."""
    serials = opened(authority).revoke(whom, now=datetime.now(UTC), why=why)
    if as_json:
        document({"revoked": list(serials)})
        return
    console = screen()
    for serial in serials:
        console.print(f"revoked {serial}", soft_wrap=True)
    if not serials:
        console.print(f"nothing to revoke: all certificates of {whom} have expired or were revoked before")


@app.command("list")
def list_(authority: AuthorityFolder, as_json: Json = False) -> None:
    """Show every certificate that was issued, and which of them are good."""
    found, now = opened(authority), datetime.now(UTC)
    issued = found.issued()
    if as_json:
        document({"name": found.name, "certificates": [_described(each, now) for each in issued]})
        return
    rows = [
        (
            each.name,
            _ROLES.get(each.role.value, each.role.value),
            plain(state, _STYLES[state]),
            _day(each.until),
            each.serial,
            each.why,
        )
        for each in issued
        for state in [_state(each, now)]
    ]
    columns = ("name", "role", "state", "until", "serial", "why")
    screen().print(table(f"Certificates of the federation {found.name}", columns, rows))


_ROLES = {"newcomer": "an invitation"}
_STYLES = {"valid": "green", "expired": "yellow", "revoked": "red"}


def opened(folder: Path) -> Authority:
    """The authority in a folder, or in the folder `authority` of a Director's.

    Raises:
        CertificateError: there is none.
    """
    from hansa.pki import Authority
    from hansa.pki.authority import CERTIFICATE

    inner = folder / "authority"
    return Authority.open(inner if (inner / CERTIFICATE).exists() else folder)


def _brought(file: Path) -> bytes:
    from hansa.pki.files import read

    found = read(file)
    if found is None:
        raise CertificateError(
            "there is no such request", where=str(file), hint="make one with: hansa pki enroll --request NAME FOLDER"
        )
    return found


def _say_signed(authority: Authority, certificate: bytes, name: str, role: Member, file: Path, as_json: bool) -> None:
    from hansa.pki import expiry
    from hansa.pki.authority import CERTIFICATE

    until, ca = expiry(certificate), authority.folder / CERTIFICATE
    if as_json:
        said = {"name": name, "role": role.value, "until": until.isoformat()}
        document({**said, "file": str(file), "ca": str(ca)})
        return
    console = screen()
    console.print(f"wrote {file}, a certificate for the {role.value} {name}, good until {_day(until)}", soft_wrap=True)
    console.print(
        f"\nBring it back together with {ca}. There they are installed with:\n"
        f"  hansa pki enroll --install {file.name} --ca {ca.name} FOLDER",
        soft_wrap=True,
    )


def _dialled(authority: Path) -> str:
    """Where members reach the Director that this authority lies beside, as its file says."""
    from hansa.runtime.config import DirectorConfig, is_loopback, parse_address

    file = authority.parent / "director.toml"
    if not file.exists():
        raise ConfigError(
            "it is not known where members reach the Director",
            where=str(authority),
            hint="say it with --address HOST:PORT",
        )
    config = DirectorConfig.load(file)
    host, port = parse_address(config.address, listening=True)
    if not port:
        raise ConfigError(
            "the Director's port is the system's choice, another one each time", hint="say it with --address HOST:PORT"
        )
    far = [each for each in config.hosts if not is_loopback(each)]
    name = host if is_loopback(host) else (far or [host])[0]
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _state(each: Issued, now: datetime) -> str:
    return "revoked" if each.revoked is not None else "expired" if each.until < now else "valid"


def _described(each: Issued, now: datetime) -> dict[str, Any]:
    return {
        "name": each.name,
        "role": each.role.value,
        "serial": each.serial,
        "state": _state(each, now),
        "since": each.since.isoformat(),
        "until": each.until.isoformat(),
        "revoked": None if each.revoked is None else each.revoked.isoformat(),
        "why": each.why,
    }


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
