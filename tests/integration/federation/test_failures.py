"""What an experiment may do to itself, and to nobody else: each failure is told once, and the next experiment runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hansa.errors import InputError, NotAllowed, RunFailed, UnknownName
from hansa.protocol import codec
from hansa.protocol.messages import Blob, Request

if TYPE_CHECKING:
    from tests.integration.federation.conftest import Live, MakeLive

EXPERIMENTS = Path(__file__).parent / "experiments"
AVERAGING = EXPERIMENTS / "averaging.py"


@pytest.fixture(scope="module")
def shared(make_live: MakeLive) -> Live:
    """Two experiments at once, little memory, little time."""
    return make_live(
        director={"max_running = 1": "max_running = 4", 'memory = "4 GiB"': 'memory = "512 MiB"', '"10 min"': '"6 s"'},
        envoy={'memory = "8 GiB"': 'memory = "512 MiB"', 'time = "1 h"': 'time = "6 s"'},
    )


def act(folder: Path, what: str, who: str = "alice") -> Path:
    """An experiment file in which somebody does something."""
    text = (EXPERIMENTS / "acting.py").read_text()
    text = text.replace('ACT = "nothing"', f'ACT = "{what}"').replace('WHO = "alice"', f'WHO = "{who}"')
    entry = folder / "acting.py"
    entry.write_text(text)
    return entry


def test_a_task_that_raises_is_told_once_with_client_round_and_place(live: Live, tmp_path: Path) -> None:
    run = live.submit(act(tmp_path, "raise"))
    shown = live.over(run)
    assert shown["phase"] == "failed"
    why = shown["why"]
    assert why.count("alice: failed:") == 1
    assert "round 1, work 'train'" in why
    assert re.search(r"Surprise\n.*acting\.py, line \d+, in act", why, re.DOTALL)
    assert "a text" not in why
    with live.local.user() as user, pytest.raises(RunFailed) as failure:
        user.wait(run)
    assert [entry.outcomes["alice"].status for entry in failure.value.history.entries] == ["failed"]
    live.works()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        pytest.param("exit", "exit status 3", marks=pytest.mark.thorough),
        ("crash", "signal 11"),
        ("hungry", "memory"),
    ],
)
def test_a_collaborator_that_ends_takes_nobody_along(live: Live, tmp_path: Path, what: str, said: str) -> None:
    other = live.submit(AVERAGING)
    shown = live.over(live.submit(act(tmp_path, what)))
    assert shown["phase"] == "failed"
    assert "alice: failed:" in shown["why"]
    assert said.lower() in shown["why"].lower() or (what == "hungry" and "MemoryError" in shown["why"])
    assert "bob" not in shown["why"].partition("bob: ")[0].replace("bob/", "")
    assert codec.digest(live.finished(other).model) == live.simulated(AVERAGING)
    assert live.died() == []
    live.works()


@pytest.mark.parametrize(
    ("what", "said"),
    [("raise", "Surprise"), pytest.param("exit", "exit status 3", marks=pytest.mark.thorough), ("crash", "signal 11")],
)
def test_an_aggregator_that_ends_takes_nobody_along(live: Live, tmp_path: Path, what: str, said: str) -> None:
    other = live.submit(AVERAGING)
    shown = live.over(live.submit(act(tmp_path, what, "aggregator")))
    assert shown["phase"] == "failed"
    assert said in shown["why"]
    assert codec.digest(live.finished(other).model) == live.simulated(AVERAGING)
    assert live.died() == []
    live.works()


def test_what_never_ends_is_ended(live: Live, tmp_path: Path) -> None:
    said = {
        ("endless", "alice"): "time limit of 6 s",
        ("endless", "aggregator"): "did not answer within 6 s",
        ("never load", "alice"): "not loaded within 6 s",
        ("never load", "aggregator"): "did not answer within 6 s",
    }
    runs = {}
    for what, who in said:
        folder = tmp_path / f"{what}-{who}".replace(" ", "-")
        folder.mkdir()
        runs[what, who] = live.submit(act(folder, what, who), envoys=("alice", "bob"))
    for case, run in runs.items():
        shown = live.over(run)
        assert shown["phase"] == "failed"
        assert said[case] in shown["why"]
    live.works()


def test_a_collaborator_gives_away_no_file_that_is_not_its_own(live: Live, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret")
    entry = act(tmp_path, "steal")
    entry.write_text(entry.read_text().replace('SECRET = ""', f"SECRET = {str(secret)!r}"))
    shown = live.over(live.submit(entry))
    assert shown["phase"] == "failed"
    assert "named a file outside of its folder" in shown["why"]
    assert secret.read_text() == "a secret"
    live.works()


def test_an_envoy_that_cannot_load_an_experiment_takes_no_part(live: Live, tmp_path: Path) -> None:
    shown = live.over(live.submit(act(tmp_path, "refuse to load"), envoys=("alice", "bob")))
    assert shown["phase"] == "failed"
    assert "alice" in shown["why"]
    assert "Surprise" in shown["why"]
    assert "a text" not in shown["why"]
    live.works()


def test_a_terminal_state_never_changes(live: Live, tmp_path: Path) -> None:
    finished, failed = live.submit(AVERAGING), live.submit(act(tmp_path, "raise"))
    before = [live.over(finished), live.over(failed)]
    with live.local.user() as user:
        for run in (finished, failed):
            user.about(run, Request.CANCEL)
            user.about(run, Request.CANCEL)
        assert [user.about(run) for run in (finished, failed)] == before
    live.restart("director")
    live.online()
    with live.local.user() as user:
        after = [user.about(run) for run in (finished, failed)]
    assert [each["phase"] for each in after] == ["finished", "failed"]
    assert [each["model"] for each in after] == [each["model"] for each in before]
    live.works()


def test_two_runs_of_one_name_at_once_have_files_of_their_own(live: Live) -> None:
    runs = [live.submit(EXPERIMENTS / "scaffold.py", name="same") for _ in range(2)]
    assert runs[0] != runs[1]
    for run in runs:
        assert codec.digest(live.finished(run).model) == live.simulated(EXPERIMENTS / "scaffold.py")


@pytest.mark.parametrize("name", ["../../x", "..", "/etc/passwd", "Größe 日本", "a\nb", "x" * 500, "."])
def test_a_hostile_name_becomes_a_harmless_folder_or_is_refused(live: Live, name: str) -> None:
    before = set(live.local.folder.glob("*"))
    try:
        run = live.submit(AVERAGING, name=name)
    except InputError:
        return
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", run)
    live.finished(run)
    assert all(path.name.startswith("initial-") for path in set(live.local.folder.glob("*")) - before)
    assert (live.store / "runs" / run).parent == live.store / "runs"


def test_a_submission_that_is_refused_leaves_a_beginning_at_most_and_that_spoils_nobodys(
    live: Live, tmp_path: Path
) -> None:
    entry = tmp_path / "own.py"
    entry.write_text(AVERAGING.read_text() + "\nNOBODY_ELSE = 1\n")
    package, _ = live.package(entry)
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"short")
    sent = live.store / "blobs"
    before = {path.name for path in sent.rglob("*") if path.is_file()}
    with live.local.user() as user, pytest.raises((InputError, Exception)):
        user.submit(package, wrong)
    live.restart("director")
    live.online()
    left = {path.name for path in sent.rglob("*") if path.is_file()} - before
    assert left <= {f"{package.manifest.initial.sha256}.part"}
    live.works()  # its initial model is the same, and what lies there is no beginning of it
    assert not {path.name for path in sent.rglob("*.part")}


# --- several users


def test_a_run_is_its_owners_until_it_is_shared(live: Live) -> None:
    run = live.submit(AVERAGING)
    live.finished(run)
    with live.local.user() as owner, live.person("dora") as other:
        model = Blob(**owner.about(run)["model"])

        def refused() -> None:
            for request in (Request.SHOW, Request.CANCEL, Request.REMOVE, Request.SHARE):
                with pytest.raises(UnknownName, match="there is no run"):
                    other.about(run, request, "dora")
            with pytest.raises(UnknownName):
                list(other.follow(run))
            with pytest.raises(UnknownName):
                other.fetch(run, model, live.local.folder / "stolen")
            assert run not in {each["run"] for each in other.overview()["runs"]}

        refused()
        owner.about(run, Request.SHARE, "dora")
        assert other.about(run)["phase"] == "finished"
        assert list(other.follow(run))[-1]["run"]["phase"] == "finished"
        other.fetch(run, model, live.local.folder / "shared-model")
        for request in (Request.CANCEL, Request.REMOVE, Request.SHARE):
            with pytest.raises(NotAllowed, match="belongs to"):
                other.about(run, request, "eve")
