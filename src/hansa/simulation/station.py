"""A station: where works are carried out, in this process or in a worker's, each by the engine that suits it.

This file must not know who is asked, or what becomes of the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Work
from hansa.experiment.reference import Mode
from hansa.simulation.engines.fused import fused


class Station(Protocol):
    """Carries works out."""

    @property
    def chosen(self) -> Mapping[str, str]:
        """How each work is computed, by work, where that is a matter of choice."""
        ...

    def given(self, work: str, broadcast: Tree, contexts: Iterable[ClientContext]) -> Iterator[object]:
        """What clients' works return, or the exception that they raise, in the contexts' order."""
        ...

    def rest(self) -> None:
        """Forget the broadcast that was worked from."""
        ...


def called(work: Work, broadcast: Tree, context: ClientContext) -> object:
    """What a client's work returns, or raises."""
    try:
        return work(broadcast, context)
    except (Exception, SystemExit) as problem:  # noqa: BLE001 - a client's code may raise anything; it is its outcome
        return problem


class PlainStation:
    """Calls each work as it is, for one client after the other: the definition."""

    chosen: Mapping[str, str] = {}

    def __init__(self, works: Mapping[str, Work]) -> None:
        self._works = works

    def given(self, work: str, broadcast: Tree, contexts: Iterable[ClientContext]) -> Iterator[object]:
        """See `Station`."""
        called_work = self._works[work]
        return (called(called_work, broadcast, context) for context in contexts)

    def rest(self) -> None:
        """Nothing is remembered."""


class FusedStation:
    """Computes local training by engines, and all else as it is.

    Args:
        works: the algorithm's.
        mode: "reference" takes exact engines only.
        device: where works compute.
        engine: the name of the only one to use; chosen by trial unless given.
    """

    def __init__(self, works: Mapping[str, Work], mode: Mode, device: str, engine: str | None = None) -> None:
        self._plain = PlainStation(works)
        self._fused = {name: made for name, work in works.items() if (made := fused(work, mode, device, engine))}

    @property
    def chosen(self) -> Mapping[str, str]:
        """How each work is computed."""
        return {name: each.chosen for name, each in self._fused.items()}

    def given(self, work: str, broadcast: Tree, contexts: Iterable[ClientContext]) -> Iterator[object]:
        """See `Station`."""
        if work in self._fused:
            return self._fused[work].given(broadcast, contexts)
        return self._plain.given(work, broadcast, contexts)

    def rest(self) -> None:
        """See `Station`."""
        for each in self._fused.values():
            each.rest()
