"""An algorithm in a federation whose owners come and go: where too few can be asked for it, it waits until more are there.

This file must not know how one waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hansa.core.ask import Ask, FederatedAlgorithm, Reply
from hansa.core.population import Population
from hansa.core.tree import Tree
from hansa.core.work import Work
from hansa.errors import CohortTooLarge


@dataclass(frozen=True)
class Patient:
    """Another algorithm, which is asked again when there are more clients than those that were too few.

    Attributes:
        inner: the algorithm.
        more: waits for more than these, and says who may be asked then; None where nobody is to be expected.
    """

    inner: FederatedAlgorithm[Any]
    more: Callable[[Population], Population | None]

    @property
    def works(self) -> dict[str, Work]:
        """The inner algorithm's."""
        return dict(self.inner.works)

    def start(self, params: Tree, seed: int) -> Any:
        """As the inner algorithm."""
        return self.inner.start(params, seed)

    def ask(self, state: Any, population: Population) -> Ask | None:
        """What the inner algorithm asks, of these or of more.

        Raises:
            CohortTooLarge: there are too few, and nobody is to be expected.
        """
        while True:
            try:
                return self.inner.ask(state, population)
            except CohortTooLarge:
                if (grown := self.more(population)) is None:
                    raise
                population = grown

    def tell(self, state: Any, reply: Reply) -> Any:
        """As the inner algorithm."""
        return self.inner.tell(state, reply)

    def params(self, state: Any) -> Tree:
        """As the inner algorithm."""
        return self.inner.params(state)

    def round(self, state: Any) -> int:
        """As the inner algorithm."""
        return self.inner.round(state)
