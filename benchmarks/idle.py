"""A thousand Envoys that wait: what their Director takes, and how soon they are back after it was killed."""

from __future__ import annotations

import itertools
import time
from typing import Any

from benchmarks.federation.ground import federation
from benchmarks.federation.movers import Movers
from benchmarks.federation.processes import cpu, resident
from benchmarks.federation.rows import at_most, row
from hansa.errors import NotConnected
from hansa.protocol.peer import Role
from hansa.runtime.local import DIRECTOR
from hansa.runtime.user import User

ENVOYS, CROWDS, WATCHED, PATIENCE = 1000, 2, 60.0, 180.0
"""Envoys, and the processes that hold them; seconds over which the Director is watched, and those that are waited at most."""


def run() -> list[dict[str, Any]]:
    """Memory, processor time, and the return."""
    with federation(0) as made:
        for number in range(ENVOYS):
            made.identify(made.folder / "crowd" / f"idle-{number}", f"idle-{number}", Role.ENVOY)
        alone = resident(made.processes[DIRECTOR].pid)
        bounds = [ENVOYS * n // CROWDS for n in range(CROWDS + 1)]
        where = ["benchmarks.federation.crowd", str(made.folder / "crowd"), made.address]
        began = time.perf_counter()
        with Movers([[*where, str(first), str(last)] for first, last in itertools.pairwise(bounds)]):
            with made.user() as user:
                _all_there(user)
            came = time.perf_counter() - began
            time.sleep(5)
            pid = made.processes[DIRECTOR].pid
            before, began = cpu(pid), time.perf_counter()
            time.sleep(WATCHED)
            share = 100 * (cpu(pid) - before) / (time.perf_counter() - began)
            most = resident(pid)
            began = time.perf_counter()
            made.kill(DIRECTOR)
            made.start(DIRECTOR)
            with made.user() as user:
                _all_there(user)
            back = time.perf_counter() - began
            after = resident(made.processes[DIRECTOR].pid)
    return [
        row("the Director alone, in memory", [alone / 1e6], "MB"),
        at_most(f"the Director with {ENVOYS} Envoys, in memory", [most / 1e6], "MB", 300),
        at_most("the same after its restart", [after / 1e6], "MB", 300),
        row("one Envoy more", [(most - alone) / 1e3 / ENVOYS], "KB"),
        at_most("heartbeats, at one in 20 s", [share], "% of a core", 5),
        row("all there for the first time, their processes' start included", [came], "s"),
        at_most("all back after kill -9 and start", [back], "s", 30),
    ]


def _all_there(user: User) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            here = sum(envoy["online"] for envoy in user.overview()["envoys"])
        except NotConnected:
            here = 0
        if here == ENVOYS:
            return
        if time.monotonic() > until:
            raise RuntimeError(f"{here} of {ENVOYS} Envoys are there after {PATIENCE:g} s")
        time.sleep(0.25)
