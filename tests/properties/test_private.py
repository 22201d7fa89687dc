"""Private state against a model of it: any sequence of answers, settlements and repetitions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.core.ask import Status
from hansa.core.private import PrivateState
from hansa.core.tree import Tree
from hansa.core.work import Update

ASKS = st.sampled_from(["1/train/0", "1/train/1", "2/train/0"])


@dataclass
class Simple:
    """What a client should keep, written as plainly as can be."""

    current: int = 0
    pending: dict[str, int | None] = field(default_factory=dict)

    def propose(self, ask: str, state: int | None) -> None:
        self.pending.setdefault(ask, state)

    def settle(self, ask: str, status: Status) -> None:
        state = self.pending.pop(ask, None)
        if status is Status.UPDATED and state is not None:
            self.current = state


def update(number: int | None) -> Update:
    return Update({"w": np.array([0.0])}, state=None if number is None else {"n": np.array(number)})


def number(tree: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.int64]]] | None) -> int | None:
    return None if tree is None else int(tree["n"])


PROPOSE = st.tuples(st.just("propose"), ASKS, st.one_of(st.none(), st.integers(1, 9)))
SETTLE = st.tuples(st.just("settle"), ASKS, st.sampled_from(list(Status)))


@settings(max_examples=300)
@given(st.lists(st.one_of(PROPOSE, SETTLE), max_size=14))
def test_any_sequence_of_events_does_what_the_plain_model_does(events: list[tuple[str, str, object]]) -> None:
    simple, real = Simple(), PrivateState[Tree, Update]({"n": np.array(0)})
    for kind, ask, detail in events:
        before, seen = real, (dict(real.current), dict(real.pending))
        if kind == "propose":
            proposed = update(detail)  # type: ignore[arg-type]  # what the strategy drew
            again = real.propose(ask, proposed)
            simple.propose(ask, detail)  # type: ignore[arg-type]  # what the strategy drew
            assert again.propose(ask, update(99)) == again, "a second answer changes nothing"
        else:
            again = real.settle(ask, detail)  # type: ignore[arg-type]  # what the strategy drew
            simple.settle(ask, detail)  # type: ignore[arg-type]  # what the strategy drew
            assert again.settle(ask, Status.UPDATED) is again, "settling twice is harmless"
        assert (before.current, before.pending) == seen, "a value, never changed"
        real = again
        assert number(real.current) == simple.current
        answers = {ask: real.answer(ask) for ask in ("1/train/0", "1/train/1", "2/train/0")}
        assert {ask: number(answer.state) for ask, answer in answers.items() if answer} == simple.pending


def test_the_answer_that_was_given_is_sent_again_itself() -> None:
    first = update(1)
    state = PrivateState[Tree, Update]({}).propose("a", first).propose("a", update(2))
    assert state.answer("a") is first
    assert state.settle("b", Status.UPDATED).answer("a") is first
    assert state.settle("a", Status.LATE).answer("a") is None


def test_a_state_is_current_only_after_its_update_counted() -> None:
    state = PrivateState[Tree, Update]({}).propose("a", update(1))
    assert state.current == {}
    for status in Status:
        assert number(state.settle("a", status).current or None) == (1 if status is Status.UPDATED else None)


def test_an_empty_state_is_a_state_and_none_keeps_the_present_one() -> None:
    kept = PrivateState[Tree, Update]({"n": np.array(3)}).propose("a", update(None)).settle("a", Status.UPDATED)
    assert number(kept.current) == 3
    emptied = (
        PrivateState[Tree, Update]({"n": np.array(3)}).propose("a", Update({}, state={})).settle("a", Status.UPDATED)
    )
    assert emptied.current == {}
