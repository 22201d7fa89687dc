"""FedAvg with a quorum and a deadline; in some rounds clients wait until a test lets them go on."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import hansa

GATES = Path("nowhere")  # a test writes a folder here
DEADLINE = 2.0
WAIT = {("alice", 2): "alice", ("bob/a", 3): "bob", ("bob/b", 4): "last"}


def at(gate: str) -> None:
    """Say that somebody stands at a gate, and wait until it is opened."""
    (GATES / f"{gate}.reached").touch()
    while not (GATES / f"{gate}.open").exists():
        threading.Event().wait(0.02)


@dataclass(frozen=True)
class Work:
    """Alice waits in the second round, Bob's first client in the third, his second in the last."""

    buffers: frozenset[str] = field(default_factory=frozenset)

    def __call__(self, broadcast: hansa.Tree, context: hansa.ClientContext) -> hansa.Update:
        """Perhaps wait."""
        if (gate := WAIT.get((context.id, context.round))) is not None:
            at(gate)
        return hansa.Update({name: np.ones_like(leaf) for name, leaf in broadcast.items()})


model = hansa.NumpyMLP((5, 3))
closing = hansa.Closing.quorum(2, deadline=DEADLINE)
experiment = hansa.Experiment(model, hansa.FedAvg(Work(), rounds=4, closing=closing), name="gated")
