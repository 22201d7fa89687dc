"""`hansa status`: how the federation stands."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from hansa.cli.experiment import run_table
from hansa.cli.options import DirectorAddress, IdentityFolder, Json, connected
from hansa.cli.screen import document, lasting, plain, screen, sized, table


def status(director: DirectorAddress = None, identity: IdentityFolder = None, as_json: Json = False) -> None:
    """Show how the federation stands: the Director, its Envoys, and your runs."""
    with connected(director, identity) as user:
        overview = user.overview()
    if as_json:
        document(overview)
    else:
        show_status(overview, screen())


def show_status(overview: dict[str, Any], console: Console) -> None:
    """The tables."""
    director, now = overview["director"], time.time()
    up = lasting(director["clock"] - director["since"])
    console.print(plain(f"Director {director['name']}, Hansa {director['version']}, up for {up}", "bold"))
    if director["paused"]:
        console.print(plain(f"PAUSED: {director['paused']}", "bold white on red"), soft_wrap=True)
    if director["draining"]:
        console.print(plain("DRAINING: it is about to stop, and takes no new experiments", "bold black on yellow"))
    ahead = director["clock"] - now
    console.print(
        table("Envoys", ("envoy", "state", "clients", "examples", "labels", "offers", "data"), _rows(overview))
    )
    console.print(run_table(overview["runs"]) if overview["runs"] else "no runs yet")
    if abs(ahead) > 300:
        way = "ahead of" if ahead > 0 else "behind"
        console.print(plain(f"the Director's clock is {lasting(abs(ahead))} {way} this machine's", "yellow"))


def _rows(overview: dict[str, Any]) -> list[list[object]]:
    clock = overview["director"]["clock"]
    rows: list[list[object]] = []
    for envoy in overview["envoys"]:
        since = lasting(clock - envoy["since"])
        online = plain(f"online for {since}", "green") if envoy["online"] else plain(f"GONE for {since}", "bold red")
        held = [
            f"{sum(each.get(split, 0) for each in envoy['clients'].values())} {split}" for split in ("train", "test")
        ]
        labels = ", ".join(f"{name}={value}" for name, value in envoy["labels"].items())
        devices, what = ", ".join([*envoy["devices"], *_offered(envoy)]), envoy["description"]
        rows.append([envoy["name"], online, len(envoy["clients"]), ", ".join(held), labels, devices, what])
    return rows


def _offered(envoy: dict[str, Any]) -> list[str]:
    """How much of its machine a work may use, where the Envoy says so."""
    cores = envoy["cores"]
    return [f"{cores} core{'' if cores == 1 else 's'}"] * bool(cores) + [sized(envoy["memory"])] * bool(envoy["memory"])
