"""FedAvg whose clients do as a word in the file says: what may go wrong in an experiment, and what may not leave with it."""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import hansa

ACT = "nothing"  # a test writes another word here
WHO = "alice"  # who does it
SECRET = ""  # and what is stolen


class Surprise(Exception):
    """Raised by those who raise."""


def hungry() -> None:
    """Take all memory."""
    held = []
    while True:
        held.append(np.ones(2**24))


def endless() -> None:
    """Never come back."""
    while True:
        pass


def steal() -> None:
    """Say on the channel that a file of somebody else's is the update."""
    frame: Any = sys._getframe()
    while "channel" not in frame.f_locals:
        frame = frame.f_back
    frame.f_locals["channel"].send({"worked": {"update": SECRET, "state": None, "weight": "1.0", "metrics": "{}"}})
    endless()


def act(what: str) -> None:
    """Do it."""
    match what:
        case "raise":
            raise Surprise("a text")
        case "exit":
            os._exit(3)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hungry":
            hungry()
        case "endless":
            endless()
        case "steal":
            steal()


@dataclass(frozen=True)
class Work:
    """The clients'."""

    buffers: frozenset[str] = field(default_factory=frozenset)

    def __call__(self, broadcast: hansa.Tree, context: hansa.ClientContext) -> hansa.Update:
        """Perhaps something else first."""
        if context.id == WHO:
            act(ACT)
        return hansa.Update({name: np.ones_like(leaf) for name, leaf in broadcast.items()})


@dataclass(frozen=True, kw_only=True)
class Centre(hansa.FedAvg):
    """The Aggregator's."""

    def tell(self, state: Any, reply: hansa.Reply) -> Any:
        """Perhaps something else first."""
        if WHO == "aggregator":
            act(ACT)
        return super().tell(state, reply)

    @property
    def works(self) -> Mapping[str, hansa.Work]:
        """One."""
        return {"train": self.local}


HERE = f"/{WHO}/" in os.getcwd() or (WHO == "aggregator" and "/director/" in os.getcwd())
if ACT == "refuse to load" and HERE:
    raise Surprise("a text")
if ACT == "never load" and HERE:
    endless()

model = hansa.NumpyMLP((5, 3))
experiment = hansa.Experiment(model, Centre(Work(), rounds=2), name="acting")
