"""A checkpoint is there whole or not at all, whatever is killed when, and a simulation goes on from it to the same bits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hansa.algorithms import FedAvg
from hansa.callbacks import CallbackFailed, Checkpoint
from hansa.core.ask import Closing
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import ConfigError, InputError, UnknownName
from hansa.experiment import disk, load_results
from hansa.protocol import codec


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test can cut the power: nothing has to lie on the disk itself."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def bits(history: Any) -> tuple[str, Any]:
    """What must be equal: the model, and all that is written of the run; but not seconds, which a clock counts anew."""
    entries = [entry.to_json() | {"seconds": None} for entry in history.entries]
    return codec.digest(history.model), entries


def folders(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@dataclass(frozen=True)
class Counting:
    """Adds to the model how often the client was here before, which only its private state tells."""

    buffers: frozenset[str] = frozenset()

    def __call__(self, broadcast: Tree, context: ClientContext, /) -> Update:
        before = context.state.get("visits", np.zeros(()))
        change = {name: np.full_like(leaf, float(before) + int(context.id)) for name, leaf in broadcast.items()}
        return Update(change, 1.0, state={"visits": np.asarray(before + 1.0)})


# --- what is written


def test_a_checkpoint_is_read_by_whoever_reads_results(
    tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    history = simulated(small(2), [Checkpoint(tmp_path)]).run()
    assert folders(tmp_path) == ["round-00002"]
    assert bits(load_results(tmp_path / "round-00002")) == bits(history)
    assert bits(Checkpoint.load(tmp_path)) == bits(history)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"keep": "all"}, [0, 1, 2, 3, 4, 5]),
        ({"keep": "all", "every": 2}, [0, 2, 4, 5]),
        ({"keep": "last"}, [5]),
        ({"keep": "last", "most": 3}, [3, 4, 5]),
        ({"keep": "best", "by": "max loss"}, [0, 5]),
        ({"keep": "best", "by": "max loss", "most": 2}, [0, 1, 5]),
        ({"keep": "best", "by": "min loss", "every": 4}, [5]),
        ({"keep": "best", "by": "min no-such-metric"}, [5]),
    ],
)
def test_what_is_kept(
    settings: dict[str, Any], kept: list[int], tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    simulated(small(5), [Checkpoint(tmp_path, **settings)]).run()
    assert folders(tmp_path) == [f"round-{round_:05d}" for round_ in kept]


def test_the_best_is_kept_whatever_its_round(tmp_path: Path, small: Callable[..., Any], simulated: Any) -> None:
    history = simulated(small(7), [Checkpoint(tmp_path, keep="best", every=5)]).run()
    best, value = history.best("max accuracy")
    assert best % 5
    loaded = Checkpoint.load(tmp_path, "best")
    assert (loaded.rounds, loaded.final("accuracy")) == (best, value)
    assert Checkpoint.load(tmp_path, best).rounds == best


def test_a_model_lies_on_disk_once_in_each_checkpoint(
    tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    simulated(small(3), [Checkpoint(tmp_path)]).run()
    (place,) = tmp_path.iterdir()
    trees = [codec.digest(codec.decode(path.read_bytes())) for path in place.glob("*.safetensors")]
    assert len(trees) == len(set(trees)) == 3, "the model, the one before it, and the momentum"


# --- going on


@pytest.mark.parametrize("stop", range(1, 15))
def test_a_run_that_was_stopped_after_any_ask_goes_on_to_the_same_bits(
    stop: int, tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    class Deadly(Checkpoint):
        def entry(self, run: Any, entry: Any) -> None:
            super().entry(run, entry)
            if len(run.history.entries) == stop:
                raise KeyboardInterrupt

    whole = simulated(small(3)).run()
    assert len(whole.entries) == 16
    with pytest.raises(KeyboardInterrupt):
        simulated(small(3), [Deadly(tmp_path)]).run()
    again = simulated(small(3), [Checkpoint(tmp_path)], Checkpoint.resume(tmp_path)).run()
    assert bits(again) == bits(whole)
    assert bits(Checkpoint.load(tmp_path)) == bits(whole)


@pytest.mark.parametrize("closing", [Closing.all(), Closing.first(2)], ids=["all", "first"])
def test_private_states_and_updates_in_flight_go_on_too(
    closing: Closing, tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    experiment = small(algorithm=FedAvg(Counting(), 6, closing=closing))
    whole = simulated(experiment).run()
    simulated(small(algorithm=FedAvg(Counting(), 3, closing=closing)), [Checkpoint(tmp_path)]).run()
    again = simulated(experiment, [Checkpoint(tmp_path)], Checkpoint.resume(tmp_path)).run()
    assert bits(again) == bits(whole)
    fresh = simulated(small(algorithm=FedAvg(Counting(), 3, closing=closing), initial=again.model)).run()
    assert bits(fresh)[0] != bits(whole)[0], "the states matter here"


def test_a_checkpoint_may_be_where_another_run_begins(
    tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    first = simulated(small(2), [Checkpoint(tmp_path)]).run()
    onward = simulated(small(1, initial=Checkpoint.load(tmp_path).model)).run()
    assert onward.series("loss")[0][1] == first.final("loss")


# --- killed


class Killed(BaseException):
    """The process is no more: nothing that it calls has an effect."""


def kill_at(step: int, patch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Let the `step`-th change of the file system, and all after it, not happen. Returns how to count them."""
    count = 0

    def before(change: Callable[..., Any]) -> Callable[..., Any]:
        def changing(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count > step:
                raise Killed
            return change(*arguments, **named)

        return changing

    for owner, name in (
        (os, "write"),
        (os, "fsync"),
        (shutil, "rmtree"),
        (Path, "mkdir"),
        (Path, "rename"),
        (Path, "replace"),
        (Path, "unlink"),
    ):
        patch.setattr(owner, name, before(getattr(owner, name)))
    return lambda: count


def test_whenever_the_process_is_killed_the_last_good_checkpoint_is_there_and_the_run_goes_on(
    tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    experiment = small(2, algorithm=small(2).algorithm.inner)
    whole, step, before = simulated(experiment).run(), 0, 0
    while True:
        folder = tmp_path / str(step)
        with pytest.MonkeyPatch.context() as patch:
            count = kill_at(step, patch)
            try:
                simulated(experiment, [Checkpoint(folder)]).run()
            except Killed:
                pass
            else:
                assert count() == step
                break
        resumed = None
        if folder.is_dir() and any(
            each.name.startswith("round-0") and "." not in each.name for each in folder.iterdir()
        ):
            resumed = Checkpoint.resume(folder)
            assert resumed.history.rounds >= before, "a later kill does not cost an earlier checkpoint"
            before = resumed.history.rounds
        history = simulated(experiment, [Checkpoint(folder)], resumed).run()
        assert bits(history) == bits(whole)
        assert folders(folder) == ["round-00002"], "what was left behind is gone"
        step += 1
    assert step > 20
    assert before == 2


def test_a_checkpoint_that_moves_on_by_an_evaluation_is_never_without_its_standing(
    tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    whole, died = simulated(small(1)).run(), 0
    for step in range(0, 200, 3):
        folder = tmp_path / str(step)
        with pytest.MonkeyPatch.context() as patch:
            kill_at(step, patch)
            try:
                simulated(small(1), [Checkpoint(folder)]).run()
                break
            except Killed:
                died += 1
        if folder.is_dir() and (folder / "round-00001").is_dir():
            again = simulated(small(1), [Checkpoint(folder)], Checkpoint.resume(folder)).run()
            assert bits(again) == bits(whole)
    assert died > 10


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import conftest
from hansa.callbacks import Checkpoint

class Saying(Checkpoint):
    def entry(self, run, entry):
        super().entry(run, entry)
        print(run.history.rounds, flush=True)

conftest.Simulated(conftest.experiment(100000), [Saying(sys.argv[2])]).run()
"""


def test_after_kill_9_a_real_process_left_a_checkpoint_to_go_on_from(
    tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        said = next(line for line in process.stdout if int(line) >= 5)
        process.send_signal(signal.SIGKILL)
    resumed = Checkpoint.resume(tmp_path)
    assert resumed.history.rounds >= int(said)
    rounds = resumed.history.rounds + 1
    again = simulated(small(rounds), [Checkpoint(tmp_path)], resumed).run()
    assert bits(again) == bits(simulated(small(rounds)).run())


# --- what cannot be


def test_a_folder_with_another_runs_checkpoints_is_refused_before_the_run(
    tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    simulated(small(2), [Checkpoint(tmp_path)]).run()
    with pytest.raises(ConfigError) as caught:
        simulated(small(2, seed=4), [Checkpoint(tmp_path)]).run()
    assert str(caught.value) == (
        "the folder holds a checkpoint of round 2 that is not of this run's past\n"
        f"  where: {tmp_path}\n"
        "  what to do: go on from it with Checkpoint.resume(folder), name another folder, or remove this one"
    )


def test_a_state_that_cannot_be_kept_costs_the_standing_but_not_the_model(
    tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    class Odd(FedAvg):
        """Its state lies in something that nobody knows how to write."""

        def start(self, params: Tree, seed: int) -> Any:
            return types.SimpleNamespace(inner=super().start(params, seed))

        def ask(self, state: Any, population: Any) -> Any:
            return super().ask(state.inner, population)

        def tell(self, state: Any, reply: Any) -> Any:
            return types.SimpleNamespace(inner=super().tell(state.inner, reply))

        def params(self, state: Any) -> Tree:
            return super().params(state.inner)

        def round(self, state: Any) -> int:
            return super().round(state.inner)

    odd = small(algorithm=Odd(Counting(), 2))
    with pytest.warns(CallbackFailed, match="a types.SimpleNamespace cannot be kept in a snapshot"):
        history = simulated(odd, [Checkpoint(tmp_path)]).run()
    assert bits(Checkpoint.load(tmp_path)) == bits(history)
    assert Checkpoint.resume(tmp_path).progress is None


def test_a_run_elsewhere_has_its_model_fetched(tmp_path: Path, small: Callable[..., Any], simulated: Any) -> None:
    class Elsewhere(simulated):  # type: ignore[misc]  # a fixture gives the class
        """Its progress stays with a Director, and so does its model until it is asked for."""

        @property
        def history(self) -> Any:
            return self._here.history.with_model({}, self._here.history.rounds)

        def model(self, _which: Any = "last") -> Tree:
            return dict(self._here.history.model)

    here = simulated(small(2))
    run = Elsewhere(small(2))
    run._here = here
    watching = Checkpoint(tmp_path)
    history = here.run()
    watching.started(run)
    watching.entry(run, history.entries[-1])
    watching.ended(run)
    assert bits(Checkpoint.load(tmp_path)) == bits(history)
    assert Checkpoint.resume(tmp_path).progress is None
    watching.started(run)  # the same run, followed again


@pytest.mark.parametrize(
    ("which", "said"),
    [
        (7, "there is no checkpoint '7'"),
        ("latest", "there is no checkpoint 'latest'"),
        ("best", "there is no metric 'f1'"),
    ],
)
def test_a_checkpoint_that_is_not_there(
    which: Any, said: str, tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    simulated(small(1), [Checkpoint(tmp_path)]).run()
    with pytest.raises(UnknownName, match=said):
        Checkpoint.load(tmp_path, which, by="max f1")


def test_a_folder_without_any(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no checkpoint"):
        Checkpoint.load(tmp_path / "nowhere")


def damaged(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def act(place: Path) -> None:
        document = json.loads((place / "standing.json").read_bytes())
        change(document)
        (place / "standing.json").write_text(json.dumps(document))

    return act


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: (place / "standing.json").write_text("{"),
        lambda place: (place / "standing.json").write_text("[]"),
        lambda place: (place / "history.json").write_text("{}"),
        lambda place: (place / "model.safetensors").write_bytes(b"\0" * 7),
        damaged(lambda document: document["trees"].append("../../../etc/passwd")),
        damaged(lambda document: document["trees"].clear()),
        damaged(lambda document: document.pop("fallback")),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    damage: Callable[[Path], object], tmp_path: Path, small: Callable[..., Any], simulated: Any
) -> None:
    simulated(small(1), [Checkpoint(tmp_path)]).run()
    damage(tmp_path / "round-00001")
    with pytest.raises(InputError) as caught:
        Checkpoint.resume(tmp_path)
    assert str(tmp_path) in caught.value.where


@pytest.mark.parametrize(
    "wrong",
    [{"keep": "some"}, {"by": "accuracy"}, {"every": 0}, {"most": 0}, {"keep": "all", "most": 2}],
)
def test_settings_that_make_no_sense_are_refused(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Checkpoint("folder", **wrong)


def test_a_full_disk_is_a_warning_and_the_run_goes_on(
    tmp_path: Path, small: Callable[..., Any], simulated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "replace", full)
    with pytest.warns(CallbackFailed, match="the checkpoint cannot be written: No space left on device") as warned:
        assert simulated(small(2), [Checkpoint(tmp_path)]).run().rounds == 2
    assert len(warned) > 1
