"""The review desk on a terminal: what waits, what is in it, what has changed, and a person's decision.

`hansa director review` and `hansa envoy review` are this, each at its own desk. Nothing that lies there is run.
"""

from __future__ import annotations

import getpass
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from hansa.cli.screen import document, lasting, pairs, plain, screen, sized, table, when
from hansa.errors import InputError, UnknownName

if TYPE_CHECKING:
    from hansa.experiment.desk import Desk, Offer
    from hansa.experiment.manifest import Manifest
    from hansa.experiment.review import Review

SHORT = 12
"""Digits of a hash in a list; any unique beginning of at least `LEAST` is understood."""
LEAST = 6

Hash = Annotated[
    str | None, typer.Argument(metavar="[HASH]", help="The experiment to read: its hash, or how it begins.")
]
Approve = Annotated[bool, typer.Option("--approve", help="Approve it without being asked.")]
Refuse = Annotated[str | None, typer.Option(metavar="WHY", help="Refuse it, and say why; its user reads that.")]
Full = Annotated[bool, typer.Option("--full", help="Show every file whole, also where only a part has changed.")]


def reviewed(
    store: Path,
    kind: str,
    folder: Path,
    content: str | None,
    approve: bool,
    refuse: str | None,
    full: bool,
    as_json: bool,
) -> None:
    """The command `review`.

    Args:
        store: whose desk it is.
        kind: "director" or "envoy", for the commands that are suggested.
        folder: its folder, likewise.
        content: the hash, or how it begins; None lists what waits.
        approve: without being asked.
        refuse: the reason to refuse it.
        full: show whole files.
        as_json: one document.
    """
    from hansa.experiment.desk import Desk

    if approve and refuse is not None:
        raise typer.BadParameter("--approve and --refuse exclude each other")
    if content is None and (approve or refuse is not None):
        raise typer.BadParameter("name the experiment that you decide about: its HASH")
    desk, command = Desk(store / "desk"), f"hansa {kind} review {folder}"
    if content is None:
        _list(desk, command, as_json)
        return
    offer = _found(desk, content)
    review, console = desk.review(offer.manifest.hash), screen(as_json)
    _show(review, offer, desk, console, full)
    decided = refuse is None and not approve and not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    if decided:
        approve, refuse = _asked(console)
    if approve or refuse is not None:
        desk.decide(offer.manifest.hash, approve, refuse or "", _who(), time.time())
        console.print(plain("approved" if approve else f"refused: {refuse}", "bold green" if approve else "bold red"))
    elif not as_json and desk.decision(offer.manifest.hash) is None:
        short = offer.manifest.hash[:SHORT]
        console.print(
            f"\nnot decided. Decide with:\n  {command} {short} --approve\n  {command} {short} --refuse WHY",
            soft_wrap=True,
        )
    if as_json:
        document(_described(review, offer, desk))


def _list(desk: Desk, command: str, as_json: bool) -> None:
    waiting = desk.waiting()
    if as_json:
        document([_offered(each) for each in waiting])
        return
    console, now = screen(), time.time()
    if not waiting:
        console.print("nothing waits for you")
        return
    rows = [
        (
            each.manifest.hash[:SHORT],
            each.manifest.name,
            ", ".join(each.signers),
            ", ".join(each.runs),
            lasting(now - each.at) if each.at else "",
        )
        for each in waiting
    ]
    console.print(table("Waiting for you", ("hash", "experiment", "signed by", "runs", "for"), rows))
    console.print(f"Read one with:\n  {command} HASH", soft_wrap=True)


def _found(desk: Desk, beginning: str) -> Offer:
    offers = {each.manifest.hash: each for each in desk.offers()}
    meant = [each for hash_, each in offers.items() if hash_.startswith(beginning)]
    if len(beginning) < LEAST or not meant:
        raise UnknownName.among("experiment on the review desk", beginning, [each[:SHORT] for each in offers])
    if len(meant) > 1:
        raise InputError(f"{len(meant)} experiments begin with {beginning!r}", hint="write more of the hash")
    return meant[0]


# --- showing


def _show(review: Review, offer: Offer, desk: Desk, console: Console, full: bool) -> None:
    manifest = review.manifest
    made = desk.decision(review.hash)
    state = "" if made is None else f"{'approved' if made.approved else 'refused'} by {made.by}, {when(made.at)}"
    chosen = [*manifest.envoys, *(f"{name}={value}" for name, value in manifest.labels.items())]
    console.print(
        pairs(
            {
                "experiment": manifest.name,
                "hash": review.hash,
                "signed by": ", ".join(review.signers),
                "wanted by": ", ".join(offer.runs),
                "asks of": ", ".join(chosen) or "every Envoy",
                "requires": ", ".join(_required(manifest)),
                "at least": f"{manifest.at_least} Envoys",
                "rounds": "" if manifest.rounds is None else manifest.rounds,
                "seed": manifest.seed,
                "needs": ", ".join(review.requirements) or "nothing besides Hansa",
                "Python": f"{manifest.python} or newer",
                "initial model": f"{sized(manifest.initial.size)}, sha256 {manifest.initial.sha256}",
                "decided": (state + (f": {made.why}" if made is not None and made.why else "")),
                "approved last": review.previous or "nothing of this name yet",
            }
        )
    )
    rows = [(each.path, sized(each.size), each.sha256) for each in review.files]
    console.print(table("Files", ("path", "size", "sha256"), rows, ("size",)))
    if review.previous is not None:
        _show_changes(review, console)
    if review.previous is None or full:
        for file in review.files:
            _headline(console, file.path)
            _code(console, file.text, "python" if file.path.endswith((".py", ".pyi")) else "text")


def _show_changes(review: Review, console: Console) -> None:
    console.print(plain("Since the version approved last", "bold"))
    lines = [f"  {name}: {before!r} is now {now!r}" for name, (before, now) in review.settings.items()]
    lines += [f"  needs also {each}" for each in review.requirements_added]
    lines += [f"  needs no longer {each}" for each in review.requirements_removed]
    for line in lines or ["  the settings and requirements are the same"]:
        console.print(plain(line), soft_wrap=True)
    if not review.changes:
        console.print("  no file has changed")
    for change in review.changes:
        _headline(console, f"{change.path} ({change.kind})")
        _code(console, change.diff or "(the same text; only its byte order mark differs)\n", "diff")


def _headline(console: Console, text: str) -> None:
    console.print()
    console.print(plain(f"── {text} ", "bold"), soft_wrap=True)


def _code(console: Console, text: str, language: str) -> None:
    """A text whole: coloured in a terminal, and byte for byte in a file or a pipe."""
    if console.is_terminal:
        from rich.syntax import Syntax

        theme, numbers = "ansi_dark", language != "diff"
        console.print(Syntax(text, language, theme=theme, line_numbers=numbers, word_wrap=True))
    else:
        console.print(Text(text.rstrip("\n")), soft_wrap=True)


# --- deciding


def _asked(console: Console) -> tuple[bool, str | None]:
    """Ask the person in front of the terminal: (approve, the reason to refuse); (False, None) where they decide later."""
    console.print()
    while True:
        answer = typer.prompt("Let it compute here? yes, no, or later", default="later").strip().lower()
        if answer in ("y", "yes"):
            return True, None
        if answer in ("n", "no"):
            return False, str(typer.prompt("Why not? Its user reads the reason", default="", show_default=False))
        if answer in ("l", "later"):
            return False, None


def _who() -> str:
    """The person at this machine, as the system calls them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"


def _required(manifest: Manifest) -> Iterator[str]:
    """What an owner must let it use."""
    if manifest.cores:
        yield f"{manifest.cores} core{'' if manifest.cores == 1 else 's'}"
    if manifest.memory:
        yield f"{sized(manifest.memory)} of memory"
    if manifest.device:
        yield f"the device {manifest.device}"


# --- as JSON


def _offered(offer: Offer) -> dict[str, Any]:
    manifest = offer.manifest
    return {
        "hash": manifest.hash,
        "name": manifest.name,
        "signers": list(offer.signers),
        "runs": list(offer.runs),
        "since": offer.at,
        "files": len(manifest.files),
        "requirements": list(manifest.requirements),
    }


def _described(review: Review, offer: Offer, desk: Desk) -> dict[str, Any]:
    made = desk.decision(review.hash)
    return {
        **_offered(offer),
        "at_least": review.manifest.at_least,
        "envoys": list(review.manifest.envoys),
        "labels": dict(review.manifest.labels),
        "requires": {name: getattr(review.manifest, name) for name in ("cores", "memory", "device")},
        "files": [asdict(each) for each in review.files],
        "previous": review.previous,
        "changes": [asdict(each) for each in review.changes],
        "requirements_added": list(review.requirements_added),
        "requirements_removed": list(review.requirements_removed),
        "settings": dict(_settings(review)),
        "decision": None if made is None else asdict(made),
    }


def _settings(review: Review) -> Iterator[tuple[str, list[Any]]]:
    for name, values in review.settings.items():
        yield name, [asdict(each) if name == "initial" else each for each in values]
