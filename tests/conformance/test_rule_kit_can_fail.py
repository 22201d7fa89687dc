"""The kit of aggregation rules rejects a rule for each law that it could break."""

# ruff: noqa: ARG002 - signatures are the port's, whatever a broken one makes of them

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from hansa.core.tree import Tree, check_alike
from hansa.core.work import Update
from hansa.rules import Collect, WeightedMean
from hansa.rules.mean import MeanSoFar
from hansa.testing import check_rule

FAR = np.array([1e8, 1.0, -1e8, 1e-3, 3.0], np.float32)
UPDATES = [Update({"w": np.full(2, value, np.float32)}, n + 1.0, client=f"c{n}") for n, value in enumerate(FAR)]
SHAPELESS = Update({"w": np.zeros(3, np.float32)}, client="other")


@dataclass(frozen=True)
class Naive:
    """Σ w·x / Σ w in float32, as one would write it first."""

    grows = False

    def zero(self) -> Any:
        return None

    def check(self, accumulator: Any, update: Update) -> None:
        if accumulator is not None:
            check_alike(update.tree, accumulator[0])

    def accumulate(self, accumulator: Any, update: Update) -> Any:
        self.check(accumulator, update)
        weight = np.float32(update.weight)
        return self.merge(accumulator, ({name: leaf * weight for name, leaf in update.tree.items()}, weight))

    def merge(self, a: Any, b: Any) -> Any:
        if a is None or b is None:
            return a if b is None else b
        return {name: a[0][name] + b[0][name] for name in a[0]}, a[1] + b[1]

    def finish(self, accumulator: Any) -> Tree:
        tree, weight = accumulator
        return {name: leaf / weight for name, leaf in tree.items()}


class InPlace(Naive):
    def accumulate(self, accumulator: Any, update: Update) -> Any:
        if accumulator is None:
            return update.tree, np.float32(1)
        for name, leaf in accumulator[0].items():
            leaf += update.tree[name]
        return accumulator[0], accumulator[1] + np.float32(1)


class Finishing(WeightedMean):
    """Right, but for what `finish` gives."""

    def finish(self, accumulator: MeanSoFar) -> Tree:
        return {name: leaf.astype(np.float64) for name, leaf in super().finish(accumulator).items()}


class Renaming(WeightedMean):
    def finish(self, accumulator: MeanSoFar) -> Tree:
        return {f"mean/{name}": leaf for name, leaf in super().finish(accumulator).items()}


class CountingZero(WeightedMean):
    """Its zero has a weight."""

    def zero(self) -> MeanSoFar:
        return replace(super().zero(), weight=super().zero().weight + 1)

    def merge(self, a: MeanSoFar, b: MeanSoFar) -> MeanSoFar:
        merged = super().merge(a, b)
        return replace(merged, weight=a.weight + b.weight)


class LeftZero(WeightedMean):
    """Loses what is merged into nothing."""

    def merge(self, a: MeanSoFar, b: MeanSoFar) -> MeanSoFar:
        return a if a.like is None and b.updates > 1 else super().merge(a, b)

    def finish(self, accumulator: MeanSoFar) -> Tree:
        return super().finish(accumulator) if accumulator.like else {"w": np.zeros(2, np.float32)}


class MeanOfMeans(WeightedMean):
    """Every partial mean counts alike."""

    def merge(self, a: MeanSoFar, b: MeanSoFar) -> MeanSoFar:
        if a.like is None or b.like is None:
            return super().merge(a, b)
        halves = [Update(self.finish(part), 1.0) for part in (a, b)]
        return self.accumulate(self.accumulate(self.zero(), halves[0]), halves[1])


class Last(Collect):
    """The last update wins."""

    def accumulate(self, accumulator: dict[str, Tree], update: Update) -> dict[str, Tree]:
        return {"": update.tree}

    def finish(self, accumulator: dict[str, Tree]) -> Tree:
        return dict(accumulator[""])


class SharedZero(Collect):
    """One zero for all, changed in place."""

    everything: dict[str, Tree] = {}  # noqa: RUF012 - the mistake that this is about

    def zero(self) -> dict[str, Tree]:
        return self.everything

    def check(self, accumulator: dict[str, Tree], update: Update) -> None:
        pass

    def accumulate(self, accumulator: dict[str, Tree], update: Update) -> dict[str, Tree]:
        accumulator[f"{update.client}{len(accumulator)}"] = update.tree
        return accumulator

    def finish(self, accumulator: dict[str, Tree]) -> Tree:
        return {"w": np.array([len(accumulator)] * 2, np.float32)}


class Polite(WeightedMean):
    """Refuses nothing in `check`."""

    def check(self, accumulator: MeanSoFar, update: Update) -> None:
        pass


class Hasty(WeightedMean):
    """Counts an update before it refuses it."""

    def accumulate(self, accumulator: MeanSoFar, update: Update) -> MeanSoFar:
        accumulator.weight += 1
        accumulator = super().accumulate(accumulator, update)
        accumulator.weight -= 1
        return accumulator


class Merging(WeightedMean):
    """Changes the updates, but only when partial sums are merged."""

    def merge(self, a: MeanSoFar, b: MeanSoFar) -> MeanSoFar:
        if a.updates == 1 and b.updates == len(UPDATES) - 1:
            UPDATES[0].tree["w"][0] = 1.0
        return super().merge(a, b)


class Undecided(WeightedMean):
    grows: Any = None


BROKEN = {
    "naive": (Naive(), "order of the updates"),
    "in place": (InPlace(), "accumulate and finish never change an update"),
    "another dtype": (Finishing(), "finish gives the leaves.* has dtype float64 instead of float32"),
    "another name": (Renaming(), "finish gives the leaves.* leaves"),
    "a zero that counts": (CountingZero(), "zero is neutral"),
    "a zero that swallows": (LeftZero(), "zero is neutral on the left"),
    "mean of means": (MeanOfMeans(), "split into partial aggregates"),
    "the last wins": (Last(), "order of the updates"),
    "a zero that is shared": (SharedZero(), "same order give the same aggregate"),
    "no check": (Polite(), "update that does not go with the others is refused"),
    "a refused update leaves a trace": (Hasty(), "an update that is refused leaves no trace"),
    "merge changes an update": (Merging(), "merge never changes an update"),
    "does not say whether it grows": (Undecided(), "whether its accumulator grows"),
}


@pytest.mark.parametrize(("rule", "law"), BROKEN.values(), ids=BROKEN)
def test_the_kit_rejects_a_rule_that_breaks_a_law(rule: Any, law: str) -> None:
    before = UPDATES[0].tree["w"].copy()
    try:
        with pytest.raises(AssertionError, match=law):
            check_rule(rule, UPDATES, misfits=[SHAPELESS])
    finally:
        for update, value in zip(UPDATES, FAR, strict=True):
            update.tree["w"][:] = value
    assert np.array_equal(UPDATES[0].tree["w"], before)


def test_a_tolerance_is_kept() -> None:
    inexact = [Update({"w": np.array([n / 3], np.float32)}, n + 1.0, client=f"c{n}") for n in range(5)]
    check_rule(Naive(), inexact, tolerance=1e-5)
    lost = [replace(update, weight=1.0) for update in UPDATES]  # 1e8 + 1 - 1e8
    with pytest.raises(AssertionError, match="order of the updates"):
        check_rule(Naive(), lost, tolerance=1e-5)
