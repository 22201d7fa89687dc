"""`hansa doctor`: is everything as it should be, and if not, what is to be done."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hansa.cli.options import DirectorAddress, Json
from hansa.cli.screen import document, plain, screen
from hansa.runtime.own import own_identity

_MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "problem": ("PROBLEM", "bold red")}


def doctor(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="A Director's, an Envoy's, or an identity; unless given, your own identity.", show_default=False
        ),
    ] = None,
    director: DirectorAddress = None,
    as_json: Json = False,
) -> None:
    """Check a Director's or an Envoy's folder, or your identity, and say what to do about each problem.

    Looked at are versions, certificates, private files, clocks, the network, the disk, the journal, which limits hold for
    experiments on this machine, and whether an owner's data can be read. Nothing is changed. The exit status is 1 if
    there is a problem.
    """
    from hansa.pki.identity import KEY
    from hansa.runtime.doctor.examination import examine
    from hansa.runtime.doctor.finding import Level

    if folder is None and (own_identity(None) / KEY).exists():
        folder = own_identity(None)
    console = screen(as_json)
    with console.status("looking"):
        examined = examine(folder, now=datetime.now(UTC), address=director)
    levels = [each.level for each in examined.findings]
    if as_json:
        document(
            {
                "what": examined.what,
                "folder": None if folder is None else str(folder),
                "healthy": Level.PROBLEM not in levels,
                "findings": [{**asdict(each), "level": each.level.value} for each in examined.findings],
            }
        )
    else:
        console.print(plain(examined.what + (f": {folder}" if folder is not None else ""), "bold"), soft_wrap=True)
        for each in examined.findings:
            mark, style = _MARKS[each.level.value]
            console.print(plain(f"{mark:<9}", style), plain(f"{each.check}: {each.found}"), sep="", soft_wrap=True)
            if each.hint and each.level is not Level.OK:
                console.print(plain(f"{'':<9}  what to do: {each.hint}", "dim"), soft_wrap=True)
        console.print(plain(_summary(levels.count(Level.PROBLEM), levels.count(Level.WARNING))))
    if Level.PROBLEM in levels:
        raise typer.Exit(1)


def _summary(problems: int, warnings: int) -> str:
    if not problems and not warnings:
        return "all is well"
    counts = [(problems, "problem"), (warnings, "warning")]
    return ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts if count)
