"""The demo's federation for real: a certificate authority, a Director and four Envoys, as processes over mutual TLS."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from hansa.core.history import Entry, History
from hansa.data.datasets import FOLDER
from hansa.demo.scenario import EVALUATOR, OWNERS, Scenario
from hansa.experiment.package import Package, pack
from hansa.experiment.reference import threads
from hansa.protocol import codec
from hansa.runtime.local import LocalFederation, LocalOwner

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
            federation.up()
            tell(f"a Director at {federation.address} and {len(federation.owners)} Envoys are up")
            initial = Path(folder) / "initial.safetensors"
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


def _owners(scenario: Scenario) -> list[LocalOwner]:
    data = os.environ.get(FOLDER) or str(Path(platformdirs.user_cache_dir("hansa")) / "datasets")
    shared = {"dataset": scenario.dataset, "folder": str(Path(data).absolute()), "seed": scenario.seed}
    return [LocalOwner(name, SHARD, {"owner": name, **shared}) for name in (*OWNERS, EVALUATOR)]


def _package(scenario: Scenario, folder: Path, initial: Path) -> Package:
    entry = folder / "source" / "experiment.py"
    entry.parent.mkdir()
    entry.write_text(SOURCE.format(dataset=scenario.dataset, rounds=scenario.rounds, seed=scenario.seed))
    with threads("reference"):
        data = codec.encode(scenario.federated().start())
    initial.write_bytes(data)
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
