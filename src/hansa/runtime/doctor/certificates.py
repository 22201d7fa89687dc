"""Whether keys and certificates are as they should be: there, valid, for the right name, and private."""

from __future__ import annotations

import ipaddress
import os
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from hansa.errors import HansaError
from hansa.pki import Authority, Identity, expiry
from hansa.pki.certificates import load_certificate
from hansa.protocol.peer import Role
from hansa.runtime.doctor.finding import Finding, good, of_error, problem, warning

SOON = timedelta(days=30)
"""With less than this left, a certificate's owner is warned."""

_OTHERS = 0o077
_RENEW = "ask whoever runs the Director for a new invitation (hansa pki issue --again), and enroll in the same folder"
_RENEW_DIRECTOR = "hansa director init FOLDER --renew, and start the Director again"


def identity(
    folder: Path, *, now: datetime, role: Role | None, name: str = ""
) -> tuple[list[Finding], Identity | None]:
    """A member's key and certificate.

    Args:
        folder: the identity's.
        now: this moment, aware.
        role: what it should be; None for whoever submits experiments or sees to the federation.
        name: what it should be called; empty where nobody says.

    Returns:
        What was found, and the identity where it is usable.
    """
    try:
        mine = Identity.load(folder, now=now)
    except HansaError as error:
        found = of_error("certificate", error)
        if "valid only from" in error.what:
            found = problem("clock", error.what, "set this machine's clock")
        return [found], None
    who = f"{mine.peer.name} ({mine.peer.role.value})"
    hint = _RENEW_DIRECTOR if mine.peer.role is Role.DIRECTOR else _RENEW
    checks = [_lasting("certificate", f"{who}, ", mine.until, now, hint)]
    may = {role} if role is not None else {Role.USER, Role.ADMIN}
    if mine.peer.role not in may:
        wanted = " or ".join(sorted(each.value for each in may))
        checks.append(problem("role", f"this is {who}, and it should be: {wanted}", "use an identity of that role"))
    if name and mine.peer.name != name:
        hint = "use its own certificate, or its own name"
        checks.append(problem("name", f"the certificate is for {mine.peer.name!r}, the settings say {name!r}", hint))
    elif name:
        checks.append(good("name", f"{name!r} in the certificate and in the settings"))
    return checks, mine


def authority(folder: Path, mine: Identity | None, *, now: datetime) -> list[Finding]:
    """The authority beside a Director, and whether the Director's certificate is of it."""
    try:
        found = Authority.open(folder)
    except HansaError as error:
        return [of_error("authority", error)]
    hint = "the federation needs a new authority, and every member a new invitation"
    checks = [_lasting("authority", f"{found.name}, ", expiry(found.certificate), now, hint)]
    if mine is not None and mine.ca != found.certificate:
        checks.append(
            problem("authority", "the Director's certificate is not of the authority beside it", _RENEW_DIRECTOR)
        )
    return checks


def hosts(mine: Identity, wanted: tuple[str, ...]) -> list[Finding]:
    """Whether the Director's certificate is good for the hosts that its settings say."""
    names = load_certificate(mine.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    there = {each.lower() for each in names.get_values_for_type(x509.DNSName)}
    there |= {str(each) for each in names.get_values_for_type(x509.IPAddress)}
    lacking = [each for each in wanted if _normal(each) not in there]
    if lacking:
        what = f"the certificate is not good for {', '.join(lacking)}, which the settings say"
        return [problem("hosts", what, _RENEW_DIRECTOR)]
    return [good("hosts", f"the certificate is good for {', '.join(wanted)}")]


def private(*paths: Path) -> list[Finding]:
    """Whether nobody else can read these files and folders; those that are not there do not count."""
    there = [path for path in paths if os.name == "posix" and path.exists()]  # elsewhere modes say nothing
    open_ = [path for path in there if path.stat().st_mode & _OTHERS]
    if open_:
        hint = "; ".join(f"chmod {'700' if each.is_dir() else '600'} {each}" for each in open_)
        return [problem("private files", f"others can read {', '.join(map(str, open_))}", hint)]
    return [good("private files", f"only you can read {', '.join(each.name for each in there)}")] if there else []


def _lasting(check: str, who: str, until: datetime, now: datetime, hint: str) -> Finding:
    left = until - now
    if left < timedelta(0):
        return problem(check, f"{who}expired on {until:%Y-%m-%d}", hint)
    said = f"{who}good until {until:%Y-%m-%d}: {left.days} days left"
    return warning(check, said, hint) if left < SOON else good(check, said)


def _normal(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower()
