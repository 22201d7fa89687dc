"""A model of 100 MB and four Envoys: bytes on the wire, transfers, and whole rounds, against a bare stream in the same run."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.federation.ground import Submission, echo, federation, ran
from benchmarks.federation.movers import Movers
from benchmarks.federation.rows import at_least, at_most, row
from benchmarks.federation.tally import Tally
from hansa.protocol.peer import Role
from hansa.testing.certificates import ThrowAwayAuthority

FLOATS, CLIENTS, TURNS = 25_000_000, 4, 5
SIZE = 4 * FLOATS
MB = 1e6
MOVED = 2 * CLIENTS * SIZE / MB
"""Megabytes of a round: down once for each Envoy, and up once for each client."""


def run() -> list[dict[str, Any]]:
    """The floor, its parts, ours, and the bytes."""
    with tempfile.TemporaryDirectory(prefix="hansa-bench-") as place, _bare(Path(place) / "bare") as bare:
        folder = Path(place)
        rows = [row(name, values, "MB/s") for name, values in _alone(folder).items()]
        rows += _transfers(folder, bare)
        rows += _rounds(folder, bare)
    return [*rows, *_bytes()]


def _alone(folder: Path) -> dict[str, list[float]]:
    """One process and nothing else: hash, write, fsync of one model's bytes; megabytes a second."""
    content, piece = memoryview(os.urandom(SIZE)), 1 << 20
    found: dict[str, list[float]] = {"one sha256 alone": [], "one write alone": [], "one fsync after it": []}
    for _ in range(TURNS):
        with (folder / "alone").open("wb", buffering=0) as file:
            marks = [time.perf_counter()]
            sha = hashlib.sha256()
            for at in range(0, SIZE, piece):
                sha.update(content[at : at + piece])
            marks.append(time.perf_counter())
            for at in range(0, SIZE, piece):
                file.write(content[at : at + piece])
            marks.append(time.perf_counter())
            os.fsync(file.fileno())
            marks.append(time.perf_counter())
        for name, begin, end in zip(found, marks, marks[1:], strict=False):
            found[name].append(SIZE / MB / (end - begin))
    return found


@contextmanager
def _bare(folder: Path) -> Iterator[Movers]:
    """Clients of a bare stream, one process each."""
    authority = ThrowAwayAuthority()
    folder.mkdir()
    for name, role in (("server", Role.DIRECTOR), ("client", Role.ENVOY)):
        proof = authority.credentials(name, role, hosts=("127.0.0.1",))
        (folder / name).mkdir()
        for part, content in (("key", proof.key), ("certificate", proof.certificate), ("authority", proof.authority)):
            (folder / name / part).write_bytes(content)
    module = "benchmarks.federation.bare"
    with Movers([[module, "serve", str(folder / "server"), str(SIZE)]]) as server:
        port = server.heard()[0]
        with Movers([[module, "client", str(folder / "client"), port, str(SIZE)]] * CLIENTS) as clients:
            clients.heard()
            yield clients


def _transfers(folder: Path, bare: Movers) -> list[dict[str, Any]]:
    """Transfers alone: to durable acceptance at either side, nobody working meanwhile."""
    floor, ours, shares = _Speeds(), _Speeds(), list[float]()
    names = tuple(f"light-{n}" for n in range(CLIENTS))
    with federation(0) as made, made.user() as user, ExitStack() as stack:
        commands = []
        for name in names:
            made.identify(made.folder / name / "identity", name, Role.ENVOY)
            commands.append(["benchmarks.federation.envoy", str(made.folder / name), made.address, name])
        movers = stack.enter_context(Movers(commands))
        movers.heard()
        _until(lambda: len(user.overview()["envoys"]) == CLIENTS)
        submission = Submission.of(echo(folder, FLOATS, TURNS + 1), folder, names)
        user.submit(submission.package, submission.initial)
        for turn in range(TURNS + 1):
            floor_took = bare.timed("down"), bare.timed("up")
            movers.timed("assigned")
            down = movers.timed("down")
            movers.timed("prepare")
            took = down, movers.timed("up")
            movers.timed("answer")
            if turn:
                floor.add(floor_took)
                ours.add(took)
                shares.append(100 * sum(floor_took) / sum(took))
    return [
        *floor.rows("bare stream"),
        *ours.rows("ours, durable"),
        at_least("ours, durable, of the bare stream", shares, "%", 40),
    ]


def _rounds(folder: Path, bare: Movers) -> list[dict[str, Any]]:
    """Whole rounds of clients that return what they got: from one entry of the History to the next."""
    floor, ours, shares = list[float](), list[float](), list[float]()
    with federation(CLIENTS) as made, made.user() as user:
        submission = Submission.of(echo(folder, FLOATS, 3), folder, tuple(made.owners))
        for turn in range(TURNS):
            floor_took = bare.timed("down") + bare.timed("up")
            rounds = ran(user, submission).rounds
            took = (rounds[-1] - rounds[0]) / (len(rounds) - 1)
            if turn:
                floor.append(floor_took)
                ours.append(took)
                shares.append(100 * floor_took / took)
    return [
        row("bare stream, both ways, beside the rounds", floor, "s"),
        row("a whole round", ours, "s"),
        at_least("a whole round, of the bare stream", shares, "%", 20),
    ]


def _bytes() -> list[dict[str, Any]]:
    """What goes over the wire in two rounds, by what must."""
    rounds = 2
    with tempfile.TemporaryDirectory(prefix="hansa-bench-") as folder, ExitStack() as stack:
        tallies: dict[int, Tally] = {}

        def through(port: int) -> int:
            if port not in tallies:
                tallies[port] = stack.enter_context(Tally(port))
            return tallies[port].port

        with federation(CLIENTS, through=through) as made, made.user() as user:
            submission = Submission.of(echo(Path(folder), FLOATS, rounds), Path(folder), tuple(made.owners))
            (tally,) = tallies.values()
            before = tally.up + tally.down
            ran(user, submission)
            moved = tally.up + tally.down - before
    must = 2 * CLIENTS * submission.package.manifest.initial.size * rounds
    return [at_most("bytes on the wire, by the models that must travel", [moved / must], "×", 1.02)]


class _Speeds:
    """Megabytes a second of transfers down and up."""

    def __init__(self) -> None:
        self.down, self.up, self.both = list[float](), list[float](), list[float]()

    def add(self, took: tuple[float, float]) -> None:
        down, up = took
        self.down.append(MOVED / 2 / down)
        self.up.append(MOVED / 2 / up)
        self.both.append(MOVED / (down + up))

    def rows(self, name: str) -> list[dict[str, Any]]:
        return [row(f"{name}, {way}", getattr(self, way), "MB/s") for way in ("down", "up", "both")]


def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.05)
