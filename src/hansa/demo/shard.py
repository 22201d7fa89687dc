"""The demo's owners of data, as a real federation has them: each Envoy reads its own owner's part, and nothing else stays."""

from __future__ import annotations

from functools import cached_property

from hansa.data import ClientDataset, Field
from hansa.data.schema import Schema
from hansa.data.shards import ShardDescriptor
from hansa.demo.scenario import OWNERS, Scenario


class DigitsShard(ShardDescriptor):
    """What one participant of the demo holds.

    Args:
        owner: "alice", "bob", "charlie", or "testing", which holds the test data and never trains.
        dataset: which data set they share out.
        folder: where its files lie.
        seed: the demo's.
    """

    def __init__(self, owner: str, dataset: str, folder: str = "", seed: int = 0) -> None:
        self._owner, self._scenario = owner, Scenario(dataset, seed=seed, folder=folder)
        side = 8 if dataset == "digits" else 28
        self.schema: Schema = {"x": Field((1, side, side), "float32"), "y": Field((), "int64", classes=10)}

    def describe(self) -> str:
        """Which classes it holds."""
        held = OWNERS.get(self._owner)
        return f"the classes {held[0]}-{held[-1]}" if held else "all classes, to evaluate on"

    def train(self) -> ClientDataset | None:
        """The owner's classes."""
        return self._own if self._owner in OWNERS else None

    def test(self) -> ClientDataset | None:
        """The held-out examples, at the evaluator."""
        return None if self._owner in OWNERS else self._own

    @cached_property
    def _own(self) -> ClientDataset:
        """A copy of the owner's rows, so that everyone else's can go."""
        scenario = Scenario(self._scenario.dataset, seed=self._scenario.seed, folder=self._scenario.folder)
        held = scenario.data[self._owner] if self._owner in OWNERS else scenario.source.test
        return ClientDataset(held.all())
