"""SCAFFOLD in miniature, for a linear model: clients with private state, an algorithm with a state of its own.

In its last round each client shows its private state, so that the final model tells whether any of it was lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

import hansa
from hansa.runtime.points import passes

ROUNDS, STEPS, RATE = 3, 4, 0.05

model = hansa.NumpyMLP((5, 3))


def train(broadcast: hansa.Tree, context: hansa.ClientContext) -> hansa.Update:
    """Local steps, corrected by the control variates."""
    examples = context.data["train"]
    x, target = np.asarray(examples["x"], np.float64), np.eye(3)[np.asarray(examples["y"])]
    mine = context.state.get("variate", np.zeros((5, 3)))
    weights = broadcast["weights"].copy()
    for step in range(STEPS):
        rows = context.key.child(step).generator().permutation(len(x))[:8]
        gradient = x[rows].T @ (x[rows] @ weights - target[rows]) / len(rows)
        weights -= RATE * (gradient - mine + broadcast["variate"])
        if step == STEPS // 2:
            passes("experiment: in the middle of the work")
    after = mine - broadcast["variate"] + (broadcast["weights"] - weights) / (STEPS * RATE)
    change = {"weights": weights - broadcast["weights"], "variate": after - mine}
    visits = np.asarray(context.state.get("visits", np.array(0)) + 1)
    metrics = hansa.Metrics({"length": hansa.Mean.of(float(np.abs(weights).sum()))})
    return hansa.Update(change, len(x), metrics, state={"variate": after, "visits": visits})


def show(_broadcast: hansa.Tree, context: hansa.ClientContext) -> hansa.Update:
    """The private state, as it is."""
    return hansa.Update(dict(context.state))


@dataclass(frozen=True)
class State:
    """Weights, control variate, completed rounds, and what was shown."""

    model: hansa.Tree
    round: int = 0
    shown: hansa.Tree | None = None


@dataclass(frozen=True)
class Scaffold:
    """See above."""

    rounds: int

    @property
    def works(self) -> Mapping[str, hansa.Work]:
        """Both."""
        return {"train": train, "show": show}

    def start(self, params: hansa.Tree, seed: int) -> State:
        """From zero."""
        del params, seed
        return State({"weights": np.zeros((5, 3)), "variate": np.zeros((5, 3))})

    def ask(self, state: State, population: hansa.Population) -> hansa.Ask | None:
        """Train, and in the end show."""
        cohort, number = tuple(population.ids), state.round
        if number < self.rounds:
            return hansa.Ask("train", state.model, cohort, hansa.WeightedMean(), number + 1, number, form=state.model)
        if state.shown is None:
            return hansa.Ask("show", {}, cohort, hansa.Collect(), number + 1, number)
        return None

    def tell(self, state: State, reply: hansa.Reply) -> State:
        """Move, or keep what was shown."""
        if reply.work == "show":
            return replace(state, round=state.round + 1, shown=dict(reply.aggregate))
        moved = hansa.tree.add(state.model, reply.aggregate)
        return replace(state, round=state.round + 1, model=moved)

    def params(self, state: State) -> hansa.Tree:
        """The weights, and everybody's private state in the end."""
        return {**state.model, **(state.shown or {})}

    def round(self, state: State) -> int:
        """Completed ones."""
        return state.round


experiment = hansa.Experiment(model, Scaffold(ROUNDS), seed=6, name="scaffold")
