"""A federation of real processes in a folder of its own, and the experiments that are run on it."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hansa.data.owners import Owner
from hansa.experiment import load_experiment
from hansa.experiment.package import Package, pack
from hansa.protocol import codec
from hansa.runtime.local import LocalFederation
from hansa.runtime.user import User

GIVEN = Path(__file__).parent / "given"


@dataclass(frozen=True)
class Submission:
    """An experiment, ready to be submitted as often as one likes."""

    package: Package
    initial: Path

    @classmethod
    def of(cls, entry: Path, folder: Path, envoys: tuple[str, ...], requirements: tuple[str, ...] = ()) -> Submission:
        """Pack an experiment file for these Envoys; its initial model is written to the folder."""
        data = codec.encode(load_experiment(entry).experiment.start())
        initial = folder / f"{entry.stem}.safetensors"
        initial.write_bytes(data)
        named = (hashlib.sha256(data).hexdigest(), len(data))
        package = pack(entry, initial=named, requirements=requirements, envoys=envoys, at_least=len(envoys))
        return cls(package, initial)


@dataclass(frozen=True)
class Took:
    """Seconds of one run: from `submit` to each entry of its History, and to its end."""

    rounds: tuple[float, ...]
    whole: float


def ran(user: User, submission: Submission) -> Took:
    """Run an experiment to its end.

    Raises:
        RuntimeError: it did not finish.
    """
    began = time.perf_counter()
    rounds, last = list[float](), dict[str, Any]()
    for report in user.follow(user.submit(submission.package, submission.initial)):
        last = report.get("run", last)
        if "entry" in report:
            rounds.append(time.perf_counter() - began)
    if last["phase"] != "finished":
        raise RuntimeError(f"the run {last['phase']}: {last['why']}")
    return Took(tuple(rounds), time.perf_counter() - began)


@contextmanager
def federation(
    owners: int,
    *,
    change_director: Callable[[str], str] = lambda text: text,
    through: Callable[[int], int] = lambda port: port,
) -> Iterator[LocalFederation]:
    """A Director and so many Envoys, up and in session. Their files go with the context.

    Args:
        owners: how many.
        change_director: changes the Director's settings.
        through: is given the Director's port, and says which one the Envoys dial.
    """

    def dialled(text: str) -> str:
        port = int(made.address.rpartition(":")[2])
        return text.replace(f":{port}", f":{through(port)}")

    with tempfile.TemporaryDirectory(prefix="hansa-bench-") as folder:
        named = [Owner(f"owner-{n}", "shard:Few", {"number": n}, GIVEN) for n in range(owners)]
        with LocalFederation(
            Path(folder) / "federation", named, change_director=change_director, change_envoy=dialled
        ) as made:
            made.create()
            made.up()
            yield made


def echo(folder: Path, floats: int, rounds: int, *, leaves: int = 4) -> Path:
    """The echo experiment for a model of so many float32."""
    begin, settings, rest = (GIVEN / "echo.py").read_text().partition("SIZE, LEAVES, ROUNDS = ")
    path = folder / "echo.py"
    path.write_text(f"{begin}{settings}{floats}, {leaves}, {rounds}\n{rest.partition(chr(10))[2]}")
    return path
