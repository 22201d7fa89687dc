"""Envoys that fall silent in the middle of a round: the round closes by its timer, and they count again when they are back."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import hansa
    from tests.integration.federation.conftest import Live

EXPERIMENTS = Path(__file__).parent / "experiments"


class Gates:
    """The gates at which the clients of the experiment wait."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "gates"
        self.folder.mkdir()
        self.entry = folder / "gated.py"
        text = (EXPERIMENTS / "gated.py").read_text()
        self.entry.write_text(text.replace('Path("nowhere")', f"Path({str(self.folder)!r})"))

    def reached(self, gate: str) -> bool:
        """Whether somebody stands there."""
        return (self.folder / f"{gate}.reached").exists()

    def open(self, gate: str) -> None:
        """Let them pass."""
        (self.folder / f"{gate}.open").touch()


def statuses(history: hansa.History, client: str) -> list[str]:
    """What became of a client, round by round; "" where it was not asked."""
    outcomes = [entry.outcomes.get(client) for entry in history.entries]
    return ["" if outcome is None else str(outcome.status) for outcome in outcomes]


def answered(shown: dict[str, Any], client: str, number: int) -> bool:
    """Whether a client's answer in a round has come, or the round is over."""
    asked = shown.get("asked") or {"round": 0}
    return shown.get("phase") == "finished" or (asked["round"] == number and client not in asked["waiting"])


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_an_envoy_that_disappears_is_dropped_and_counts_again_when_it_is_back(
    live: Live, tmp_path: Path, number: signal.Signals
) -> None:
    gates, process = Gates(tmp_path), live.local.processes["alice"]
    run = live.submit(gates.entry)
    live.until("alice works on round 2", lambda: gates.reached("alice"))
    process.send_signal(number)
    try:
        live.until("round 2 closes without alice, and 3 waits for bob", lambda: gates.reached("bob"))
        gates.open("alice")
        if number == signal.SIGKILL:
            live.again("alice")
    finally:
        if number == signal.SIGSTOP:
            process.send_signal(signal.SIGCONT)
    live.online("alice")
    gates.open("bob")
    # However long her new process takes to begin, round 4 has no quorum without her: Bob's second client waits for it.
    live.until("alice has answered round 4", lambda: answered(live.show(run), "alice", 4))
    gates.open("last")
    history = live.finished(run)
    assert history.rounds == 4
    assert statuses(history, "alice")[1] == "dropped"
    assert statuses(history, "alice")[3] == "updated"
    assert statuses(history, "bob/b")[1] == "updated"
    assert live.died() == []


def test_a_director_that_is_killed_in_a_round_keeps_its_deadline(live: Live, tmp_path: Path) -> None:
    gates = Gates(tmp_path)
    run = live.submit(gates.entry)
    live.until("alice works on round 2", lambda: gates.reached("alice"))
    before = live.show(run)["asked"]["deadline"]
    live.local.kill("director")
    live.local.start("director")
    shown = live.until("the Director is back", lambda: live.show(run))
    assert shown["asked"]["round"] > 2 or shown["asked"]["deadline"] == before
    live.until("round 2 closes without alice, and 3 waits for bob", lambda: gates.reached("bob"))
    for gate in ("alice", "bob", "last"):
        gates.open(gate)
    history = live.finished(run)
    assert statuses(history, "alice")[1] == "dropped"
    assert history.rounds == 4
