"""A simulated federation has the interface of a real one: runs are followed, stopped and resumed, and their models kept."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hansa
from hansa.core.keys import key
from hansa.data.schema import Field, check
from hansa.protocol import codec
from hansa.testing import blobs

MODEL = hansa.NumpyMLP((5, 3))
DATA = blobs(3)
LOCAL = hansa.LocalTraining(MODEL, hansa.SGD(0.1), batch_size=8, epochs=1)
EVALUATED = hansa.Evaluated(hansa.FedAvg(LOCAL, rounds=6), hansa.Evaluation(MODEL))


class Gate:
    """A callback that waits in a round until a test lets it go on, and may stop the run there."""

    def __init__(self, round_: int, act: str = "") -> None:
        self.round, self.act = round_, act
        self.reached, self.open = threading.Event(), threading.Event()

    def started(self, run: Any) -> None:
        pass

    def entry(self, run: Any, entry: hansa.core.history.Entry) -> None:
        if entry.round == self.round and entry.work == "train":
            if self.act:
                getattr(run, self.act)("enough of it")
            self.reached.set()
            assert self.act or self.open.wait(30)

    def ended(self, run: Any) -> None:
        pass


def digest(run: hansa.Run) -> str:
    return codec.digest(run.history.model)


def test_a_run_can_be_waited_for_or_followed_and_gives_the_same() -> None:
    federation = hansa.Federation.simulate(DATA)
    waited = federation.run(hansa.Experiment(MODEL, EVALUATED))
    gate = Gate(2)
    followed = federation.run(hansa.Experiment(MODEL, EVALUATED), wait=False, callbacks=[gate])
    assert gate.reached.wait(30)
    assert followed.status().phase == "running"
    assert not followed.status().over
    gate.open.set()
    entries = [event.entry for event in followed.stream() if event.entry is not None]
    assert [entry.to_json()["metrics"] for entry in entries] == [
        entry.to_json()["metrics"] for entry in waited.history.entries
    ]
    assert digest(followed) == digest(waited)
    assert followed.status().phase == "finished"
    assert [run.id for run in federation.runs()] == [waited.id, followed.id]
    assert federation.run_by_id(followed.id) is followed
    with pytest.raises(hansa.errors.UnknownName, match="run 'nobody'"):
        federation.run_by_id("nobody")


def test_a_cancelled_run_keeps_what_it_reached_and_goes_on_to_the_same_bits() -> None:
    federation = hansa.Federation.simulate(DATA)
    whole = federation.run(hansa.Experiment(MODEL, EVALUATED))
    run = federation.run(hansa.Experiment(MODEL, EVALUATED), wait=False, callbacks=[Gate(3, "cancel")])
    with pytest.raises(hansa.errors.RunFailed, match="enough of it") as caught:
        run.wait()
    assert caught.value.history is not None
    assert caught.value.history.rounds == 3
    assert (run.status().phase, run.status().why) == ("cancelled", "enough of it")
    assert run.resume().status().phase == "finished"
    assert digest(run) == digest(whole)
    assert len(run.history.entries) == len(whole.history.entries)
    with pytest.raises(hansa.errors.NotAllowed, match="is finished"):
        run.resume()


def test_a_stopped_run_has_finished() -> None:
    run = hansa.Federation.simulate(DATA).run(hansa.Experiment(MODEL, EVALUATED), callbacks=[Gate(2, "stop")])
    assert (run.status().phase, run.history.rounds) == ("finished", 2)


def test_the_best_and_every_second_model_are_kept(tmp_path: Path) -> None:
    experiment = hansa.Experiment(MODEL, EVALUATED, best="min loss", keep_every=2)
    run = hansa.Federation.simulate(DATA).run(experiment)
    losses = dict(run.history.series("loss"))
    best = min(losses, key=lambda round_: losses[round_])
    assert run.status().models == {"best": best, "2": 2, "4": 4, "6": 6}
    measured = hansa.Evaluation(MODEL)

    def loss(model: hansa.Tree) -> float:
        metrics = hansa.Metrics()
        for client in DATA.clients:
            context = hansa.ClientContext(client, DATA.shard(client))
            metrics = metrics.merge(measured(model, context).metrics)
        return metrics.value("loss")

    assert loss(run.model("best")) == pytest.approx(losses[best])
    assert loss(run.model(4)) == pytest.approx(losses[4])
    assert codec.digest(run.model(6)) == codec.digest(run.model("last")) == codec.digest(run.model())
    with pytest.raises(hansa.errors.UnknownName, match="model '3'") as caught:
        run.model(3)
    assert "keep_every" in str(caught.value)
    folder = run.download(tmp_path / "out")
    assert codec.digest(hansa.load_model(folder / "best.safetensors")) == codec.digest(run.model("best"))
    assert codec.digest(hansa.load_model(folder / "round-2.safetensors")) == codec.digest(run.model(2))
    assert hansa.load_results(folder).rounds == 6


def test_a_metric_that_best_names_and_nobody_measures_is_told_at_the_first_evaluation() -> None:
    with pytest.raises(
        hansa.errors.RunFailed, match="best is 'max auc', and the evaluation measured 'loss', 'accuracy'"
    ):
        hansa.Federation.simulate(DATA).run(hansa.Experiment(MODEL, EVALUATED, best="max auc"))


@pytest.mark.parametrize("choice", [{"best": "max accuracy"}, {"stop": hansa.Reached("max accuracy", 0.9)}])
def test_what_evaluations_decide_needs_evaluations(choice: Any) -> None:
    with pytest.raises(hansa.errors.ConfigError, match="judged by evaluations") as caught:
        hansa.Experiment(MODEL, hansa.FedAvg(LOCAL, rounds=2), **choice)
    assert "hansa.Evaluated" in caught.value.hint


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"best": "accuracy"}, "best by 'accuracy'"),
        ({"keep_every": 0}, "every 1 or more rounds"),
        ({"device": "gpu!"}, "no device policy"),
        ({"requirements": "xgboost"}, "is a list of texts"),
        ({"requirements": ("--index-url=x",)}, "is no requirement"),
        ({"loader": 3}, "the loader is a function"),
    ],
)
def test_choices_that_make_no_sense(choice: Any, said: str) -> None:
    with pytest.raises(hansa.errors.InputError, match=said):
        hansa.Experiment(MODEL, EVALUATED, **choice)


def test_a_run_stops_where_its_conditions_say() -> None:
    whole = hansa.Federation.simulate(DATA).run(hansa.Experiment(MODEL, EVALUATED)).history
    enough = whole.series("accuracy")[3][1]
    first = next(round_ for round_, value in whole.series("accuracy") if value >= enough)
    reached = hansa.Experiment(MODEL, EVALUATED, stop=hansa.Reached("max accuracy", enough))
    assert hansa.Federation.simulate(DATA).run(reached).history.rounds == first
    impatient = hansa.Experiment(MODEL, EVALUATED, stop=hansa.NoProgress("max loss", evaluations=2))
    assert hansa.Federation.simulate(DATA).run(impatient).history.rounds == 2, (
        "the loss falls, so its largest is the first"
    )


def halves(shard: Any, settings: Any) -> tuple[Any, Any]:
    """Half to train on, half to validate on."""
    whole = shard["train"]
    return whole.take(len(whole) // 2), whole.select(np.arange(len(whole) // 2, len(whole)))


def test_a_loader_decides_what_is_trained_and_validated_on() -> None:
    evaluation = hansa.Evaluation(MODEL, split="valid")
    algorithm = hansa.Evaluated(hansa.FedAvg(LOCAL, rounds=2), evaluation)
    training_only = hansa.FederatedData({client: DATA[client] for client in DATA})
    run = hansa.Federation.simulate(training_only).run(hansa.Experiment(MODEL, algorithm, loader=halves))
    weights = {outcome.weight for entry in run.history.entries for outcome in entry.outcomes.values()}
    sizes = {len(DATA[client]) for client in DATA}
    assert weights == {float(size // 2) for size in sizes} | {float(size - size // 2) for size in sizes}
    assert len(run.history.series("accuracy")) == 3


def test_a_loader_is_given_the_settings_and_another_seed_at_each_visit() -> None:
    seen: list[dict[str, Any]] = []

    def loader(shard: Any, settings: Any) -> tuple[Any, Any]:
        seen.append(dict(settings))
        return shard["train"], None

    experiment = hansa.Experiment(MODEL, hansa.FedAvg(LOCAL, rounds=2), loader=loader, settings={"size": 28})
    hansa.Federation.simulate(DATA).run(experiment)
    assert all(settings["size"] == 28 for settings in seen)
    assert len({settings["seed"] for settings in seen}) == len(seen) == 6


def test_a_loader_that_returns_one_thing_is_told_what_to_return() -> None:
    experiment = hansa.Experiment(MODEL, hansa.FedAvg(LOCAL, rounds=1), loader=lambda shard, settings: shard["train"])
    with pytest.raises(hansa.errors.RunFailed, match="the loader returned ClientDataset; expected: train, valid"):
        hansa.Federation.simulate(DATA).run(experiment)


def test_dummy_data_look_like_the_clients() -> None:
    federation = hansa.Federation.simulate(DATA)
    dummy = federation.dummy_data(16)
    assert dummy.clients == DATA.clients
    for client in dummy.clients:
        for split, examples in dummy.shard(client).items():
            assert split in DATA.shard(client)
            assert len(examples) == 16
            check(examples, federation.schema, client=client)
    assert not np.array_equal(dummy["0"]["x"], dummy["1"]["x"])


@pytest.mark.parametrize(
    "field",
    [
        Field((), "int64", classes=7),
        Field((3, 4), "uint8", range=(0, 255)),
        Field((2,), "float32", range=(-3.0, 3.0)),
        Field((2,), "float16"),
        Field((), "bool"),
        Field((5,), "int32"),
    ],
)
def test_made_up_values_are_as_their_field_says(field: Field) -> None:
    from hansa.data.dummy import values

    made = values(field, 50, key(0))
    assert made.shape == (50, *field.shape)
    assert made.dtype == field.dtype
    low, high = (0, field.classes - 1) if field.classes else field.range or (made.min(), made.max())
    assert low <= made.min() <= made.max() <= high
    if field.classes:
        assert set(made.ravel()) == set(range(field.classes)), "every class is there"


def test_debugging_shows_each_work_and_the_shapes_that_it_gives() -> None:
    experiment = hansa.Experiment(MODEL, EVALUATED)
    found = experiment.debug(hansa.Federation.simulate(DATA).dummy_data())
    assert [each.work for each in found.tried] == ["evaluate", "train"]
    assert found.tried[1].update == {"layer1.weight": "float32[3, 5]", "layer1.bias": "float32[3]"}
    assert not found.tried[1].refusal
    assert found.tried[0].metrics.keys() == {"loss", "accuracy"}
    assert "layer1.weight  float32[3, 5]" in str(found)


def test_debugging_lets_a_work_s_own_error_out() -> None:
    def broken(shard: Any, settings: Any) -> tuple[Any, Any]:
        raise KeyError("no such column")

    with pytest.raises(KeyError, match="no such column"):
        hansa.Experiment(MODEL, EVALUATED, loader=broken).debug(DATA)


def test_the_status_reads_well_and_is_escaped_in_a_notebook() -> None:
    run = hansa.Federation.simulate(DATA).run(hansa.Experiment(MODEL, EVALUATED, name="<b>bold</b>"))
    assert repr(run.status()) == "<finished after 6 of 6 rounds>"
    assert "&lt;b&gt;bold" in run.status()._repr_html_()
    assert "<b>bold" not in run.status()._repr_html_()
    federation = hansa.Federation.simulate(DATA)
    assert [envoy.name for envoy in federation.envoys()] == list(DATA.clients)
    assert str(len(DATA["1"])) in federation._repr_html_()
    shown: Any
    for shown in (run, run.experiment, *federation.envoys()):
        assert "<table>" in shown._repr_html_()
        assert "<b>bold" not in shown._repr_html_()


def test_ctrl_c_in_a_run_is_raised_and_the_run_can_go_on() -> None:
    class Pressed(Gate):
        def entry(self, _run: Any, entry: Any) -> None:
            if entry.round == self.round and entry.work == "train":
                self.round = -1
                raise KeyboardInterrupt

    federation = hansa.Federation.simulate(DATA)
    with pytest.raises(KeyboardInterrupt):
        federation.run(hansa.Experiment(MODEL, EVALUATED), callbacks=[Pressed(2)])
    (run,) = federation.runs()
    assert run.status().phase == "cancelled"
    assert digest(run.resume()) == digest(hansa.Federation.simulate(DATA).run(hansa.Experiment(MODEL, EVALUATED)))
