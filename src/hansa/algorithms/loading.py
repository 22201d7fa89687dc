"""Loading: any algorithm, whose works see what the scientist's loader makes of each client's data. A combinator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hansa.core.ask import Ask, FederatedAlgorithm, Reply
from hansa.core.population import Population
from hansa.core.tree import Tree
from hansa.core.work import Settings, Work
from hansa.training.loading import VALID, Loaded, Loader


@dataclass(frozen=True)
class Loading:
    """Put a loader before every work of an algorithm.

    Attributes:
        inner: the algorithm.
        loader: see `hansa.training.loading.Loader`.
        settings: what the loader is given.
    """

    inner: FederatedAlgorithm[Any]
    loader: Loader
    settings: Settings = field(default_factory=dict)

    @property
    def works(self) -> Mapping[str, Work]:
        """The inner algorithm's, each with the loader before it."""
        return {name: Loaded(work, self.loader, self.settings) for name, work in self.inner.works.items()}

    def start(self, params: Tree, seed: int) -> Any:
        """The inner algorithm's."""
        return self.inner.start(params, seed)

    def ask(self, state: Any, population: Population) -> Ask | None:
        """The inner algorithm's; whoever holds training data can validate too, because the loader splits them."""
        examples = {**population.examples, VALID: population.examples.get("train", {})}
        return self.inner.ask(state, replace(population, examples=examples))

    def tell(self, state: Any, reply: Reply) -> Any:
        """The inner algorithm's."""
        return self.inner.tell(state, reply)

    def params(self, state: Any) -> Tree:
        """The inner algorithm's."""
        return self.inner.params(state)

    def round(self, state: Any) -> int:
        """The inner algorithm's."""
        return self.inner.round(state)
