"""Whether the owner's shard can be read: the Envoy's own census, tried without a Director."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hansa.data.shards import ShardFacts
from hansa.errors import HansaError
from hansa.runtime.config import EnvoyConfig
from hansa.runtime.envoy.collaborators import Collaborators
from hansa.runtime.loop import run

LOG_END = 20_000
"""Characters of the child's log that are kept."""


@dataclass(frozen=True)
class Looked:
    """What came of it.

    Attributes:
        facts: what would be announced; None where there is a problem.
        problem: why nothing can be.
        log: the end of what the owner's code said while it was run. It may quote the data: it is for the owner alone.
    """

    facts: ShardFacts | None
    problem: HansaError | None
    log: str


def look(config: EnvoyConfig) -> Looked:
    """Read the owner's data in a child, under the Envoy's limits, as the Envoy does when it starts."""
    with tempfile.TemporaryDirectory(prefix="hansa-census-") as name:
        scratch = Path(name) / "census"
        collaborators = Collaborators(config, Path(name), Path(name))
        facts: ShardFacts | None = None
        problem: HansaError | None = None
        try:
            facts = ShardFacts.from_json(run(collaborators.census(scratch)))
        except HansaError as raised:
            problem = raised
            if problem.where.startswith(name):  # the log: it is shown, and will be gone
                problem.where = str(config.shard.folder)
        log = scratch.with_suffix(".log")
        said = log.read_text(errors="replace") if log.exists() else ""
    return Looked(facts, problem, said[-LOG_END:])
