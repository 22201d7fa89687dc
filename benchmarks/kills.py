"""How often a federation can be killed: real processes, kill -9 at random times, and the bits must be those of no kill at all.

    python -m benchmarks.kills --kills 100 [--seed 1]

Each run is an experiment whose clients have private state and show it in the final model. While it runs, somebody is killed:
the Director, an Aggregator, an Envoy or a Collaborator, at a time drawn from the seed. It ends with a summary, and with a
status other than 0 at the first run that did not finish, or finished with other bits; `--keep` leaves its files to look at.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import hansa
from hansa.data.owners import Owner
from hansa.errors import HansaError, NotConnected
from hansa.experiment.package import pack
from hansa.protocol import codec
from hansa.runtime.local import DIRECTOR, LocalFederation
from hansa.testing import blobs

TESTS = Path(__file__).parents[1] / "tests" / "integration" / "federation"
EXPERIMENT, OWNED = TESTS / "experiments" / "scaffold.py", TESTS / "owned"
OWNERS = (
    Owner("alice", "shards:One", {"client": "0"}, OWNED),
    Owner("bob", "shards:Two", {"first": "1", "second": "2"}, OWNED),
)
CLIENTS = {"alice": "0", "bob/a": "1", "bob/b": "2"}
AGGREGATOR, COLLABORATOR = "an aggregator", "a collaborator"
VICTIMS = (DIRECTOR, "alice", "bob", AGGREGATOR, COLLABORATOR)

LONGEST = 1.2
"""Seconds from one kill to the next at most; a run that nobody disturbs takes about one."""

MOST_COLLABORATORS = 2
"""In one run: an Envoy gives a work up whose Collaborator has died three times at it, and says so."""

PATIENCE = 60.0
"""Seconds after which a run is taken to hang."""

OVER = ("finished", "failed", "cancelled")


@dataclass
class Tally:
    """What happened so far."""

    kills: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    runs: int = 0
    failures: list[str] = field(default_factory=list)


def expected() -> str:
    """The bits that the simulator gives."""
    loaded, everybody = hansa.load_experiment(EXPERIMENT), blobs()
    data = hansa.FederatedData(
        {client: everybody[cloud] for client, cloud in CLIENTS.items()},
        {client: everybody.test[cloud] for client, cloud in CLIENTS.items()},
    )
    return codec.digest(hansa.Federation.simulate(data).run(loaded.experiment).history.model)


def submit(federation: LocalFederation) -> str:
    """Submit the experiment; returns the run's id."""
    experiment = hansa.load_experiment(EXPERIMENT).experiment
    data = codec.encode(experiment.start())
    initial = federation.folder / "initial.safetensors"
    initial.write_bytes(data)
    named = (hashlib.sha256(data).hexdigest(), len(data))
    package = pack(EXPERIMENT, initial=named, name="kills", seed=experiment.seed, at_least=len(OWNERS))
    with federation.user() as user:
        return user.submit(package, initial)


def children(of: int) -> list[int]:
    """The processes that a process has started and that are still there, and theirs."""
    found = []
    for task in Path(f"/proc/{of}/task").glob("*/children"):
        try:
            direct = [int(pid) for pid in task.read_text().split()]
        except OSError:
            continue
        for pid in direct:
            found += [pid, *children(pid)]
    return found


def kill(federation: LocalFederation, victim: str, generator: random.Random) -> bool:
    """Kill somebody, if they are there."""
    if victim in (DIRECTOR, "alice", "bob"):
        federation.kill(victim)
        federation.start(victim)
        return True
    parents = [DIRECTOR] if victim == AGGREGATOR else ["alice", "bob"]
    found = [pid for name in parents for pid in children(federation.processes[name].pid)]
    if not found:
        return False
    try:
        os.kill(generator.choice(found), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def phase(federation: LocalFederation, run: str) -> tuple[str, str]:
    """Where a run stands, and why; nothing while the Director is away."""
    try:
        with federation.user() as user:
            shown = user.about(run)
    except NotConnected:
        return "", ""
    return shown["phase"], shown["why"]


def disturbed(federation: LocalFederation, bits: str, most: int, generator: random.Random, tally: Tally) -> None:
    """One run, with up to so many kills."""
    run, tally.runs = submit(federation), tally.runs + 1
    until, pause, left = time.monotonic() + PATIENCE, threading.Event(), most
    now, why, collaborators = "", "", 0
    next_kill = time.monotonic() + generator.uniform(0, LONGEST)
    while now not in OVER and time.monotonic() < until:
        if left and time.monotonic() >= next_kill:
            victim = generator.choice(VICTIMS)
            if victim == COLLABORATOR and collaborators == MOST_COLLABORATORS:
                continue
            if kill(federation, victim, generator):
                tally.kills[victim] += 1
                collaborators += victim == COLLABORATOR
                left -= 1
            else:
                tally.missed += 1
            next_kill = time.monotonic() + generator.uniform(0, LONGEST)
        now, why = phase(federation, run)
        pause.wait(0.02)
    if now != "finished":
        tally.failures.append(f"run {run} is {now or 'nowhere'}: {why}")
        return
    with federation.user() as user:
        found = codec.digest(user.history(run).model)
    if found != bits:
        tally.failures.append(f"run {run} has the bits {found}, and not {bits}")


def soak(folder: Path, kills: int, seed: int, at_once: int = 4) -> Tally:
    """Kill so many processes, one run after the other.

    Args:
        folder: for the federation's files.
        kills: how many processes to kill.
        seed: of who is killed, and when.
        at_once: the most kills in one run.
    """
    generator, tally, bits = random.Random(seed), Tally(), expected()  # noqa: S311 - no secret
    with LocalFederation(
        folder, OWNERS, change_director=lambda text: text.replace('beat = "20 s"', 'beat = "1 s"')
    ) as federation:
        federation.create()
        federation.up()
        while tally.kills.total() < kills and not tally.failures:
            if tally.runs:
                print(f"{tally.kills.total()} kills in {tally.runs} runs", flush=True)
            disturbed(federation, bits, min(at_once, kills - tally.kills.total()), generator, tally)
            federation.up()
    return tally


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how many processes to kill")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="to repeat it")
    parser.add_argument("--keep", type=Path, default=None, help="a new folder for the federation's files, which stay")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hansa-kills-") as scratch:
        try:
            tally = soak(asked.keep or Path(scratch) / "federation", asked.kills, asked.seed)
        except HansaError as problem:
            print(f"the federation did not come back: {problem}", file=sys.stderr)
            return 1
    each = ", ".join(f"{victim} {count}" for victim, count in sorted(tally.kills.items()))
    print(f"{tally.kills.total()} kills ({each}) in {tally.runs} runs, {time.monotonic() - began:.0f} s")
    for failure in tally.failures:
        print(f"FAILED: {failure}")
    print("bit-equal, every one" if not tally.failures else f"{len(tally.failures)} runs failed, seed {asked.seed}")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
