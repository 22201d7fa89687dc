"""When an ask is complete, and when what came of it does not count."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hansa.core.ask import Closing, Outcome, Status
from hansa.errors import ConfigError


def outcomes(**counts: int) -> dict[str, Outcome]:
    return {f"{status}{n}": Outcome(Status(status)) for status, count in counts.items() for n in range(count)}


@pytest.mark.parametrize(
    ("closing", "counts", "why"),
    [
        (Closing.all(), {"updated": 3}, None),
        (Closing.all(), {"updated": 1, "rejected": 4}, None),
        (Closing.all(), {"updated": 9, "failed": 1}, "1 of 10 clients failed, and everyone was needed"),
        (Closing.all(), {"rejected": 2}, "0 of 2 clients gave a usable update, and 1 were needed"),
        (Closing.all(), {}, "0 of 0 clients gave a usable update"),
        (Closing.quorum(2), {"updated": 2, "failed": 5}, None),
        (Closing.quorum(3), {"updated": 2, "failed": 1}, "2 of 3 clients gave a usable update, and 3 were needed"),
        (Closing.first(2), {"updated": 2}, None),
        (Closing.first(2), {"updated": 2, "failed": 3}, None),
        (Closing.first(2), {"updated": 1, "rejected": 3}, None),
        (Closing.first(2), {"updated": 1}, "1 of 1 clients gave a usable update, and 2 were needed"),
        (Closing.first(2), {"failed": 3}, "0 of 3 clients gave a usable update, and 1 were needed"),
    ],
)
def test_an_ask_counts_when_enough_clients_updated(closing: Closing, counts: dict[str, int], why: str | None) -> None:
    found = closing.broken_by(outcomes(**counts))
    assert (found is None) if why is None else (found is not None and found.startswith(why))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Closing.first(0), "at least one update, not 0"),
        (lambda: Closing.quorum(-1), "at least one update, not -1"),
        (lambda: Closing.quorum(1, deadline=0), "positive number of seconds, not 0"),
        (lambda: Closing.quorum(1, deadline=float("nan")), "positive number of seconds, not nan"),
    ],
)
def test_a_closing_that_makes_no_sense_is_refused(make: Callable[[], Closing], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        make()


def test_closings_carry_what_they_were_given() -> None:
    assert (Closing.all().kind, Closing.all().deadline) == ("all", None)
    assert (Closing.quorum(3, 60.0).count, Closing.quorum(3, 60.0).deadline) == (3, 60.0)
    assert (Closing.first(4).kind, Closing.first(4).count) == ("first", 4)
