"""Compressed: any algorithm, its clients' updates encoded on the wire. A combinator: the one inside learns nothing of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hansa.core.ask import Ask, FederatedAlgorithm, Reply
from hansa.core.population import Population
from hansa.core.tree import Tree
from hansa.core.work import Work
from hansa.errors import ConfigError, UnknownName
from hansa.transforms import Chained, Decoded, Transform, Transformed


@dataclass(frozen=True)
class Compressed:
    """Encode updates where they are made, and decode them where they are aggregated.

    Only what clients send is smaller; the model that they are given is not changed. Combinators that look at single updates,
    such as `Evaluated(..., owners=True)`, may stand inside or outside of it.

    Attributes:
        inner: the algorithm. Its asks say which form updates have (`Ask.form`).
        transform: a transform, or several, of which the first is the first to see an update.
        feedback: let each client keep what encoding lost, and add it to its next update; its private state then takes the
            memory of one more update. What is biased, such as `Sparsified`, needs it; see `hansa.transforms.Transformed`.
        encoded: the works whose updates are encoded.
    """

    inner: FederatedAlgorithm[Any]
    transform: Transform | Sequence[Transform]
    feedback: bool = False
    encoded: tuple[str, ...] = ("train",)

    def __post_init__(self) -> None:
        for name in self.encoded:
            if name not in self.inner.works:
                raise UnknownName.among("work", name, self.inner.works)
            if isinstance(self.inner.works[name], Transformed):
                raise ConfigError(
                    f"the updates of the work {name!r} are encoded already",
                    hint="use one Compressed, with several transforms: Compressed(algorithm, [first, second])",
                )
        if isinstance(self.transform, Sequence):
            object.__setattr__(self, "transform", Chained(tuple(self.transform)))

    @property
    def works(self) -> Mapping[str, Work]:
        """The inner algorithm's, those that are meant with encoded updates."""
        return {
            name: Transformed(work, self._transform, self.feedback) if name in self.encoded else work
            for name, work in self.inner.works.items()
        }

    def start(self, params: Tree, seed: int) -> Any:
        """The inner algorithm's."""
        return self.inner.start(params, seed)

    def ask(self, state: Any, population: Population) -> Ask | None:
        """What the inner algorithm asks, its rule over the decoded updates.

        Raises:
            ConfigError: the ask does not say which form updates have.
        """
        ask = self.inner.ask(state, population)
        if ask is None or ask.work not in self.encoded:
            return ask
        if ask.form is None:
            raise ConfigError(
                f"the updates of the work {ask.work!r} have no form of which both sides know, so they cannot be decoded",
                hint="let the algorithm give its asks a form=..., or leave that work out of Compressed(encoded=...)",
            )
        rule = Decoded(ask.rule, self._transform, ask.form)
        return replace(ask, rule=rule, form=self._transform.form(ask.form))

    def tell(self, state: Any, reply: Reply) -> Any:
        """The inner algorithm's."""
        return self.inner.tell(state, reply)

    def params(self, state: Any) -> Tree:
        """The inner algorithm's."""
        return self.inner.params(state)

    def round(self, state: Any) -> int:
        """The inner algorithm's."""
        return self.inner.round(state)

    @property
    def _transform(self) -> Transform:
        assert not isinstance(self.transform, Sequence)  # noqa: S101 - made one above; for the type checker
        return self.transform
