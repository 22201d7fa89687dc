"""FedAvg whose rounds close as a test says; some clients wait at gates or fail, and one may be left out."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import hansa

# --- a test writes these
GATES = Path("nowhere")
CLOSING = hansa.Closing.all()
ROUNDS = 2
WAIT: dict[tuple[str, int], str] = {}
FAILS: dict[str, int] = {}
TIRED = ""
SAMPLER: hansa.ClientSampler = hansa.AllClients()
# ---


def at(gate: str) -> None:
    """Say that somebody stands at a gate, and wait until it is opened."""
    (GATES / f"{gate}.reached").touch()
    while not (GATES / f"{gate}.open").exists():
        threading.Event().wait(0.02)


def tries(client: str) -> int:
    """How often this client tries, this time included."""
    attempts = GATES / f"{client.replace('/', '-')}.tries"
    with attempts.open("a") as file:
        file.write("x")
    return len(attempts.read_text())


@dataclass(frozen=True)
class Work:
    """Adds one to every parameter, perhaps after a while, perhaps not at the first attempt."""

    buffers: frozenset[str] = field(default_factory=frozenset)

    def __call__(self, broadcast: hansa.Tree, context: hansa.ClientContext) -> hansa.Update:
        """Perhaps wait, perhaps fail."""
        if (gate := WAIT.get((context.id, context.round))) is not None:
            at(gate)
        if tries(context.id) <= FAILS.get(context.id, 0):
            raise RuntimeError("not yet")
        return hansa.Update({name: np.ones_like(leaf) for name, leaf in broadcast.items()})


@dataclass(frozen=True)
class Without:
    """Leaves one client out."""

    inner: hansa.FedAvg
    client: str

    @property
    def works(self) -> Mapping[str, Any]:
        """The inner algorithm's."""
        return self.inner.works

    def start(self, params: hansa.Tree, seed: int) -> Any:
        """As the inner one."""
        return self.inner.start(params, seed)

    def ask(self, state: Any, population: hansa.Population) -> hansa.Ask | None:
        """What it asks of the others."""
        ask = self.inner.ask(state, population.without([self.client]))
        return ask if ask is None else replace(ask, left_out={self.client: "it is tired"})

    def tell(self, state: Any, reply: hansa.Reply) -> Any:
        """As the inner one."""
        return self.inner.tell(state, reply)

    def params(self, state: Any) -> hansa.Tree:
        """As the inner one."""
        return self.inner.params(state)

    def round(self, state: Any) -> int:
        """As the inner one."""
        return self.inner.round(state)


model = hansa.NumpyMLP((5, 3))
averaging = hansa.FedAvg(Work(), rounds=ROUNDS, sampler=SAMPLER, closing=CLOSING)
experiment = hansa.Experiment(model, Without(averaging, TIRED) if TIRED else averaging, name="policies")
