"""Callbacks are told of a run in order, and the mistakes of one cost nobody the run, nor pass unseen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from hansa.callbacks import CallbackFailed, EarlyStopping, Told
from hansa.callbacks.port import Watched
from hansa.core.history import Entry
from hansa.errors import ConfigError, RunFailed


@dataclass
class Noting:
    """Notes what it is told, and raises what it is given."""

    name: str
    notes: list[str]
    raises: dict[str, BaseException] = field(default_factory=dict)

    def started(self, _run: Watched) -> None:
        self._note("started")

    def entry(self, run: Watched, entry: Entry) -> None:
        assert run.history.entries[-1] == entry
        self._note(f"round {entry.round}" if entry.work == "train" else entry.work)

    def ended(self, _run: Watched) -> None:
        self._note("ended")

    def _note(self, what: str) -> None:
        self.notes.append(f"{self.name} {what}")
        if what in self.raises:
            raise self.raises[what]


def test_callbacks_are_told_in_order_and_of_the_end_in_reverse(small: Callable[..., Any], simulated: Any) -> None:
    notes: list[str] = []
    simulated(small(1), [Noting("a", notes), Noting("b", notes)]).run()
    assert notes[:4] == ["a started", "b started", "a evaluate", "b evaluate"]
    assert notes[-4:] == ["a evaluate", "b evaluate", "b ended", "a ended"]
    assert notes.count("a round 1") == 1


def test_what_is_raised_in_a_run_is_a_warning_at_once_and_a_count_at_the_end(
    small: Callable[..., Any], simulated: Any
) -> None:
    notes: list[str] = []
    broken = Noting("a", notes, {"round 1": OSError("disk on fire"), "evaluate": ConfigError("no", hint="yes")})
    with pytest.warns(CallbackFailed) as warned:
        history = simulated(small(2), [broken, Noting("b", notes)]).run()
    assert history.rounds == 2
    assert [str(each.message) for each in warned] == [
        "Noting failed, and the run goes on: no; yes",
        "Noting failed, and the run goes on: OSError: disk on fire",
        "Noting failed 9 times in all: no; yes",
    ]
    assert "b round 2" in notes
    assert "a ended" in notes


def test_what_started_raises_stops_the_run_before_it_began_and_what_was_started_is_ended(
    small: Callable[..., Any], simulated: Any
) -> None:
    notes: list[str] = []
    callbacks = [Noting("a", notes), Noting("b", notes, {"started": ConfigError("no folder")}), Noting("c", notes)]
    with pytest.raises(ConfigError, match="no folder"):
        simulated(small(1), callbacks).run()
    assert notes == ["a started", "b started", "b ended", "a ended"]


def test_an_interrupt_is_nobodys_mistake(small: Callable[..., Any], simulated: Any) -> None:
    notes: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        simulated(small(2), [Noting("a", notes), Noting("b", notes, {"round 1": KeyboardInterrupt()})]).run()
    assert notes[-2:] == ["b ended", "a ended"]


def test_the_end_is_told_once(small: Callable[..., Any], simulated: Any) -> None:
    notes: list[str] = []
    told = Told(simulated(small(1)), [Noting("a", notes)])
    told.started()
    told.ended()
    told.ended()
    assert notes == ["a started", "a ended"]


def test_a_callback_may_cancel_a_run(small: Callable[..., Any], simulated: Any) -> None:
    class Cancelling(Noting):
        def entry(self, run: Watched, _entry: Entry) -> None:
            run.cancel("enough")

    with pytest.raises(RunFailed, match="enough") as caught:
        simulated(small(3), [Cancelling("a", [])]).run()
    assert len(caught.value.history.entries) == 1


# --- early stopping


def rounds_until(stopping: EarlyStopping, values: list[float], simulated: Any, small: Callable[..., Any]) -> int | None:
    """After how many evaluations a run with these values is stopped."""
    from hansa.core.history import History
    from hansa.core.metrics import Mean, Metrics

    run = simulated(small(1))
    history = History()
    for round_, value in enumerate(values):
        metrics = Metrics({"accuracy": Mean.of(value)})
        entry = Entry(round_, "evaluate", round_, {"model": "federated"}, metrics, {})
        history = history.extended(entry, {}, round_)
        object.__setattr__(run, "progress", type("P", (), {"history": history}))
        stopping.entry(run, entry)
        if run.stopped:
            return round_ + 1
    return None


@pytest.mark.parametrize(
    ("stopping", "values", "after"),
    [
        (EarlyStopping(patience=2), [0.1, 0.2, 0.2, 0.2, 0.9], 4),
        (EarlyStopping(patience=2), [0.1, 0.2, 0.1, 0.3, 0.2, 0.2], 6),
        (EarlyStopping(patience=2), [0.1, 0.2, 0.3, 0.4], None),
        (EarlyStopping("min accuracy", patience=1), [0.5, 0.4, 0.4], 3),
        (EarlyStopping(patience=2, min_delta=0.1), [0.1, 0.15, 0.19, 0.9], 3),
        (EarlyStopping(patience=2, min_delta=0.1), [0.1, 0.15, 0.3, 0.35, 0.5], None),
        (EarlyStopping(patience=2), [float("nan"), 0.1, float("nan"), float("nan")], 4),
        (EarlyStopping(patience=1), [0.1], None),
    ],
)
def test_patience_counts_evaluations_since_the_best(
    stopping: EarlyStopping, values: list[float], after: int | None, simulated: Any, small: Callable[..., Any]
) -> None:
    assert rounds_until(stopping, values, simulated, small) == after


def test_a_run_that_is_stopped_early_has_finished(small: Callable[..., Any], simulated: Any) -> None:
    run = simulated(small(30), [EarlyStopping(patience=2)])
    history = run.run()
    assert run.stopped == "no better accuracy in 2 evaluations"
    assert run.failure == ""
    best, _ = history.best("max accuracy")
    assert history.rounds == best + 2 < 30


def test_only_evaluations_of_the_chosen_model_count(small: Callable[..., Any], simulated: Any) -> None:
    run = simulated(small(30), [EarlyStopping("max loss", patience=1, model="1")])
    assert run.run().rounds == 2


def test_a_misspelt_metric_is_a_warning_that_lists_what_there_is(small: Callable[..., Any], simulated: Any) -> None:
    with pytest.warns(CallbackFailed, match=r"there is no metric 'acuracy'; choose one of: accuracy"):
        simulated(small(1), [EarlyStopping("max acuracy")]).run()


def test_a_run_without_evaluations_cannot_be_stopped_early_and_says_so(
    small: Callable[..., Any], simulated: Any
) -> None:
    plain = small(1, algorithm=small(1).algorithm.inner)
    with pytest.warns(CallbackFailed, match="'federated' was never evaluated"):
        simulated(plain, [EarlyStopping()]).run()


@pytest.mark.parametrize(
    "wrong",
    [
        {"by": "accuracy"},
        {"patience": 0},
        {"min_delta": -0.1},
        {"min_delta": float("nan")},
        {"min_delta": float("inf")},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        EarlyStopping(**wrong)
