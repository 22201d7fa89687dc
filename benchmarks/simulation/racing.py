"""Contestants as processes: started, asked for rounds in turn, and their answers collected.

This file must not know what they compute: see `contestant` for what is said.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from benchmarks.federation.processes import Watched
from benchmarks.simulation.tree import together

ROOT = Path(__file__).parents[2]
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NPROC": "1",
    "PJRT_NPROC": "1",
}
KEPT_HEAP = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "MALLOC_TOP_PAD_": "67108864",
}
"""glibc keeps what is freed: see the design's measured facts."""
XLA = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
EXPERTS = {**ONE_THREAD, **KEPT_HEAP, **XLA}
"""The environment of a floor. Ours gets none of it: nobody chooses anything."""


Role = Literal["ours", "floors", "peers"]


@dataclass(frozen=True, eq=False)
class Contestant:
    """A program that speaks as `contestant` says.

    Attributes:
        name: for people.
        command: starts it.
        cohort: who takes part in a round, by its number from 1.
        role: ours, a floor of ours, or a peer.
        environment: on top of ours.
        turns: it takes at most so many counted rounds; a slow one need not take all.
    """

    name: str
    command: Sequence[str]
    cohort: Callable[[int], Sequence[int]]
    role: Role
    environment: Mapping[str, str] = field(default_factory=dict)
    turns: int = 1_000


class Failed(Exception):
    """A contestant gave no answer; says why, as far as it told."""


class Running:
    """A contestant that has been started; a context that ends it with all that it has started."""

    def __init__(self, contestant: Contestant) -> None:
        self._contestant = contestant
        self._said = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - ended with us
        self._process: subprocess.Popen[str] = subprocess.Popen(
            contestant.command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **contestant.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._process.communicate(timeout=30)
        except (subprocess.TimeoutExpired, OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._said.close()

    def ready(self) -> None:
        """Wait until it is."""
        self._answer()

    def round(self, number: int) -> dict[str, float]:
        """Its answer to a line: seconds and loss."""
        assert self._process.stdin is not None  # noqa: S101 - it was given a pipe
        asked = {"round": number, "cohort": list(self._contestant.cohort(number))}
        try:
            print(json.dumps(asked), file=self._process.stdin, flush=True)
        except OSError:
            raise self._failed() from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - it was given a pipe
        line = self._process.stdout.readline()
        if not line:
            raise self._failed()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failed(self) -> Failed:
        self._process.wait(10)
        self._said.seek(0)
        return Failed(f"{self._contestant.name}: {self._said.read()[-1500:].strip()}")


@dataclass(frozen=True)
class Alone:
    """A contestant's first round, with nobody else running.

    Attributes:
        start: seconds from its command to being ready: imports, and finding the examples.
        first: seconds of its first round.
        peak_mb: the most memory that it and its children took until the end of its second round, in 10^6 bytes; the examples
            that it has read are part of that.
    """

    start: float
    first: float
    peak_mb: float


def alone(contestant: Contestant) -> Alone:
    """Start it, and let it run the first two rounds.

    Raises:
        Failed: it did not.
    """
    began = time.perf_counter()
    with Running(contestant) as running:
        running.ready()
        start = time.perf_counter() - began
        with Watched(lambda: together(running.pid)) as watched:
            first = running.round(1)["seconds"]
            running.round(2)
    return Alone(start, first, watched.most / 1e6)


@dataclass
class Raced:
    """What one contestant did.

    Attributes:
        seconds: of each counted round.
        losses: of every round, those before included; NaN where there is none.
        failed: why it gave up; empty where it did not.
    """

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    failed: str = ""


def in_turn(contestants: Sequence[Contestant], turns: int, warmup: int) -> dict[str, Raced]:
    """Every round by each of them, one after the other, so that a machine that slows down slows them all.

    Args:
        contestants: by different names.
        turns: how many rounds count.
        warmup: how many rounds before are not counted.
    """
    raced = {contestant.name: Raced() for contestant in contestants}
    with ExitStack() as stack:
        running = {contestant: stack.enter_context(Running(contestant)) for contestant in contestants}
        for contestant in contestants:
            _or_why(raced[contestant.name], running[contestant].ready)
        for number in range(1, warmup + turns + 1):
            for contestant, process in running.items():
                what = raced[contestant.name]
                if what.failed or number > warmup + contestant.turns:
                    continue
                if (answer := _or_why(what, functools.partial(process.round, number))) is not None:
                    what.losses.append(answer["loss"])
                    if number > warmup:
                        what.seconds.append(answer["seconds"])
    return raced


def _or_why(raced: Raced, ask: Callable[[], Any]) -> Any:
    """An answer, or None where there is none: then it is written down why."""
    try:
        return ask()
    except Failed as failure:
        raced.failed = str(failure)
        return None
