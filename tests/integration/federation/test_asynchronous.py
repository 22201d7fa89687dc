"""FedBuff on real processes: every update counts once, with the staleness that it has, however the clients race."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hansa.core.ask import Status

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live

EXPERIMENTS = Path(__file__).parent / "experiments"


def test_every_update_counts_once_with_its_staleness(live: Live) -> None:
    history = live.finished(live.submit(EXPERIMENTS / "asynchronous.py"))
    trained = [entry for entry in history.entries if entry.work == "train"]
    assert (history.rounds, len(trained)) == (12, 12)
    answered = dict.fromkeys(("alice", "bob/a", "bob/b"), 0)  # the round in which each client's last update counted
    for entry in trained:
        assert len(entry.outcomes) == 2
        for client, outcome in entry.outcomes.items():
            assert outcome.status is Status.UPDATED
            # Whoever is free is asked: in the round after its last update, whose model has seen that round's.
            assert outcome.staleness == entry.version - answered[client], (entry.round, client)
            answered[client] = entry.round
    assert max(outcome.staleness for entry in trained for outcome in entry.outcomes.values()) >= 1
    assert set(answered) == {client for entry in trained for client in entry.outcomes}


def test_evaluations_between_its_rounds_swallow_no_update(live: Live) -> None:
    history = live.finished(live.submit(EXPERIMENTS / "asynchronous.py"))
    evaluated = list(history.evaluations())
    assert [entry.round for entry in evaluated] == [0, 4, 8, 12]
    before, after = (value for value in (history.series("loss")[0][1], history.series("loss")[-1][1]))
    assert after < before
    assert sum(len(entry.outcomes) for entry in history.entries if entry.work == "train") == 24


def test_what_is_too_stale_is_refused_and_the_round_waits_for_another(live: Live) -> None:
    history = live.finished(live.submit(EXPERIMENTS / "fresh_only.py"))
    trained = [entry for entry in history.entries if entry.work == "train"]
    refused = [each for entry in trained for each in entry.outcomes.values() if each.status is Status.REJECTED]
    assert refused
    for outcome in refused:
        assert outcome.why.startswith("its update is "), outcome.why
        assert outcome.why.endswith(" model updates behind, and at most 0 are allowed"), outcome.why
    for entry in trained:
        counted = [each for each in entry.outcomes.values() if each.status is Status.UPDATED]
        assert [each.staleness for each in counted] == [0, 0]
