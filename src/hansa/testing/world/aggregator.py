"""A model of the child that runs the algorithm: it speaks as `effects.TellChild` and the child's events say, and can crash.

This file must not know what becomes of what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hansa.core.ask import Closing, Status
from hansa.protocol.events import Asks, Fails, Finishes, Judges, Tells, Wants
from hansa.protocol.facts import Fate, Told
from hansa.protocol.messages import Blob
from hansa.testing.world import toy
from hansa.testing.world.disk import Library
from hansa.testing.world.plan import RunPlan

Out = Callable[[Any, tuple[Blob | None, ...]], None]
"""Says an event, and brings the blobs that it names."""


class Aggregator:
    """One child.

    Args:
        plan: the experiment.
        library: of contents.
        told: the last state, if there is one.
        out: where it says what it wants.

    Attributes:
        work: what it has asked for, while it waits for answers.
        over: it has said its last word.
    """

    def __init__(self, plan: RunPlan, library: Library, told: Told | None, out: Out) -> None:
        self.plan, self.library, self.out = plan, library, out
        self.program = toy.Program(plan.rounds, plan.works)
        self.state = toy.State(*library.content(told.document)[1:]) if told is not None else toy.State()
        self.work, self.over, self.waited = "", False, False
        self.updates: dict[tuple[int, str], str | None] = {}

    def begin(self) -> None:
        """Its first words."""
        self.out(Wants(), ())

    def hear(self, say: Any) -> None:
        """What it is told. While it has not asked, it is told of answers too soon, or too late: it would be told again."""
        ((what, content),) = say.items()
        if what in ("arrived", "close") and not self.work:
            return
        match what:
            case "population":
                self._ask(tuple(content["ids"]), content["in_flight"])
            case "arrived":
                self._judge(content)
            case "close":
                self._tell(content)
            case "kept":
                self.out(Wants(), ())

    def _ask(self, everyone: tuple[str, ...], in_flight: Mapping[str, int]) -> None:
        work = toy.next_work(self.program, self.state)
        if work is None:
            self.over = True
            self.out(Finishes(), ())
            return
        if len(everyone) + sum(in_flight.values()) < self.plan.count and not self.waited:
            self.waited = True  # it would like more, and makes do with whoever it is told of next
            self.out(Wants(len(everyone)), ())
            return
        chosen, self.waited = toy.cohort(self.state, everyone), False
        flying = in_flight.get(work, 0) if self.plan.kind == "first" else 0
        if flying and toy.number("idle", self.state.done) % 3 == 0:  # enough of them are at it
            chosen = ()
        if not chosen and not flying:
            self.over = True
            self.out(Fails("there is nobody to ask"), ())
            return
        self.work = work
        plan, state = self.plan, self.state
        broadcast = self.library.named("broadcast", plan.run, state.x, state.c)
        inputs = {
            client: self.library.named("input", client, state.done) if toy.number(client, state.done) % 3 == 0 else None
            for client in chosen
        }
        parts = tuple((client, "{}", inputs[client]) for client in chosen)
        asks = Asks(work, state.done + 1, state.version, self._closing(len(chosen) + flying), broadcast, parts)
        self.out(asks, (broadcast, *inputs.values()))

    def _closing(self, most: int) -> Closing:
        plan, count = self.plan, min(self.plan.count, most)
        if plan.kind == "all":
            return Closing.all(retries=plan.retries)
        if plan.kind == "first":
            return Closing.first(count, patience=plan.patience, retries=plan.retries)
        return Closing.quorum(count, plan.deadline, grace=plan.grace, retries=plan.retries)

    def _judge(self, arrived: Any) -> None:
        key = arrived["ask"], arrived["client"]
        self.updates[key] = arrived["update"]
        if arrived["update"] is not None:
            bad = self.library.content(arrived["update"])[-1] == "bad"
            self.out(Judges(*key, "it is not finite" if bad else ""), ())

    def _tell(self, close: Any) -> None:
        work, came, self.work, self.updates = self.work, self.updates, "", {}
        fates = tuple(Fate(ask, client, Status(status), why) for ask, client, status, why in close["fates"])
        updated = [fate for fate in fates if fate.status is Status.UPDATED]
        everyone = self.plan.kind == "all"
        if not updated or (everyone and any(fate.status is Status.FAILED for fate in fates)):
            self.over = True
            self.out(Fails("too few updates"), ())
            return
        contents = [self.library.content(str(came[fate.ask, fate.client])) for fate in updated]
        updates = [toy.Update(content[-3], content[-2]) for content in contents]
        self.state = toy.told(self.program, self.state, work, updates)
        self.out(*told_of(self.library, self.plan.run, close["ask"], fates, self.state))


def told_of(
    library: Library, run: str, ask: int, fates: tuple[Fate, ...], state: toy.State
) -> tuple[Tells, tuple[Blob, ...]]:
    """What is said when the algorithm was told, and the blobs that go with it."""
    numbers = state.x, state.c, state.done, state.asks, state.version
    document, model = library.named("state", *numbers), library.named("model", run, state.x, state.c)
    return Tells(Told(run, ask, fates, "{}", state.done, document, (model,), model)), (document, model)
