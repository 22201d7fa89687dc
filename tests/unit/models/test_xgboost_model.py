"""XGBoostModel: the kit's laws that apply, what XGBoost itself says of the same trees, and what does not fit."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import xgboost

from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.errors import ConfigError, DataError, UnknownName
from hansa.models import ensemble
from hansa.models.xgboost import XGBoostModel
from hansa.testing import check_model

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((120, 4)).astype(np.float32)
LABELS = X[:, :3].argmax(axis=1)
HOLES = np.where(GENERATOR.random(X.shape) < 0.2, np.float32(np.nan), X)
PARAMS = {"max_depth": 3, "eta": 0.5}
MODELS = {
    "two classes": XGBoostModel(4, 2, PARAMS),
    "three classes": XGBoostModel(4, 3, PARAMS),
    "a number": XGBoostModel(4, None, PARAMS),
}
every = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def batch(model: XGBoostModel, x: Any = HOLES) -> dict[str, Any]:
    return {"x": x, "y": X[:, 0] if model.classes is None else np.minimum(LABELS, model.classes - 1)}


def boosted(model: XGBoostModel, rounds: int = 4, seed: int = 0, **fields: Any) -> Tree:
    nothing = model.init(key(0))
    new = model.boosted(nothing, {**batch(model), **fields}, key(seed), rounds)
    return {"trees": ensemble.to_leaf(ensemble.appended(ensemble.from_leaf(nothing["trees"]), new))}


@every
def test_it_keeps_the_promises_of_the_model_port_that_need_no_gradient(model: XGBoostModel) -> None:
    check_model(model, batch(model), gradient=False, tolerance=1e-6)


@every
def test_the_kit_notices_a_leaf_that_an_optimiser_would_change(model: XGBoostModel) -> None:
    class Trained(XGBoostModel):
        @property
        def buffers(self) -> frozenset[str]:
            return frozenset()

    with pytest.raises(AssertionError, match="no leaf that an optimiser would change"):
        check_model(Trained(4, model.classes, PARAMS), batch(model), gradient=False)


@every
def test_an_ensemble_with_trees_travels_bit_for_bit(model: XGBoostModel) -> None:
    params = boosted(model)
    assert model.dump(model.load(params))["trees"].tobytes() == params["trees"].tobytes()
    assert model.extract(model.native(params))["trees"].tobytes() == params["trees"].tobytes()


@every
def test_boosting_is_xgboost_s_own(model: XGBoostModel) -> None:
    """The same trees as a plain `xgboost.train` of the same parameters."""
    examples, params = batch(model), boosted(model)
    own = {"objective": model.objective, "base_score": 0.5, "nthread": 1, "seed": 0, **PARAMS}
    own |= {"num_class": 3} if model.classes == 3 else {}
    matrix = xgboost.DMatrix(HOLES, label=examples["y"])
    plain = xgboost.train(own, matrix, num_boost_round=4).predict(matrix)
    found = model.native(params).predict(matrix)
    assert np.array_equal(found, plain)


@every
def test_going_on_from_an_ensemble_gives_the_trees_that_boosting_on_gives(model: XGBoostModel) -> None:
    half = boosted(model, 2)
    new = model.boosted(half, batch(model), key(0), 2)
    both = ensemble.to_leaf(ensemble.appended(ensemble.from_leaf(half["trees"]), new))
    assert both.tobytes() == boosted(model, 4)["trees"].tobytes()


def test_scores_and_losses_are_those_of_the_probabilities() -> None:
    for name in ("two classes", "three classes"):
        model = MODELS[name]
        params, examples = boosted(model), batch(model)
        prediction = model.predict(model.load(params), examples)
        assert prediction.outputs.shape == (120, model.classes)
        said = model.native(params).predict(xgboost.DMatrix(HOLES))
        shares = np.column_stack([1 - said, said]) if model.classes == 2 else said
        softmax = np.exp(prediction.outputs) / np.exp(prediction.outputs).sum(axis=1, keepdims=True)
        assert np.allclose(softmax, shares, atol=1e-6)
        assert prediction.loss == pytest.approx(-np.log(shares[np.arange(120), examples["y"]]).mean(), rel=1e-5)
        assert (prediction.outputs.argmax(axis=1) == examples["y"]).mean() > 0.85
    model = MODELS["a number"]
    loss, outputs = model.predict(model.load(boosted(model)), batch(model))
    assert outputs.shape == (120,)
    assert loss == pytest.approx(((outputs - X[:, 0]) ** 2).mean() / 2, rel=1e-5)


def test_random_choices_follow_the_key_and_nothing_else() -> None:
    model = XGBoostModel(4, 3, {**PARAMS, "subsample": 0.5})
    one, again, other = (boosted(model, seed=seed)["trees"].tobytes() for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_the_order_of_the_examples_is_no_part_of_a_fit_without_chance() -> None:
    model = MODELS["two classes"]
    backwards = {name: values[::-1] for name, values in batch(model).items()}
    here, there = (
        model.predict(model.load(params), batch(model)).outputs
        for params in (boosted(model), boosted(model, **backwards))
    )
    assert np.allclose(here, there, atol=1e-4)


def test_a_class_that_an_owner_never_saw_is_no_trouble() -> None:
    model = MODELS["three classes"]
    params = boosted(model, y=np.zeros(120, np.int64))
    assert model.predict(model.load(params), batch(model)).outputs.argmax(axis=1).tolist() == [0] * 120


# --- what is wrong, where, and what to do


def test_there_is_no_gradient_to_follow() -> None:
    model = MODELS["two classes"]
    with pytest.raises(ConfigError, match="boosted trees have no gradient to follow") as caught:
        model.gradient(model.load(model.init(key(0))), batch(model), key(0))
    assert "Bagging(LocalBoosting(model" in caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0,), ConfigError, "need a feature"),
        ((4, 1), ConfigError, "two classes, not 4 and 1"),
        ((4, 2, {"seed": 1, "num_class": 2}), ConfigError, "params has seed, num_class, which Hansa sets itself"),
        ((4, 2, {"booster": "gblinear"}), ConfigError, "params has booster"),
        ((4, 2, {"objective": "rank:ndcg"}), UnknownName, "no objective 'rank:ndcg'"),
        ((4, 2, {"objective": "reg:squarederror"}), ConfigError, "does not go with classes=2"),
    ],
)
def test_settings_that_make_no_model_are_refused_at_once(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        XGBoostModel(*arguments)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"x": X[:, :3]}, "field 'x' has 3 numbers an example, and the model takes 4"),
        ({"x": np.where(X > 2, np.float32(np.inf), X)}, "field 'x' holds an infinite number"),
        ({"y": LABELS}, "a label is 2, but the model tells 2 classes apart"),
        ({"y": LABELS[:, None]}, "targets have shape"),
    ],
)
def test_data_that_do_not_fit_are_told_in_the_user_s_words(fields: dict[str, Any], message: str) -> None:
    model = MODELS["two classes"]
    examples = {**batch(model), **fields}
    with pytest.raises(DataError, match=message):
        model.predict(model.load(model.init(key(0))), examples)
    with pytest.raises(DataError, match=message):
        model.boosted(model.init(key(0)), examples, key(0), 1)


def test_an_ensemble_for_other_data_is_told_apart() -> None:
    with pytest.raises(DataError, match="these trees are for 4 features and 3 classes") as caught:
        MODELS["two classes"].load(boosted(MODELS["three classes"]))
    assert "features=4 and classes=2" in caught.value.hint


@pytest.mark.parametrize("data", [b"{}", b'{"learner": {"objective": {}, "learner_model_param": {}}}', b"pickle"])
def test_bytes_that_are_no_ensemble_are_refused(data: bytes) -> None:
    with pytest.raises(DataError):
        MODELS["two classes"].load({"trees": np.frombuffer(data, np.uint8)})


def test_a_parameter_that_xgboost_refuses_is_its_own_error() -> None:
    with pytest.raises(xgboost.core.XGBoostError, match="max_depth"):
        boosted(XGBoostModel(4, 2, {"max_depth": -3}))


def test_without_xgboost_it_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['xgboost'] = None\nfrom hansa.models.xgboost import XGBoostModel"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert ended.stderr.splitlines()[-2:] == [
        "hansa.errors.MissingExtra: an XGBoostModel needs XGBoost, which is not installed",
        '  what to do: pip install "hansa[xgboost]"',
    ]
