"""A work whose local training is done by an engine: chosen by trial on the first clients of a run, or named.

As long as a run is short nothing is tried: trials begin only when the definition has taken as long as they may. What an engine
raises is nobody's outcome; those clients are trained again by the definition. This file must not know of any framework.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from typing import Any

from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update, Work
from hansa.errors import UnknownName
from hansa.experiment.reference import Mode
from hansa.simulation.engines.engine import CannotFuse, Engine, EngineKind, Trainer
from hansa.simulation.engines.frameworks import kinds_for
from hansa.simulation.engines.remembered import Remembered
from hansa.simulation.engines.trial import MOST, shortened, tried
from hansa.training import LocalTraining
from hansa.training.loading import Loaded
from hansa.transforms import Transformed

PLAIN = "plain"
"""The definition, as the name of an engine."""

PATIENCE = 0.3
"""Seconds that the definition works before engines are tried."""


def fused(work: Work, mode: Mode, device: str, engine: str | None) -> Fused | None:
    """A work to be done by engines; None where there are none for it.

    Raises:
        UnknownName: `engine` names none of those that there are for this work's framework.
    """
    training = work.work if isinstance(work, Loaded) else work
    training = training.work if isinstance(training, Transformed) else training
    if not isinstance(training, LocalTraining) or engine == PLAIN:
        return None
    kinds = kinds_for(training)
    if engine is None:
        return None if kinds is None else Fused(work, training, kinds, mode, device, pinned=False)
    there = {} if kinds is None else kinds()
    if engine not in there:
        raise UnknownName.among("engine", engine, [PLAIN, *there])
    return Fused(work, training, lambda: {engine: there[engine]}, mode, device, pinned=True)


class Fused:
    """See `fused`.

    Attributes:
        chosen: which engine is used, and why another is not: "traced", "plain: traced is not exact here: ...".
    """

    def __init__(
        self,
        work: Work,
        training: LocalTraining,
        kinds: Callable[[], dict[str, EngineKind]],
        mode: Mode,
        device: str,
        *,
        pinned: bool,
    ) -> None:
        self._work, self._training, self._kinds, self._pinned = work, training, kinds, pinned
        self._mode, self._device = mode, device
        self._engine: Engine | None = None
        self._settled, self._quickest, self._worked = False, math.inf, 0.0
        self._memory: Remembered | None = None
        self._train: tuple[Tree, Trainer] | None = None
        self.chosen = PLAIN

    def given(self, broadcast: Tree, contexts: Iterable[ClientContext]) -> Iterator[object]:
        """What the clients' training returns, or the exception that it raises, in the contexts' order."""
        waiting = iter(contexts)
        while not self._settled:
            with self._turn(broadcast) as turn:
                if turn:
                    first = list(islice(waiting, MOST))
                    if not first:
                        return
                    self._settle(broadcast, first)
                    waiting = chain(first, waiting)
                    break
            if (context := next(waiting, None)) is None:
                return
            yield self._noted(broadcast, context)
        yield from self._by_engine(broadcast, waiting)
        yield from (self._defined(broadcast, context) for context in waiting)

    def _turn(self, broadcast: Tree) -> AbstractContextManager[bool]:
        """Whether it is time to choose an engine."""
        if self._pinned or self._worked <= PATIENCE:
            return nullcontext(self._pinned)
        if self._memory is None:
            self._memory = Remembered(self._training, broadcast, self._mode, self._device)
        return self._memory.trying()

    def _noted(self, broadcast: Tree, context: ClientContext) -> object:
        """By the definition; of the first client nothing is learnt but how long it takes to load and compile."""
        began = time.perf_counter()
        given = self._defined(broadcast, context)
        seconds = time.perf_counter() - began
        if self._quickest < math.inf:
            self._worked += min(self._quickest, seconds)
        self._quickest = min(self._quickest, seconds)
        return given

    def _by_engine(self, broadcast: Tree, waiting: Iterator[ClientContext]) -> Iterator[object]:
        """As long as there is an engine."""
        while (engine := self._engine) is not None and (chunk := list(islice(waiting, engine.chunk))):
            try:
                updates: Sequence[Update] = self._trainer(engine, broadcast)(
                    [self._loaded(context) for context in chunk]
                )
            except Exception as problem:  # noqa: BLE001 - whatever it was, the definition says what is to be said of it
                if isinstance(problem, CannotFuse) and not self._pinned:
                    self._engine, self.chosen = None, f"{PLAIN}: {engine.name}: {problem.what}"
                yield from (self._defined(broadcast, context) for context in chunk)
            else:
                yield from map(self._encoded, updates, chunk)

    def _trainer(self, engine: Engine, broadcast: Tree) -> Trainer:
        """Of the ask that is carried out: its broadcast is loaded once, in however many parts it is computed."""
        if self._train is None or self._train[0] is not broadcast:
            self._train = None
            self._train = broadcast, engine.trainer(broadcast)
        return self._train[1]

    def rest(self) -> None:
        """Forget the broadcast that was worked from."""
        self._train = None

    def _defined(self, broadcast: Tree, context: ClientContext) -> object:
        try:
            return self._work(broadcast, context)
        except (Exception, SystemExit) as problem:  # noqa: BLE001 - it is the client's outcome
            return problem

    def _loaded(self, context: ClientContext) -> ClientContext:
        """What the training sees of a context."""
        work: Any = self._work
        while work is not self._training:
            work, context = work.work, work.context(context)
        return context

    def _encoded(self, update: Update, context: ClientContext) -> Update:
        """What leaves the client, where that is not the training's update itself."""
        work: Any = self._work
        while work is not self._training:
            if isinstance(work, Transformed):
                return work.encoded(update, context)
            work = work.work
        return update

    def _settle(self, broadcast: Tree, contexts: Sequence[ClientContext]) -> None:
        """Choose an engine, by trial, by memory or by name."""
        self._settled = True
        usable: list[ClientContext] = []
        for context in contexts:
            try:
                usable.append(shortened(self._loaded(context), self._training.batch_size))
            except Exception:  # noqa: BLE001, S112 - a client that cannot load its data says so when it is its turn
                continue
        if not usable:
            self._settled = False
            return
        kinds, memory = self._kinds(), self._memory
        named = None if memory is None else memory.engine
        if named == PLAIN:
            return
        candidates = {named: kinds[named]} if named in kinds else kinds
        trial = tried(self._training, candidates, self._mode, self._device, broadcast, usable, pinned=self._pinned)
        if trial.engine is None and named in kinds:  # what was good once is not any more
            trial = tried(self._training, kinds, self._mode, self._device, broadcast, usable)
        if self._pinned and trial.engine is None:
            raise CannotFuse(f"the engine {next(iter(kinds))!r} cannot be used here: {trial.why}")
        self._engine = trial.engine
        self.chosen = trial.engine.name if trial.engine else f"{PLAIN}: {trial.why}" if trial.why else PLAIN
        if memory is not None:
            memory.engine = trial.engine.name if trial.engine else PLAIN
