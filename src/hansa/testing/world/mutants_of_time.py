"""Bugs that are planted, of clocks and of patience: with when an ask closes, who is waited for, and who tries again.

Nothing here is imported by anything but tests, as in `mutants`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hansa.protocol import closing, director, envoy, gathering, running, tasks, visiting
from hansa.protocol.events import Tick
from hansa.protocol.run import Phase, Run
from hansa.testing.world.mutants import Mutant, Patch

# --- time


def _over_selection_keeps_all_that_came(patch: Patch) -> None:
    patch.setattr(closing, "_after_grace", lambda _visit, _last, _grace: False)


def _looks_at_time_with_answers_only(patch: Patch) -> None:
    patch.setitem(running.TABLE, (Phase.RUNNING, Tick), lambda _turn, _event: None)


def _misses_a_deadline_that_is_overtaken(patch: Patch) -> None:
    def mutant(self: Any, event: Any, now: float) -> list[Any]:
        self._now = now
        effects = list(self._HANDLERS[type(event)](self, event, now))
        return effects + list(self._next(now))

    patch.setattr(director.Director, "handle", mutant)


def _wakes_for_what_has_passed(patch: Patch) -> None:
    def mutant(self: director.Director) -> float:
        asks = [each.asked for each in self.runs.values() if each.asked is not None]
        return min((asked.deadline for asked in asks if asked.deadline), default=float("inf"))

    patch.setattr(director.Director, "wake", property(mutant))


def _grace_is_forgotten(patch: Patch) -> None:
    quorum = closing._quorum
    patch.setattr(closing, "_quorum", lambda run_, asked, now: quorum(run_, replace(asked, grace=0.0), now))


def _grace_is_not_awaited(patch: Patch) -> None:
    patch.setattr(closing, "grace_until", lambda _run, _asked: float("inf"))


def _patience_is_not_awaited(patch: Patch) -> None:
    moments = closing.moments
    patch.setattr(closing, "moments", lambda run_: moments(run_) if run_.asked and run_.asked.kind != "first" else ())


def _patience_goes_on_while_the_director_is_down(patch: Patch) -> None:
    patch.setattr(closing, "patient_until", lambda _run, visit: visit.asked.at + visit.asked.patience)


def _patience_is_that_of_the_present_ask(patch: Patch) -> None:
    def mutant(run_: Run, visit: Any) -> float:
        asked = run_.asked or visit.asked
        return float(max(asked.at, run_.restarted) + asked.patience)

    patch.setattr(closing, "patient_until", mutant)


def _nobody_says_who_is_back(patch: Patch) -> None:
    for module in (gathering, visiting):
        patch.setattr(module, "tell_who_may_be_asked", lambda _turn: None)


# --- trying again


def _never_tries_again(patch: Patch) -> None:
    def mutant(state: Any, task: Any, event: envoy.Worked) -> Any:
        return tasks.answers(state, task, event.answered)

    patch.setitem(tasks.TABLE, (envoy.TaskPhase.WORKING, envoy.Worked), mutant)


def _tries_again_once_too_often(patch: Patch) -> None:
    def mutant(state: Any, task: Any, event: envoy.Worked) -> Any:
        assign = replace(task.assign, retries=task.assign.retries + 1)
        return replace(tasks.worked(state, replace(task, assign=assign), event), assign=task.assign)

    patch.setitem(tasks.TABLE, (envoy.TaskPhase.WORKING, envoy.Worked), mutant)


def _forgets_to_say_how_often_to_try(patch: Patch) -> None:
    assign = visiting.assign
    patch.setattr(visiting, "assign", lambda run_, visit: replace(assign(run_, visit), retries=0))


MUTANTS = (
    Mutant("time is looked at when an answer comes", _looks_at_time_with_answers_only, "overdue"),
    Mutant("a deadline that is overtaken is missed", _misses_a_deadline_that_is_overtaken, "overdue"),
    Mutant("awake for what has passed", _wakes_for_what_has_passed, "woken in the past"),
    Mutant("over-selection keeps all that came", _over_selection_keeps_all_that_came, "more count than", kind="quorum"),
    Mutant("a quorum does not wait for its grace", _grace_is_forgotten, "closed too soon|is late", kind="quorum"),
    Mutant("the end of a grace is not awaited", _grace_is_not_awaited, "overdue", kind="quorum"),
    Mutant("the end of patience is not awaited", _patience_is_not_awaited, "overdue", kind="first"),
    Mutant(
        "patience goes on while the Director is down",
        _patience_goes_on_while_the_director_is_down,
        "given up before",
        ("director", "slow", "partition"),
        "first",
    ),
    Mutant(
        "patience is that of the present ask",
        _patience_is_that_of_the_present_ask,
        "overdue|given up before",
        ("slow", "partition"),
        "first",
    ),
    Mutant(
        "nobody says who is back",
        _nobody_says_who_is_back,
        "somebody is there",
        ("partition", "slow", "envoy"),
        "quorum",
    ),
    Mutant("a client never tries again", _never_tries_again, "another number of attempts"),
    Mutant("a client tries once too often", _tries_again_once_too_often, "too often|otherwise than"),
    Mutant("nobody says how often to try", _forgets_to_say_how_often_to_try, "otherwise than was asked"),
)
"""All of them."""
