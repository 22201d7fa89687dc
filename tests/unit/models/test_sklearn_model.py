"""SklearnModel: the losses, gradients and objects are scikit-learn's own; and what it says of what it cannot use."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor

from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.errors import ConfigError, DataError, TreeMismatch
from hansa.models.sklearn import SklearnModel
from hansa.training import accuracy

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((200, 3))
CENTRES = GENERATOR.standard_normal((3, 3))
LABELS = (X @ CENTRES + GENERATOR.standard_normal((200, 3))).argmax(axis=1)
NUMBERS = X @ CENTRES[0] + 0.1 * GENERATOR.standard_normal(200)
STEP = {"learning_rate": "constant", "eta0": 0.1, "alpha": 0.5}


def model(estimator: Any, classes: int | None = None, **said: Any) -> SklearnModel:
    return SklearnModel(estimator, features=3, classes=classes, **said)


def batch(of: SklearnModel, rows: slice = slice(None)) -> dict[str, Any]:
    if of.classes is None:
        return {"x": X[rows], "y": NUMBERS[rows] if of.outputs == 1 else (X @ CENTRES)[rows, : of.outputs]}
    return {"x": X[rows].astype(of.dtype), "y": LABELS[rows] if of.classes == 3 else np.minimum(LABELS[rows], 1)}


def somewhere(of: SklearnModel) -> Tree:
    """Parameters away from zero; the counter as it was."""
    generator = np.random.default_rng(1)
    return {
        name: leaf if name == "t_" else np.asarray(generator.standard_normal(leaf.shape), leaf.dtype)
        for name, leaf in of.init(key(0)).items()
    }


def stepped(of: SklearnModel, params: Tree, examples: dict[str, Any], rate: float) -> Tree:
    """One step of gradient descent."""
    gradient = of.gradient(of.load(params), examples, key(0)).gradient
    return {name: leaf - rate * gradient[name] if name in gradient else leaf for name, leaf in params.items()}


def close(found: Tree, expected: Tree) -> bool:
    return all(np.allclose(found[name], leaf, rtol=1e-10, atol=1e-12) for name, leaf in expected.items())


EVERY_KIND = {
    "SGDClassifier": model(SGDClassifier(loss="log_loss"), 2),
    "SGDClassifier of three": model(SGDClassifier(loss="modified_huber"), 3),
    "SGDClassifier in float32": model(SGDClassifier(loss="log_loss"), 3, dtype="float32"),
    "Perceptron": model(Perceptron(), 2),
    "SGDRegressor": model(SGDRegressor()),
    "LogisticRegression": model(LogisticRegression(), 2, examples=200),
    "LogisticRegression of three": model(LogisticRegression(), 3, examples=200),
    "LogisticRegression without an intercept": model(LogisticRegression(fit_intercept=False), 3, examples=200),
    "MLPClassifier": model(MLPClassifier((4,), learning_rate_init=0.05), 2),
    "MLPClassifier of three": model(MLPClassifier((5, 4), solver="lbfgs", batch_size=50), 3),
    "MLPRegressor": model(MLPRegressor(hidden_layer_sizes=(4,), learning_rate_init=0.05)),
    "MLPRegressor of two": model(MLPRegressor(hidden_layer_sizes=(4,), learning_rate_init=0.05), outputs=2),
}
every_kind = pytest.mark.parametrize("of", EVERY_KIND.values(), ids=EVERY_KIND)


# --- the same as scikit-learn


@pytest.mark.parametrize(
    "loss", ["log_loss", "hinge", "squared_hinge", "modified_huber", "perceptron", "squared_error"]
)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_step_of_an_sgd_classifier_is_the_one_that_scikit_learn_makes(loss: str, classes: int) -> None:
    of = model(SGDClassifier(loss=loss, random_state=0, **STEP), classes)
    for example in range(8):
        params, examples = somewhere(of), batch(of, slice(example, example + 1))
        native = of.native(params).partial_fit(examples["x"], examples["y"])
        expected = stepped(of, params, examples, 0.1)
        assert close(of.extract(native), {**expected, "t_": np.array(2.0)})


@pytest.mark.parametrize("loss", ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"])
def test_a_step_of_an_sgd_regressor_is_the_one_that_scikit_learn_makes(loss: str) -> None:
    of = model(SGDRegressor(loss=loss, epsilon=0.7, random_state=0, **STEP))
    for example in range(8):
        params, examples = somewhere(of), batch(of, slice(example, example + 1))
        native = of.native(params).partial_fit(examples["x"], examples["y"])
        assert close(of.extract(native), {**stepped(of, params, examples, 0.1), "t_": np.array(2.0)})


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("classes", [None, 2, 3])
def test_a_step_of_a_perceptron_on_a_full_batch_is_the_one_that_scikit_learn_makes(
    activation: str, classes: int | None
) -> None:
    kind = MLPRegressor if classes is None else MLPClassifier
    settings: dict[str, Any] = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1, "alpha": 3.0}
    of = model(kind(hidden_layer_sizes=(5, 4), activation=activation, random_state=0, **settings), classes)
    params, examples = of.init(key(3)), batch(of)
    native = of.native(params).partial_fit(examples["x"], examples["y"])
    assert close(of.extract(native), stepped(of, params, examples, 0.1))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("cost", [0.01, 1.0, 100.0])
def test_the_gradient_of_a_logistic_regression_vanishes_where_scikit_learn_s_fit_ends(
    classes: int, cost: float
) -> None:
    of = model(LogisticRegression(C=cost, tol=1e-12, max_iter=10_000), classes, examples=200)
    examples = batch(of)
    fitted = of.extract(LogisticRegression(C=cost, tol=1e-12, max_iter=10_000).fit(examples["x"], examples["y"]))
    gradient = of.gradient(of.load(fitted), examples, key(0)).gradient
    assert max(abs(leaf).max() for leaf in gradient.values()) < 1e-6
    beside = of.gradient(of.load({name: 1.1 * leaf for name, leaf in fitted.items()}), examples, key(0)).gradient
    assert max(abs(leaf).max() for leaf in beside.values()) > 1e-4


def test_half_of_the_examples_have_the_same_penalty_as_all_of_them() -> None:
    of = model(LogisticRegression(C=0.01), 3, examples=200)
    free = model(LogisticRegression(C=np.inf), 3)
    params = somewhere(of)
    added = [
        of.predict(params, batch(of, rows)).loss - free.predict(params, batch(of, rows)).loss
        for rows in (slice(None), slice(100), slice(1))
    ]
    assert added == pytest.approx([np.vdot(params["coef_"], params["coef_"]) / 2 / (0.01 * 200)] * 3)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_an_elastic_net_is_a_mixture_of_both_penalties(ratio: float) -> None:
    of = model(SGDRegressor(penalty="elasticnet", alpha=0.2, l1_ratio=ratio))
    params, free = somewhere(of), model(SGDRegressor(penalty=None))
    weights = params["coef_"]
    expected = 0.2 * ((1 - ratio) / 2 * np.vdot(weights, weights) + ratio * abs(weights).sum())
    assert of.predict(params, batch(of)).loss - free.predict(params, batch(of)).loss == pytest.approx(expected)


# --- native and extract


@every_kind
def test_what_goes_into_an_estimator_comes_out_of_it_bit_for_bit(of: SklearnModel) -> None:
    params = somewhere(of)
    found = of.extract(of.native(params))
    assert list(found) == list(params)
    for name, leaf in params.items():
        assert (found[name].dtype, found[name].shape, found[name].tobytes()) == (leaf.dtype, leaf.shape, leaf.tobytes())


@every_kind
def test_the_estimator_says_what_the_model_says_and_can_be_scored(of: SklearnModel) -> None:
    params, examples = somewhere(of), batch(of)
    native, outputs = of.native(params), of.predict(of.load(params), examples).outputs
    if of.classes is None:
        assert np.allclose(native.predict(X), outputs)
    else:
        assert outputs.shape == (200, of.classes)
        assert np.array_equal(native.predict(X), outputs.argmax(axis=1))
        assert native.score(X, examples["y"]) == pytest.approx(accuracy(outputs, examples["y"]).value)
    assert np.isfinite(native.score(X, examples["y"]))


@pytest.mark.parametrize("name", ["LogisticRegression of three", "MLPClassifier of three", "MLPClassifier"])
def test_probabilities_are_the_softmax_of_the_scores(name: str) -> None:
    of = EVERY_KIND[name]
    params = somewhere(of)
    scores = np.exp(of.predict(of.load(params), batch(of)).outputs)
    assert np.allclose(of.native(params).predict_proba(X), scores / scores.sum(axis=1, keepdims=True))


@every_kind
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # to rounding: it depends on the processor
def test_the_estimator_can_go_on_training_by_itself(of: SklearnModel) -> None:
    native, examples = of.native(of.init(key(0))), batch(of)
    before, x = native.score(X, examples["y"]), examples["x"]
    for _ in range(20):
        if hasattr(native, "partial_fit"):
            native.partial_fit(x, examples["y"])
        else:
            native.set_params(max_iter=1000, tol=0.01).fit(x, examples["y"])
    assert native.score(X, examples["y"]) > before + 0.1
    of.extract(native)


def test_the_estimator_that_was_given_is_neither_trained_nor_seen_later() -> None:
    given = SGDClassifier(alpha=0.5)
    of = model(given, 2)
    given.alpha = 99.0
    of.native(of.init(key(0))).partial_fit(X, LABELS % 2)
    assert of.estimator.alpha == 0.5
    assert not hasattr(given, "coef_")


# --- what is wrong, where, and what to do


def test_an_estimator_that_is_not_supported_is_told_those_that_are() -> None:
    with pytest.raises(ConfigError, match="cannot train LinearRegression") as caught:
        model(LinearRegression())
    assert (
        "SGDClassifier, SGDRegressor, Perceptron, LogisticRegression, MLPClassifier, MLPRegressor" in caught.value.hint
    )


def test_a_class_instead_of_an_instance_is_told_so() -> None:
    with pytest.raises(ConfigError, match="pass an instance of"):
        model(SGDClassifier, 2)


@pytest.mark.parametrize(
    ("estimator", "said", "message"),
    [
        (SGDClassifier(), {}, "at least two classes apart, and classes is None"),
        (SGDClassifier(), {"classes": 1}, "at least two classes apart, and classes is 1"),
        (SGDRegressor(), {"classes": 2}, "a SGDRegressor has no classes"),
        (SGDRegressor(), {"outputs": 2}, "predicts one thing an example, not 2"),
        (SGDRegressor(), {"outputs": 0}, "at least 1"),
        (LogisticRegression(), {"classes": 2}, "nobody said how many examples there are"),
        (LogisticRegression(solver="liblinear"), {"classes": 2, "examples": 9}, "penalises the intercept"),
        (SGDClassifier(class_weight="balanced"), {"classes": 2}, "class_weight='balanced' is not supported"),
        (SGDClassifier(average=True), {"classes": 2}, "average=True is not supported"),
        (MLPClassifier(early_stopping=True), {"classes": 2}, "early_stopping=True is not supported"),
        (MLPClassifier(hidden_layer_sizes=(3, 0)), {"classes": 2}, "hidden_layer_sizes are each at least 1"),
        (MLPRegressor(loss="poisson"), {}, "loss='poisson' is not supported"),
        (SGDClassifier(loss="hing"), {"classes": 2}, "loss='hing' is not supported"),
        (SGDClassifier(penalty="l3"), {"classes": 2}, "penalty='l3' is not supported"),
        (SGDClassifier(), {"classes": 2, "dtype": "float16"}, "float64 or float32, not float16"),
    ],
)
def test_settings_that_make_no_model_are_refused_at_once(estimator: Any, said: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        model(estimator, **said)


def test_an_estimator_that_was_never_fitted_has_no_leaves() -> None:
    with pytest.raises(ConfigError, match="this SGDClassifier has no coef_: it was never fitted"):
        model(SGDClassifier(), 2).extract(SGDClassifier())


def test_an_estimator_fitted_to_other_classes_is_refused() -> None:
    fitted = SGDClassifier().fit(X, LABELS)
    with pytest.raises(TreeMismatch, match=r"leaf 'coef_' has shape \(3, 3\), expected \(1, 3\)"):
        model(SGDClassifier(), 2).extract(fitted)


@pytest.mark.parametrize("hidden", [(), (4, 4)])
def test_an_estimator_of_other_layers_is_refused(hidden: tuple[int, ...]) -> None:
    examples = batch(EVERY_KIND["MLPClassifier"])
    fitted = MLPClassifier(hidden, max_iter=1, solver="sgd").partial_fit(X, examples["y"], classes=[0, 1])
    with pytest.raises(TreeMismatch, match="leaves differ"):
        EVERY_KIND["MLPClassifier"].extract(fitted)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"x": X[:, :2], "y": LABELS}, "field 'x' has 2 numbers an example, and the model takes 3"),
        ({"x": np.where(X > 2, np.nan, X), "y": LABELS}, "field 'x' holds NaN"),
        ({"x": X, "y": LABELS + 1}, "a label is 3, but the model tells 3 classes apart"),
        ({"x": X, "y": LABELS[:, None]}, "targets have shape"),
        ({"x": X}, "needs the field 'y'"),
    ],
)
def test_data_that_do_not_fit_are_told_in_the_user_s_words(fields: dict[str, Any], message: str) -> None:
    of = model(SGDClassifier(), 3)
    for use in (lambda p: of.predict(p, fields), lambda p: of.gradient(p, fields, key(0))):
        with pytest.raises(DataError, match=message):
            use(of.load(of.init(key(0))))


def test_numbers_to_predict_in_another_shape_are_refused() -> None:
    of = EVERY_KIND["MLPRegressor of two"]
    with pytest.raises(DataError, match=r"targets have shape \(200,\), expected 2 numbers an example"):
        of.predict(of.load(of.init(key(0))), {"x": X, "y": NUMBERS})


def test_without_scikit_learn_it_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['sklearn'] = None\nfrom hansa.models.sklearn import SklearnModel"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert ended.stderr.splitlines()[-2:] == [
        "hansa.errors.MissingExtra: a SklearnModel needs scikit-learn, which is not installed",
        '  what to do: pip install "hansa[sklearn]"',
    ]
