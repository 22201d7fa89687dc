"""SklearnTraining and LocalTraining of scikit-learn's estimators, in a simulated federation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Perceptron, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier

from hansa.algorithms import Evaluated, FedAvg
from hansa.core import tree
from hansa.core.history import History
from hansa.core.keys import key
from hansa.core.loop import Progress, steps
from hansa.core.sampling import FixedClients
from hansa.core.work import ClientContext
from hansa.data import ClientDataset, FederatedData
from hansa.errors import ConfigError, DataError
from hansa.models.sklearn import SklearnModel
from hansa.simulation import SequentialExecutor
from hansa.training import SGD, Evaluation, LocalTraining
from hansa.training.sklearn import SklearnTraining

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((240, 4))
Y = (X[:, :3] + 0.3 * GENERATOR.standard_normal((240, 3))).argmax(axis=1)


def examples(rows: Any) -> ClientDataset:
    return ClientDataset({"x": X[rows], "y": Y[rows]})


EVERYTHING = {"judge": examples(slice(None))}
ONE_EACH = FederatedData({f"only {label}": examples(label == Y) for label in range(3)}, EVERYTHING)
BY_LABEL = FederatedData({f"all but {label}": examples(label != Y) for label in range(3)}, EVERYTHING)
"""Each owner has never seen one of the classes."""

KINDS = {
    "SGDClassifier": SklearnModel(SGDClassifier(loss="log_loss"), features=4, classes=3),
    "Perceptron": SklearnModel(Perceptron(), features=4, classes=3),
    "LogisticRegression": SklearnModel(LogisticRegression(), features=4, classes=3, examples=240),
    "MLPClassifier": SklearnModel(MLPClassifier((8,), learning_rate_init=0.01), features=4, classes=3),
}


def context(client: str = "a", rows: Any = slice(None), **said: Any) -> ClientContext:
    return ClientContext(client, {"train": examples(rows)}, **said)


def simulated(algorithm: Any, model: SklearnModel, data: FederatedData) -> History:
    history = History(model=model.init(key(0)))
    executor = SequentialExecutor(algorithm.works, data, 0)
    for step in steps(algorithm, executor, Progress.begin(algorithm, history), lambda: 0.0):
        history = step.history
    return history


def run(local: Any, model: SklearnModel, rounds: int, data: FederatedData = BY_LABEL, **said: Any) -> History:
    return simulated(Evaluated(FedAvg(local, rounds, **said), Evaluation(model), every=rounds), model, data)


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)
def test_owners_that_have_never_seen_one_class_learn_to_tell_them_all(model: SklearnModel) -> None:
    history = run(SklearnTraining(model, epochs=5), model, 8)
    assert history.final("accuracy") > 0.75
    assert model.native(history.model).score(X, Y) == pytest.approx(history.final("accuracy"))


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)
def test_owners_that_have_seen_one_class_each_train_as_well_as_they_can(model: SklearnModel) -> None:
    history = run(SklearnTraining(model), model, 2, ONE_EACH)
    assert all(outcome.status == "updated" for entry in history.entries for outcome in entry.outcomes.values())
    assert {name: leaf.shape for name, leaf in history.model.items()} == {
        name: leaf.shape for name, leaf in model.init(key(0)).items()
    }


@pytest.mark.parametrize("name", ["SGDClassifier", "LogisticRegression", "MLPClassifier"])
def test_hansa_s_own_optimisers_train_them_too(name: str) -> None:
    model = KINDS[name]
    assert run(LocalTraining(model, SGD(0.3), epochs=2), model, 10).final("accuracy") > 0.75


@pytest.mark.parametrize("model", KINDS.values(), ids=KINDS)
def test_training_by_itself_is_repeatable_whatever_the_global_generator_s_state(model: SklearnModel) -> None:
    work, params = SklearnTraining(model, epochs=2), model.init(key(0))
    state: Any = np.random.get_state()  # noqa: NPY002 - it is this one that is meant
    first = work(params, context(key=key(1)))
    after: Any = np.random.get_state()  # noqa: NPY002 - as above
    assert np.array_equal(after[1], state[1])
    again = work(tree.read_only(params), context(key=key(1)))
    assert all(first.tree[name].tobytes() == leaf.tobytes() for name, leaf in again.tree.items())
    assert first.metrics.to_json() == again.metrics.to_json()
    assert first.weight == 240


def test_shuffling_follows_the_visit_s_key() -> None:
    work, params = SklearnTraining(KINDS["SGDClassifier"]), KINDS["SGDClassifier"].init(key(0))
    first, other = (work(params, context(key=key(seed))).tree["coef_"] for seed in (1, 2))
    assert not np.array_equal(first, other)


def test_the_count_of_steps_goes_on_from_round_to_round() -> None:
    """A learning rate that falls with it would begin anew with each visit."""
    model = KINDS["SGDClassifier"]
    history = run(
        SklearnTraining(model, epochs=2), model, 3, FederatedData({"a": examples(slice(80))}, {"j": examples([0])})
    )
    assert history.model["t_"] == 1 + 3 * 2 * 80
    assert model.native(history.model).t_ == 481


def test_one_owner_of_everything_fits_what_scikit_learn_fits() -> None:
    estimator = LogisticRegression(C=0.05, tol=1e-10)
    model = SklearnModel(estimator, features=4, classes=3, examples=240)
    expected = LogisticRegression(C=0.05, tol=1e-10, max_iter=1000).fit(X, Y)
    found = run(
        SklearnTraining(model, epochs=500), model, 1, FederatedData({"a": examples(slice(None))}, BY_LABEL.test)
    )
    assert np.allclose(found.model["coef_"], expected.coef_, atol=1e-5)
    assert np.allclose(found.model["intercept_"], expected.intercept_, atol=1e-5)


def test_an_owner_s_penalty_is_its_share_of_the_federation_s() -> None:
    """Twice the examples at one owner of two alike give the model that both together have."""
    estimator = LogisticRegression(C=0.05, tol=1e-10)
    half = SklearnModel(estimator, features=4, classes=3, examples=480)
    whole = SklearnTraining(half, epochs=500)(half.init(key(0)), context())
    expected = LogisticRegression(C=0.05, tol=1e-10, max_iter=1000).fit(np.tile(X, (2, 1)), np.tile(Y, 2))
    assert np.allclose(whole.tree["coef_"], expected.coef_, atol=1e-5)


def test_a_small_owner_trains_a_perceptron_of_larger_batches_without_a_warning() -> None:
    model = SklearnModel(MLPClassifier((3,), batch_size=50), features=4, classes=3)
    assert SklearnTraining(model)(model.init(key(0)), context(rows=slice(7))).weight == 7


def test_regression_by_its_own_partial_fit() -> None:
    model = SklearnModel(SGDRegressor(), features=4)
    data = FederatedData(
        {c: ClientDataset({"x": X[r], "y": X[r, 0]}) for c, r in (("a", slice(120)), ("b", slice(120, 240)))}
    )
    found = simulated(FedAvg(SklearnTraining(model, epochs=5), 5), model, data).model
    assert np.allclose(found["coef_"], [1, 0, 0, 0], atol=0.05)


def test_the_order_of_the_owners_changes_no_bit() -> None:
    model = KINDS["SGDClassifier"]
    one, other = (
        run(SklearnTraining(model), model, 3, sampler=FixedClients(order)).model
        for order in (tuple(BY_LABEL), tuple(reversed(tuple(BY_LABEL))))
    )
    assert all(one[name].tobytes() == leaf.tobytes() for name, leaf in other.items())


def test_a_solver_without_partial_fit_is_told_others() -> None:
    model = SklearnModel(MLPClassifier((3,), solver="lbfgs"), features=4, classes=3)
    with pytest.raises(ConfigError, match="solver='lbfgs' cannot go on from where it stands") as caught:
        SklearnTraining(model)(model.init(key(0)), context())
    assert "LocalTraining" in caught.value.hint


def test_nothing_to_train_on_and_no_epochs_are_refused() -> None:
    model = KINDS["SGDClassifier"]
    with pytest.raises(DataError, match="no examples to train on"):
        SklearnTraining(model)(model.init(key(0)), ClientContext("a", {}))
    with pytest.raises(ConfigError, match="epochs is at least 1, not 0"):
        SklearnTraining(model, epochs=0)
