"""Federated statistics: those of all examples together, exact in any order; and trainings on data standardised by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hansa.algorithms import Evaluated, FedAvg
from hansa.algorithms.standardised import Standardised
from hansa.algorithms.statistics import FederatedStatistics
from hansa.core.history import History
from hansa.core.keys import key
from hansa.core.loop import Progress, Step, steps
from hansa.core.sampling import FixedClients
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.data import ClientDataset, FederatedData
from hansa.data.schema import Field
from hansa.errors import ConfigError, DataError, RunFailed
from hansa.experiment.snapshot import freeze, thaw
from hansa.models import NumpyMLP
from hansa.rules.moments import Moments
from hansa.simulation import SequentialExecutor
from hansa.testing import check_rule
from hansa.training import SGD, Evaluation, LocalTraining
from hansa.training.standardising import Standardiser
from hansa.training.statistics import Statistics

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((90, 3)) * [1.0, 50.0, 1e-3] + [0.0, 1e6, 5.0]
X[::7, 1] = np.nan
Y = (X[:, 0] + (X[:, 2] - 5) * 1e3 > 0).astype(np.int64)
ROWS = {"a": slice(10), "b": slice(10, 60), "c": slice(60, 90)}
SCHEMA = {"y": Field((), "int64", classes=2)}  # and nothing about x, which may be missing


def dataset(rows: slice, x: Any = X, **more: Any) -> ClientDataset:
    return ClientDataset({"x": x[rows], "y": Y[rows], **more})


def owners(x: Any = X, test: Mapping[str, ClientDataset] | None = None) -> FederatedData:
    return FederatedData({client: dataset(rows, x) for client, rows in ROWS.items()}, test, schema=SCHEMA)


def steps_of(algorithm: Any, data: FederatedData, params: Tree | None = None) -> list[Step]:
    history = History(model=params or {})
    executor = SequentialExecutor(algorithm.works, data, 0)
    return list(steps(algorithm, executor, Progress.begin(algorithm, history), lambda: 0.0))


def simulated(algorithm: Any, data: FederatedData, params: Tree | None = None) -> History:
    return steps_of(algorithm, data, params)[-1].history


def moments(*clients: Any, **said: Any) -> Tree:
    """Of arrays, one a client, without a federation."""
    rule = Moments()
    accumulator = rule.zero()
    for number, x in enumerate(clients):
        accumulator = rule.accumulate(accumulator, update(x, str(number), **said))
    return rule.finish(accumulator)


def update(x: Any, client: str = "a", **said: Any) -> Update:
    counted = Statistics(**said)({}, ClientContext(client, {"train": ClientDataset({"x": x})}))
    return Update(counted.tree, counted.weight, client=client)


# --- the statistics


def test_they_are_those_of_all_examples_together() -> None:
    found = simulated(FederatedStatistics(), owners()).model
    assert found["count"].tolist() == [90, 90 - 13, 90]
    assert np.allclose(found["mean"], np.nanmean(X, axis=0), rtol=1e-15)
    assert np.allclose(found["var"], np.nanvar(X, axis=0), rtol=1e-13)
    assert np.array_equal(found["min"], np.nanmin(X, axis=0))
    assert np.array_equal(found["max"], np.nanmax(X, axis=0))


def test_no_extreme_value_leaves_an_owner_where_none_is_asked_for() -> None:
    assert simulated(FederatedStatistics(extremes=False), owners()).model.keys() == {"count", "mean", "var"}


def test_a_large_mean_costs_the_variance_no_digit() -> None:
    """The naive Σx² − (Σx)²/n would give 0, or less."""
    x = np.array([4.0, 7.0, 13.0, 16.0])
    found = moments(*(x[at : at + 2, None] + 1e9 for at in (0, 2)))
    assert found["var"].tolist() == [22.5]
    naive = float(((x + 1e9) ** 2).sum() - (x + 1e9).sum() ** 2 / 4) / 4
    assert naive != 22.5


def test_batches_are_merged_without_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = moments(X)
    monkeypatch.setattr("hansa.training.statistics.BATCH", 4)
    found = moments(X)
    for name, leaf in whole.items():
        assert np.allclose(found[name], leaf, rtol=1e-14), name


def test_a_number_that_is_missing_at_one_owner_is_the_others_and_nobodys_is_0() -> None:
    nothing = np.full((3, 2), np.nan)
    some = np.array([[1.0, np.nan], [3.0, np.nan]])
    found = moments(nothing, some)
    assert {name: leaf.tolist() for name, leaf in found.items()} == {
        "count": [2, 0],
        "mean": [2.0, 0.0],
        "var": [1.0, 0.0],
        "min": [1.0, 0.0],
        "max": [3.0, 0.0],
    }


def test_examples_of_any_shape_and_dtype_are_counted() -> None:
    pictures = GENERATOR.integers(0, 255, (5, 2, 4)).astype(np.uint8)
    found = moments(pictures[:2], pictures[2:])
    assert np.allclose(found["mean"], pictures.mean(axis=0))
    assert found["var"].shape == (2, 4)
    assert moments(np.arange(4.0))["mean"].shape == ()


VALUES = st.one_of(st.just(np.nan), st.floats(-1e12, 1e12, allow_subnormal=True))


@given(arrays(np.float64, (7, 2), elements=VALUES), st.integers(1, 6))
def test_the_parts_of_any_split_have_the_moments_of_the_whole(x: Any, cut: int) -> None:
    found = moments(x[:cut], x[cut:])
    for column in range(2):
        there = x[~np.isnan(x[:, column]), column]
        assert found["count"][column] == len(there)
        if len(there):
            scale = max(1e-300, abs(there).max())
            assert found["mean"][column] == pytest.approx(there.mean(), abs=1e-14 * scale)
            assert found["var"][column] == pytest.approx(there.var(), rel=1e-9, abs=1e-28 * scale**2)
            assert found["var"][column] >= 0


def test_the_rule_is_a_monoid_to_the_last_bit() -> None:
    updates = [
        update(X[at : at + size], client)
        for client, at, size in (("a", 0, 3), ("b", 3, 30), ("c", 33, 5), ("d", 38, 9))
    ]
    misfits = [update(X[:, :2]), update(X, extremes=False), Update({"w": np.zeros(3)}), Update({})]
    broken = {**updates[0].tree, "squares": np.full(3, -1.0)}
    like = moments(X)
    check_rule(Moments(), updates, like=like, misfits=[*misfits, Update(broken, client="e")])


def test_the_order_of_the_owners_changes_no_bit() -> None:
    one, other = (
        simulated(FederatedStatistics(sampler=FixedClients(order)), owners()).model for order in ("abc", "cab")
    )
    assert all(one[name].tobytes() == leaf.tobytes() for name, leaf in other.items())


@pytest.mark.parametrize(
    ("x", "said", "message"),
    [
        (np.array([[np.inf]]), {}, "a value is infinite"),
        (np.array([["red"]]), {}, "expected numbers"),
        (np.zeros((2, 1)), {"field": "z"}, "needs the field 'z'"),
        (np.zeros((2, 1)), {"split": "test"}, "no examples in the split 'test' to count"),
    ],
)
def test_what_cannot_be_counted_is_named(x: Any, said: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        update(x, **said)


# --- standardised


MODEL = NumpyMLP((3, 2), dtype="float64")
LOCAL = LocalTraining(MODEL, SGD(0.5), epochs=3)
JUDGED = {"judge": dataset(slice(None))}


def standardised(rounds: int = 5, **said: Any) -> Standardised:
    return Standardised(Evaluated(FedAvg(LOCAL, rounds, **said), Evaluation(MODEL)))


def test_one_experiment_gathers_trains_and_evaluates_on_standardised_data() -> None:
    history = simulated(standardised(), owners(test=JUDGED), MODEL.init(key(0)))
    assert [entry.work for entry in history.entries[:4]] == ["statistics", "evaluate", "train", "evaluate"]
    assert [entry.round for entry in history.entries[:4]] == [0, 0, 1, 1]
    assert history.final("accuracy") > 0.9
    assert history.rounds == 5


def test_it_is_the_training_on_data_that_were_standardised_beforehand() -> None:
    mean, std = np.nanmean(X, axis=0), np.nanstd(X, axis=0)
    by_hand = np.where(np.isnan(X), 0, (X - mean) / std)
    expected = simulated(FedAvg(LOCAL, 5), owners(by_hand), MODEL.init(key(0))).model
    found = simulated(standardised(), owners(test=JUDGED), MODEL.init(key(0))).model
    assert found.keys() == {*expected, "scaler/mean", "scaler/std"}
    assert np.allclose(found["scaler/std"], std)
    for name, leaf in expected.items():
        assert np.allclose(found[name], leaf, rtol=1e-9, atol=1e-12)


def test_a_fetched_model_says_what_its_inputs_were() -> None:
    history = simulated(standardised(), owners(test=JUDGED), MODEL.init(key(0)))
    transformed = dataset(slice(None)).with_transform(Standardiser.of(history.model)).all()
    outputs = MODEL.predict(MODEL.load(history.model), transformed).outputs
    assert (outputs.argmax(axis=1) == Y).mean() == pytest.approx(history.final("accuracy"))
    assert not np.isnan(transformed["x"]).any()


def test_a_model_that_is_trained_on_goes_on_with_its_statistics() -> None:
    first = simulated(standardised(2), owners(test=JUDGED), MODEL.init(key(0)))
    moved = owners(X + 1000.0, JUDGED)
    again = simulated(standardised(2), moved, first.model)
    assert [entry.work for entry in again.entries[:2]] == ["evaluate", "train"]
    assert all(again.model[name] is first.model[name] for name in ("scaler/mean", "scaler/std"))


def test_a_feature_that_never_varies_and_one_that_nobody_has_become_0() -> None:
    x = np.column_stack([X[:, 0], np.full(90, 0.1), np.full(90, np.nan)])
    history = simulated(Standardised(FedAvg(LOCAL, 1)), owners(x), MODEL.init(key(0)))
    assert history.model["scaler/std"].tolist()[1:] == [1.0, 1.0]
    seen = Standardiser.of(history.model)({"x": x})["x"]
    assert abs(seen[:, 1:]).max() < 1e-12


@pytest.mark.parametrize(("dtype", "expected"), [("float32", "float32"), ("float64", "float64"), ("int64", "float64")])
def test_floats_keep_their_dtype(dtype: str, expected: str) -> None:
    transform = Standardiser(np.zeros(2), np.ones(2))
    assert transform({"x": np.ones((3, 2), dtype)})["x"].dtype == expected


def test_every_state_can_be_kept_and_the_run_goes_on_from_it_to_the_same_bits() -> None:
    algorithm, data = standardised(3), owners(test=JUDGED)
    whole = steps_of(algorithm, data, MODEL.init(key(0)))
    for at in (0, 1, 3):
        frozen = freeze(whole[at].progress.state)
        state = thaw(frozen.document, frozen.trees)
        progress = Progress(state, whole[at].history, whole[at].history)
        executor = SequentialExecutor(algorithm.works, data, 0)
        model = list(steps(algorithm, executor, progress, lambda: 0.0))[-1].history.model
        assert all(model[name].tobytes() == leaf.tobytes() for name, leaf in whole[-1].history.model.items())


def test_the_order_of_the_owners_changes_no_bit_of_the_model() -> None:
    one, other = (
        simulated(
            Standardised(FedAvg(LOCAL, 2, FixedClients(order)), FederatedStatistics(sampler=FixedClients(order))),
            owners(),
            MODEL.init(key(0)),
        ).model
        for order in ("abc", "cab")
    )
    assert all(one[name].tobytes() == leaf.tobytes() for name, leaf in other.items())


def test_two_of_them_around_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="already has a work named 'statistics'"):
        Standardised(standardised())


def test_a_model_without_statistics_is_told_apart() -> None:
    with pytest.raises(DataError, match="the model has no leaf 'scaler/mean'"):
        Standardiser.of(MODEL.init(key(0)))


def test_examples_of_another_shape_are_refused() -> None:
    with pytest.raises(DataError, match=r"examples have shape \(2,\), and the statistics \(3,\)"):
        Standardiser(np.zeros(3), np.ones(3))({"x": np.zeros((4, 2))})


def test_data_that_cannot_be_transformed_are_named() -> None:
    work = standardised().works["train"]
    broadcast = {"scaler/mean": np.zeros(3), "scaler/std": np.ones(3)}
    with pytest.raises(DataError, match="the split 'train' is a list, which cannot be standardised"):
        work(broadcast, ClientContext("a", {"train": [1, 2]}))


def test_an_owner_whose_field_has_another_shape_is_refused_and_named() -> None:
    data = FederatedData({"a": dataset(slice(10)), "b": dataset(slice(10), X[:, :2])}, schema=SCHEMA)
    with pytest.raises(RunFailed, match=r"1 of 2 clients|b: rejected|leaf 'count' has shape \(2,\)") as caught:
        steps_of(Standardised(FedAvg(LOCAL, 1)), data, MODEL.init(key(0)))
    assert "client" in str(caught.value)
