"""Compressed puts transforms on the wire of any algorithm: same training, fewer bytes, and the gate still sees what comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hansa.algorithms import Evaluated, FedAvg
from hansa.algorithms.compressed import Compressed
from hansa.algorithms.fedbuff import FedBuff
from hansa.core.ask import Ask, Status
from hansa.core.history import History
from hansa.core.keys import key
from hansa.core.tree import Tree, nbytes
from hansa.core.work import ClientContext, Update
from hansa.errors import AggregationError, ConfigError, InputError, TreeMismatch, UnknownName
from hansa.experiment import Experiment
from hansa.experiment.files import load_experiment
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.models.torch import TorchModel
from hansa.rules import Both, Collect, WeightedMean
from hansa.rules.compose import rounding
from hansa.simulation import SequentialExecutor
from hansa.simulation.choice import ExecutorChoice, Fused, Processes, Sequential
from hansa.simulation.processes.reduction import merges_exactly
from hansa.testing import blobs, check_rule
from hansa.testing.laws import unlike_bits
from hansa.training import SGD, Evaluation, LocalTraining
from hansa.transforms import Chained, Decoded, Half, Quantised, Sparsified, Transform, Transformed

DATA = blobs(4)
MODEL = NumpyMLP((5, 16, 3))
LOCAL = LocalTraining(MODEL, SGD(0.2), batch_size=8, epochs=1)
AVERAGING = FedAvg(LOCAL, rounds=3)


def ran(algorithm: Any, executor: ExecutorChoice | None = None, model: Any = MODEL) -> History:
    federation = Federation.simulate(DATA, executor=executor or Sequential())
    return federation.run(Experiment(model, algorithm, seed=3)).history


# --- bytes and accuracy


@pytest.mark.parametrize(
    ("transform", "share"),
    [
        (Half(), 0.5),
        (Quantised(8), 0.34),
        (Quantised(4), 0.22),
        (Quantised(1), 0.13),
        (Sparsified(0.1), 0.25),
        ([Sparsified(0.1), Quantised(8)], 0.24),
    ],
    ids=str,
)
def test_the_history_shows_that_fewer_bytes_came_and_as_many_went(transform: Any, share: float) -> None:
    plain, compressed = ran(AVERAGING), ran(Compressed(AVERAGING, transform, feedback=True))
    for before, after in zip(plain.entries, compressed.entries, strict=True):
        assert after.up <= share * before.up
        assert after.down == before.down


def test_training_goes_on_as_well_with_a_quarter_of_the_bytes() -> None:
    def measured(algorithm: Any) -> float:
        return ran(Evaluated(algorithm, Evaluation(MODEL))).final("accuracy")

    averaging = replace(AVERAGING, rounds=12)
    plain = measured(averaging)
    assert plain > 0.8
    assert measured(Compressed(averaging, Quantised(8))) > plain - 0.05
    assert measured(Compressed(averaging, Sparsified(0.1), feedback=True)) > plain - 0.1


# --- everywhere the same


EXPERIMENT = """
import hansa
from hansa.algorithms.compressed import Compressed
from hansa.models import NumpyMLP
from hansa.training import SGD, LocalTraining
from hansa.transforms import Quantised, Sparsified

model = NumpyMLP((5, 16, 3))
local = LocalTraining(model, SGD(0.2), batch_size=8, epochs=1)
algorithm = Compressed(hansa.FedAvg(local, rounds=3), [Sparsified(0.3), Quantised(6)], feedback=True)
experiment = hansa.Experiment(model, algorithm, seed=3)
"""


def test_worker_processes_give_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "compressed.py").write_text(EXPERIMENT)
    loaded = load_experiment(tmp_path / "compressed.py").experiment

    def model(executor: ExecutorChoice) -> History:
        return Federation.simulate(DATA, executor=executor).run(loaded, source=tmp_path / "compressed.py").history

    sequential, processes = model(Sequential()), model(Processes(workers=2))
    assert not unlike_bits(processes.model, sequential.model)
    assert [entry.up for entry in processes.entries] == [entry.up for entry in sequential.entries]


@pytest.mark.parametrize("feedback", [False, True])
def test_engines_train_and_what_they_give_is_encoded(feedback: bool) -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))

    model = TorchModel(network, nn.functional.cross_entropy)
    local = LocalTraining(model, SGD(0.2), batch_size=8, epochs=1)
    algorithm = Compressed(FedAvg(local, rounds=3), Quantised(4), feedback=feedback)
    torch.set_num_threads(1)
    sequential, fused = ran(algorithm, model=model), ran(algorithm, Fused("traced"), model=model)
    assert fused.environment["engine train"] == "traced"
    assert not unlike_bits(fused.model, sequential.model)


# --- the gate


def test_an_update_that_is_not_finite_is_refused_although_it_was_encoded() -> None:
    class Diverging:
        buffers: frozenset[str] = frozenset()

        def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
            bad = np.nan if context.id == DATA.clients[0] else 1.0
            return Update({name: leaf * np.float32(bad) for name, leaf in broadcast.items()})

    for transform in (Half(), Quantised(2), Sparsified(0.1), Chained((Sparsified(0.5), Quantised(8)))):
        algorithm = Compressed(FedAvg(Diverging(), rounds=1), transform, feedback=True)
        executor = SequentialExecutor(algorithm.works, DATA, 0)
        state = algorithm.start(MODEL.init(key(0)), 0)
        ask = algorithm.ask(state, executor.population())
        assert ask is not None
        reply = executor.execute(ask)
        first, *others = (reply.outcomes[client] for client in DATA.clients)
        assert first.status is Status.REJECTED
        assert "is not finite (NaN or infinity)" in first.why
        assert {each.status for each in others} == {Status.UPDATED}


def test_what_becomes_infinite_by_decoding_is_refused() -> None:
    form = {"w": np.zeros(2, np.float32)}
    rule = Decoded(WeightedMean(), Quantised(8), form)
    hostile: Tree = {"w#levels": np.full(2, 255, np.uint8), "w#span": np.array([0, 3e38], np.float32)}
    with pytest.raises(AggregationError) as caught:
        rule.check(rule.zero(), Update(hostile, client="mallory"))
    assert caught.value.what == "leaf 'w' is not finite (NaN or infinity) once it is decoded"
    assert caught.value.where == "the update of client 'mallory'"


def test_a_number_with_no_place_is_refused() -> None:
    rule = Decoded(WeightedMean(), Sparsified(0.5), {"w": np.zeros(4, np.float32)})
    hostile = {"w#places": np.array([1, 4], np.uint32), "w#values": np.ones(2, np.float32)}
    with pytest.raises(TreeMismatch, match=r"leaf 'w' has 4 numbers, and one was sent for place 4"):
        rule.check(rule.zero(), Update(hostile))


# --- the rule


def updates(transform: Transform, count: int = 4) -> list[Update]:
    generator = np.random.default_rng(2)

    def leaves() -> dict[str, Any]:
        return {
            "w": generator.standard_normal((3, 4)).astype(np.float32),
            "b": np.array(generator.standard_normal(), np.float64),
            "empty": np.zeros((0, 2), np.float32),
            "steps": np.array([1, 2], np.int64),
        }

    return [Update(transform.encode(leaves(), key(n)), n + 0.5, client=f"c{n}") for n in range(count)]


FORM: Tree = {
    "w": np.zeros((3, 4), np.float32),
    "b": np.zeros((), np.float64),
    "empty": np.zeros((0, 2), np.float32),
    "steps": np.zeros(2, np.int64),
}


@pytest.mark.parametrize("transform", [Half(), Quantised(3), Sparsified(0.4), Chained((Sparsified(0.4), Quantised(8)))])
def test_a_rule_over_decoded_updates_is_a_monoid(transform: Transform) -> None:
    some = updates(transform)
    misfits = [
        Update({**some[0].tree, "more": np.zeros(1)}, client="other"),
        Update({**some[0].tree, "steps": np.zeros(3, np.int64)}, client="other"),
        Update(FORM | {"w": np.zeros((4, 3), np.float32)}, client="other"),
    ]
    check_rule(Decoded(WeightedMean(), transform, FORM), some, like=FORM, misfits=misfits)


def test_it_grows_and_merges_exactly_where_its_rule_does() -> None:
    mean, collect = Decoded(WeightedMean(), Half(), FORM), Decoded(Collect(), Half(), FORM)
    assert (mean.grows, collect.grows) == (False, True)
    assert merges_exactly(mean)
    assert not merges_exactly(Decoded(WeightedMean(exact=False), Half(), FORM))


# --- feedback


def test_what_was_not_sent_is_sent_later_and_nothing_is_lost() -> None:
    change = {"w": np.array([4.0, -3.0, 2.0, 1.0], np.float32)}
    seen: list[Tree] = []

    def work(broadcast: Tree, context: ClientContext) -> Update:
        seen.append(dict(context.state))
        return Update(change, state={"own": np.array(len(seen))})

    transformed, transform = Transformed(work, Sparsified(0.25), feedback=True), Sparsified(0.25)
    state: Tree = {}
    sent = np.zeros(4, np.float32)
    for turn in range(8):
        update = transformed({}, ClientContext("a", {}, key=key(turn), state=state))
        sent += transform.decode(update.tree, change)["w"]
        assert update.state is not None
        state = update.state
        assert (sent + state["feedback:w"] == change["w"] * (turn + 1)).all()
    assert [list(each) for each in seen] == [[]] + [["own"]] * 7, "the work sees its own state and no more"
    assert (sent != 0).all()


def test_a_work_that_keeps_its_state_keeps_it_beside_the_feedback() -> None:
    transformed = Transformed(lambda broadcast, context: Update(broadcast), Sparsified(0.5), feedback=True)
    context = ClientContext("a", {}, state={"own": np.array(7)})
    update = transformed({"w": np.array([1.0, 2.0])}, context)
    assert update.state is not None
    assert update.state["own"] == 7


def test_without_feedback_the_private_state_is_the_work_s() -> None:
    def work(broadcast: Tree, context: ClientContext) -> Update:
        return Update(broadcast, state={"feedback:mine": context.state["feedback:mine"]})

    state = {"feedback:mine": np.array(1)}
    update = Transformed(work, Half())({"w": np.ones(2)}, ClientContext("a", {}, state=state))
    assert update.state == state


# --- combined


def test_each_owner_s_own_model_is_evaluated_wherever_the_combinator_stands() -> None:
    evaluation = Evaluation(MODEL)
    outside = ran(Evaluated(Compressed(AVERAGING, Half()), evaluation, owners=True))
    inside = ran(Compressed(Evaluated(AVERAGING, evaluation, owners=True), Half()))
    for history in (outside, inside):
        assert {entry.model for entry in history.evaluations()} == {"federated", *DATA.clients}
    assert not unlike_bits(outside.model, inside.model)


def test_only_the_works_that_are_meant_are_encoded() -> None:
    algorithm = Compressed(Evaluated(AVERAGING, Evaluation(MODEL)), Half())
    assert {name: isinstance(work, Transformed) for name, work in algorithm.works.items()} == {
        "train": True,
        "evaluate": False,
    }


def test_fast_mode_sums_decoded_updates_as_it_sums_others() -> None:
    assert rounding(Decoded(WeightedMean(), Half(), FORM)) == Decoded(WeightedMean(exact=False), Half(), FORM)
    both = rounding(Decoded(Both(WeightedMean(), Collect()), Half(), FORM))
    assert both == Decoded(Both(WeightedMean(exact=False), Collect()), Half(), FORM)


def test_asynchronous_algorithms_are_compressed_like_others() -> None:
    def measured(algorithm: Any) -> History:
        return ran(Evaluated(algorithm, Evaluation(MODEL), every=12))

    buffered = FedBuff(LOCAL, rounds=12, concurrency=3, goal=2)
    plain, compressed = measured(buffered), measured(Compressed(buffered, Quantised(6)))
    assert {outcome.staleness for entry in compressed.entries for outcome in entry.outcomes.values()} > {0}
    assert sum(entry.up for entry in compressed.entries) < 0.25 * sum(entry.up for entry in plain.entries)
    assert compressed.final("accuracy") > plain.final("accuracy") - 0.1


# --- mistakes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quantised(9), "a number is quantised to 1 to 8 bits, not 9"),
        (lambda: Quantised(0), "a number is quantised to 1 to 8 bits, not 0"),
        (lambda: Sparsified(0.0), "the fraction of numbers that are sent lies in (0, 1], not 0.0"),
        (lambda: Sparsified(float("nan")), "the fraction of numbers that are sent lies in (0, 1], not nan"),
        (lambda: Compressed(AVERAGING, []), "a chain of transforms holds at least one"),
        (
            lambda: Compressed(Compressed(AVERAGING, Half()), Half()),
            "the updates of the work 'train' are encoded already",
        ),
    ],
)
def test_what_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.what == message


def test_names_that_there_are_not_are_refused() -> None:
    with pytest.raises(UnknownName, match="float8"):
        Half("float8")  # type: ignore[arg-type]  # a mistake
    with pytest.raises(UnknownName, match="tran"):
        Compressed(AVERAGING, Half(), encoded=("tran",))


def test_an_ask_without_a_form_cannot_be_decoded_and_says_so() -> None:
    class Formless(FedAvg):
        def ask(self, state: Any, population: Any) -> Ask | None:
            ask = super().ask(state, population)
            return ask and replace(ask, form=None)

    with pytest.raises(ConfigError) as caught:
        ran(Compressed(Formless(LOCAL, rounds=1), Half()))
    assert caught.value.what == (
        "the updates of the work 'train' have no form of which both sides know, so they cannot be decoded"
    )


def test_two_leaves_of_one_name_are_refused() -> None:
    leaves: Mapping[str, Any] = {"w": np.ones(2, np.float32), "w#span": np.array([1])}
    with pytest.raises(InputError, match="would have two leaves 'w#span'"):
        Quantised().form(dict(leaves))


def test_a_form_takes_next_to_no_memory() -> None:
    large = {"w": np.broadcast_to(np.zeros((), np.float32), (10**5, 10**5))}
    form = Quantised(8).form(large)
    assert nbytes(form) > 10**10, "what it says"
    assert form["w#levels"].base is not None
