"""Rounds that do not wait, on real processes: grace, over-selection, patience, retries, and a run that nobody is there for."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hansa.cli.follow import state

if TYPE_CHECKING:
    import hansa
    from tests.integration.federation.conftest import Live

EXPERIMENT = Path(__file__).parent / "experiments" / "policies.py"


class Told:
    """The experiment as a test wants it, and the gates at which its clients wait."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.gates = folder / "gates"
        self.gates.mkdir()
        self.entry = folder / "policies.py"
        lines, wanted = EXPERIMENT.read_text().splitlines(), {"GATES": f"Path({str(self.gates)!r})", **settings}
        for name, value in wanted.items():
            (place,) = [n for n, line in enumerate(lines) if line.split(":")[0].split(" =")[0] == name]
            lines[place] = f"{name} = {value}"
        self.entry.write_text("\n".join(lines) + "\n")

    def reached(self, gate: str) -> bool:
        """Whether somebody stands there."""
        return (self.gates / f"{gate}.reached").exists()

    def open(self, gate: str) -> None:
        """Let them pass."""
        (self.gates / f"{gate}.open").touch()

    def tries(self, client: str) -> int:
        """How often a client has tried."""
        return len((self.gates / f"{client.replace('/', '-')}.tries").read_text())


def statuses(history: hansa.History, client: str) -> list[str]:
    """What became of a client, ask by ask; "" where it was not asked."""
    outcomes = [entry.outcomes.get(client) for entry in history.entries]
    return ["" if outcome is None else str(outcome.status) for outcome in outcomes]


def test_over_selection_keeps_the_first_and_stops_the_others(live: Live, tmp_path: Path) -> None:
    told = Told(
        tmp_path,
        CLOSING="hansa.Closing.quorum(2, grace=0.0)",
        ROUNDS="3",
        WAIT='{("alice", 1): "alice", ("bob/b", 3): "last"}',
    )
    run = live.submit(told.entry)
    live.until("alice is at work", lambda: told.reached("alice"))
    # Nobody opens her gate, and Bob's second client waits: she can answer in round 3 only if her work was stopped in round 1.
    live.until("round 3", lambda: told.reached("last"))
    history = live.finished(run)
    told.open("last")
    assert statuses(history, "alice")[0] == "dropped"
    assert statuses(history, "alice")[2] == "updated"
    assert statuses(history, "bob/b")[2] == "dropped"
    first = history.entries[0]
    assert first.outcomes["alice"].why == "it had not answered when the ask was closed"
    assert (first.up, first.down) == (2 * first.down // 3, first.down), "two updates of three models"


def test_a_grace_is_shown_and_kept_by_a_director_that_is_killed(live: Live, tmp_path: Path) -> None:
    told = Told(tmp_path, CLOSING="hansa.Closing.quorum(2, grace=6.0)", ROUNDS="1", WAIT='{("alice", 1): "alice"}')
    run = live.submit(told.entry)
    shown = live.until(
        "the grace has begun", lambda: (found := live.show(run)).get("asked") and found["asked"]["until"] and found
    )
    assert shown["asked"]["grace"] == 6.0
    assert shown["asked"]["updated"] == shown["asked"]["count"] == 2
    assert state(shown).startswith("running: round 1, train: 2 of 2 updates, waits for alice, until ")
    live.local.kill("director")
    live.local.start("director")
    history = live.finished(run)
    assert statuses(history, "alice") == ["dropped"]
    assert live.over(run)["ended"] >= shown["asked"]["until"]


def test_who_does_not_answer_in_time_is_dropped_and_asked_again(live: Live, tmp_path: Path) -> None:
    told = Told(
        tmp_path,
        CLOSING="hansa.Closing.first(3, patience=6.0)",
        ROUNDS="4",
        WAIT='{("alice", 1): "alice"}',
    )
    history = live.finished(live.submit(told.entry))
    assert statuses(history, "alice")[0] == "dropped"
    assert history.entries[0].outcomes["alice"].why == "it did not answer within 6 s"
    assert "updated" in statuses(history, "alice")[1:]
    assert statuses(history, "bob/a") == ["updated"] * 4


def test_an_envoy_that_vanishes_frees_its_place_and_takes_part_again(live: Live, tmp_path: Path) -> None:
    gates = {("alice", 1): "alice", **{(f"bob/{c}", n): f"bob {n}" for c in "ab" for n in (3, 5, 6)}}
    told = Told(tmp_path, CLOSING="hansa.Closing.first(2, patience=4.0)", ROUNDS="6", WAIT=repr(gates))
    run = live.submit(told.entry)
    live.until("alice is at work", lambda: told.reached("alice"))
    live.local.processes["alice"].send_signal(signal.SIGKILL)
    live.until("nobody has answered in time", lambda: live.show(run)["why"].startswith("past its patience"))
    told.open("bob 3")
    live.until("round 5", lambda: told.reached("bob 5"))
    live.until("her place is free", lambda: live.show(run)["envoys"]["alice"]["missing"])
    live.again("alice")
    live.online("alice")
    told.open("bob 5")
    history = live.finished(run)  # in the last round she is the first to answer: Bob stands at a gate that nobody opens
    told_of = statuses(history, "alice")
    assert told_of[-1] == "updated"
    assert history.entries[told_of.index("dropped")].outcomes["alice"].why == "it did not answer within 4 s"


def test_a_run_waits_for_owners_and_goes_on_when_one_is_back(live: Live, tmp_path: Path) -> None:
    told = Told(
        tmp_path,
        CLOSING="hansa.Closing.quorum(1, grace=6.0)",
        ROUNDS="2",
        WAIT='{("alice", 1): "alice", ("bob/b", 1): "bob"}',
    )
    run = live.submit(told.entry)
    live.until("the first has counted", lambda: (live.show(run).get("asked") or {"updated": 0})["updated"])
    for name in ("alice", "bob"):
        live.local.processes[name].send_signal(signal.SIGKILL)
    waits = live.until(
        "nobody is there", lambda: (found := live.show(run)["why"]).startswith("waits for owners") and found
    )
    assert waits == "waits for owners: nobody can be asked before one of them is back: alice, bob"
    live.again("bob")
    history = live.finished(run)
    assert statuses(history, "bob/a") == ["updated", "updated"]
    live.again("alice")
    live.online()


def test_a_run_waits_where_those_who_are_there_are_too_few_for_it(live: Live, tmp_path: Path) -> None:
    told = Told(
        tmp_path,
        CLOSING="hansa.Closing.quorum(2, grace=2.0)",
        SAMPLER="hansa.UniformSampler(3)",
        WAIT='{("alice", 1): "alice"}',
    )
    run = live.submit(told.entry)
    live.until("alice is at work", lambda: told.reached("alice"))
    live.local.processes["alice"].send_signal(signal.SIGKILL)
    waits = live.until(
        "two are too few", lambda: (found := live.show(run)["why"]).startswith("waits for owners") and found
    )
    assert waits == "waits for owners: 2 that can be asked are too few before one of them is back: alice"
    live.again("alice")
    assert len(live.finished(run).entries[1].outcomes) == 3


@pytest.mark.parametrize("retries", [1, 2])
def test_a_work_that_fails_is_tried_again(live: Live, tmp_path: Path, retries: int) -> None:
    told = Told(tmp_path, CLOSING=f"hansa.Closing.all(retries={retries})", ROUNDS="1", FAILS='{"bob/a": 2}')
    shown = live.over(live.submit(told.entry))
    assert told.tries("bob/a") == retries + 1
    assert told.tries("alice") == 1
    if retries == 2:
        assert shown["phase"] == "finished", shown["why"]
    else:
        assert shown["phase"] == "failed"
        assert "after 2 attempts" in shown["why"]


def test_who_is_left_out_and_why_is_in_the_history(live: Live, tmp_path: Path) -> None:
    told = Told(tmp_path, TIRED='"bob/b"', WAIT='{("alice", 2): "alice"}')
    run = live.submit(told.entry)
    live.until("alice is at work on round 2", lambda: told.reached("alice"))
    shown = live.until("only she is", lambda: (found := live.show(run))["asked"]["waiting"] == ["alice"] and found)
    assert shown["last"]["left_out"] == {"bob/b": "it is tired"}
    assert state(shown).endswith("waits for alice; left out: bob/b")
    told.open("alice")
    history = live.finished(run)
    assert [entry.left_out for entry in history.entries] == [{"bob/b": "it is tired"}] * 2
    assert statuses(history, "bob/b") == ["", ""]
