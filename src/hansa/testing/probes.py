"""A work and a rule that show what an executor does with them. They pickle, so that they may run in other processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hansa.core import tree
from hansa.core.metrics import Metrics, Sum
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import AggregationError
from hansa.rules import Collect

FATES = {
    "raise": "failed",
    "exit": "failed",
    "nothing": "failed",
    "nan": "rejected",
    "infinity": "rejected",
    "shape": "rejected",
    "dtype": "rejected",
    "leaves": "rejected",
    "negative weight": "rejected",
    "nan weight": "rejected",
    "infinite weight": "rejected",
}
"""What a client may be told to do in its setting "act", and what should become of it."""


def broadcast(value: float) -> Tree:
    """What the probe is sent."""
    return {"value": np.full(3, value, np.float32)}


def probe(given: Tree, context: ClientContext) -> Update:
    """A work that reports what it was given: broadcast, data, key, round, settings, inputs and private state.

    The setting "act" makes it misbehave (see `FATES`), or give an update of weight zero ("no weight"). Its private state
    counts the visits that counted.
    """
    act, visits = context.settings.get("act", ""), context.state.get("visits", np.zeros((), np.int64))
    if act == "raise":
        raise RuntimeError("this client was told to raise")
    if act == "exit":
        raise SystemExit(3)
    if act == "nothing":
        return None  # type: ignore[return-value]  # the mistake that this is about
    report: Tree = {
        "value": given["value"].copy(),
        "key": np.frombuffer(context.key.digest(), np.uint8).copy(),
        "round": np.array(context.round),
        "number": np.array(context.settings.get("number", 0), np.int64),
        "addressed": context.inputs.get("addressed", np.zeros(())).astype(np.float64),
        "visits": visits.astype(np.int64),
        "train": _sum_of(context, "train"),
        "test": _sum_of(context, "test"),
    }
    weight = {
        "negative weight": -1.0,
        "nan weight": float("nan"),
        "infinite weight": float("inf"),
        "no weight": 0.0,
    }.get(str(act), 2.0)
    if act in ("nan", "infinity"):
        report["value"][1] = np.nan if act == "nan" else np.inf
    elif act == "shape":
        report["value"] = np.zeros(4, np.float32)
    elif act == "dtype":
        report["value"] = report["value"].astype(np.float64)
    elif act == "leaves":
        del report["value"]
    return Update(report, weight, Metrics({"visits": Sum.of(1)}), state={"visits": np.array(visits + 1)})


def _sum_of(context: ClientContext, split: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    held = context.data.get(split)
    return np.array(-1.0 if held is None else held.all()["x"].sum(), np.float64)


@dataclass(frozen=True)
class Witness(Collect):
    """Collect, which also takes down each update's staleness, and which knows what it expects: see `probe`."""

    def check(self, accumulator: dict[str, Tree], update: Update) -> None:
        """Raise `TreeMismatch` for anything but the probe's report."""
        super().check(accumulator, update)
        if update.state is not None:
            raise AggregationError("a private state left its client")
        tree.check_alike(update.tree, REPORT)

    def accumulate(self, accumulator: dict[str, Tree], update: Update) -> dict[str, Tree]:
        """One update more."""
        self.check(accumulator, update)
        staleness, weight = np.array(update.staleness), np.array(update.weight)
        return {**accumulator, update.client: {**update.tree, "staleness": staleness, "weight": weight}}

    def merge(self, a: dict[str, Tree], b: dict[str, Tree]) -> dict[str, Tree]:
        """The updates of both."""
        return {**a, **b}


REPORT: Tree = {
    "value": np.zeros(3, np.float32),
    "key": np.zeros(32, np.uint8),
    "round": np.zeros((), np.int64),
    "number": np.zeros((), np.int64),
    "addressed": np.zeros(()),
    "visits": np.zeros((), np.int64),
    "train": np.zeros(()),
    "test": np.zeros(()),
}
"""The form of what the probe gives."""
