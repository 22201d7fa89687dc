"""The demo's federation for real: a certificate authority, a Director and four Envoys, as processes over mutual TLS."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from hansa.core.history import Entry, History
from hansa.data.datasets import FOLDER
from hansa.data.owners import Owner
from hansa.demo.scenario import EVALUATOR, OWNERS, Scenario
from hansa.errors import ChildDied
from hansa.experiment.package import Package, pack
from hansa.experiment.reference import threads
from hansa.protocol import codec
from hansa.runtime.local import LocalFederation

SHARD = "hansa.demo.shard:DigitsShard"

SOURCE = '''"""The demo's experiment: see hansa/demo/scenario.py for what it says."""

from hansa.demo.scenario import Scenario

experiment = Scenario({dataset!r}, rounds={rounds}, seed={seed}).federated()
'''
"""What is shipped to the owners."""


def run(scenario: Scenario, tell: Callable[[str], None], follow: Callable[[Entry, int], None]) -> History:
    """Start everything, submit the experiment, follow it to its end, and stop everything.

    Args:
        scenario: the demo's.
        tell: is told, for people, what is being done.
        follow: is told each entry of the History, and how many rounds are completed.

    Raises:
        RunFailed: the run came to nothing.
        FederationError: the federation did not come up.
    """
    with tempfile.TemporaryDirectory(prefix="hansa-demo-") as folder:
        with LocalFederation(Path(folder) / "federation", _owners(scenario)) as federation:
            tell("making a certificate authority, a Director and four Envoys")
            federation.create()
            initial = Path(folder) / "initial.safetensors"
            with _begun(scenario, initial) as writing:
                federation.up()
                tell(f"a Director at {federation.address} and {len(federation.owners)} Envoys are up")
                if writing.wait():
                    raise ChildDied("the initial model could not be made", hint="its error stands above")
            package = _package(scenario, Path(folder), initial)
            with federation.user() as user:
                submitted = user.submit(package, initial)
                for report in user.follow(submitted):
                    if "entry" in report:
                        entry = Entry.from_json(report["entry"])
                        follow(entry, entry.round)
                history = user.wait(submitted)
            tell("stopping the federation")
        return history


def _owners(scenario: Scenario) -> list[Owner]:
    data = os.environ.get(FOLDER) or str(Path(platformdirs.user_cache_dir("hansa")) / "datasets")
    shared = {"dataset": scenario.dataset, "folder": str(Path(data).absolute()), "seed": scenario.seed}
    return [Owner(name, SHARD, {"owner": name, **shared}) for name in (*OWNERS, EVALUATOR)]


def _begun(scenario: Scenario, path: Path) -> subprocess.Popen[bytes]:
    """A process that writes the initial model: so this one need not hold PyTorch while five others do."""
    arguments = [scenario.dataset, str(scenario.rounds), str(scenario.seed), str(path)]
    command = "import sys; from hansa.demo.real import write_initial; write_initial(*sys.argv[1:])"
    return subprocess.Popen([sys.executable, "-c", command, *arguments], stdin=subprocess.DEVNULL)  # noqa: S603 - our own code


def write_initial(dataset: str, rounds: str, seed: str, path: str) -> None:
    """Write the model that the demo starts from; the arguments are texts, as they come from a command line."""
    with threads("reference"):
        initial = Scenario(dataset, int(rounds), int(seed)).federated().start()
    codec.write(initial, Path(path))


def _package(scenario: Scenario, folder: Path, initial: Path) -> Package:
    entry = folder / "source" / "experiment.py"
    entry.parent.mkdir()
    entry.write_text(SOURCE.format(dataset=scenario.dataset, rounds=scenario.rounds, seed=scenario.seed))
    data = initial.read_bytes()
    return pack(
        entry,
        initial=(hashlib.sha256(data).hexdigest(), len(data)),
        requirements=("torch",),
        name="demo",
        envoys=(*OWNERS, EVALUATOR),
        at_least=len(OWNERS) + 1,
        seed=scenario.seed,
        rounds=scenario.rounds,
    )
