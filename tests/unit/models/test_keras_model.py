"""KerasModel: what it makes of models of Keras, its names, and what it says of what does not fit."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest

import hansa
from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.core.work import ClientContext
from hansa.errors import ConfigError, DataError, TreeMismatch
from hansa.models.keras import KerasModel
from hansa.training.gradients import ClipNorm, Proximal
from hansa.training.optimizers import SGD, Adam, Optimizer, Yogi
from hansa.training.tasks.framework import Habits

layers = keras.layers
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def mlp() -> Any:
    return keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(3)])


def normalised() -> Any:
    return keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.BatchNormalization(momentum=0.9, epsilon=1e-5)])


def dropped() -> Any:
    return keras.Sequential([keras.Input((4,)), layers.Dense(64), layers.Dropout(0.5), layers.Dense(3)])


def batch(size: int = 6, **fields: Any) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    return {"x": generator.standard_normal((size, 4)).astype(np.float32), "y": np.arange(size) % 3, **fields}


def model(made: Any = mlp, loss: Any = CROSS_ENTROPY, **names: Any) -> KerasModel:
    return KerasModel(made, loss, **names)


def gradient(of: KerasModel, params: Tree, data: dict[str, Any]) -> Tree:
    return of.dump(of.gradient(of.load(params), data, key(0)).gradient)


MLP_NAMES = [f"sequential/{layer}/{leaf}" for layer in ("dense", "dense_1") for leaf in ("kernel", "bias")]


def test_names_do_not_depend_on_the_models_that_were_made_before() -> None:
    for _ in range(3):
        assert list(model().init(key(0))) == MLP_NAMES
        assert list(model(mlp()).init(key(0))) == MLP_NAMES
    chosen = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="head"), layers.Dense(3)], name="net")
    assert list(model(chosen).init(key(0))) == [
        "net/head/kernel",
        "net/head/bias",
        "net/dense/kernel",
        "net/dense/bias",
    ]


def test_init_seeds_keras_by_the_key_and_leaves_python_s_generator_where_it_was() -> None:
    before = random.getstate()
    one, again, other = (model().init(key(seed)) for seed in (1, 1, 2))
    assert random.getstate() == before
    kernel = MLP_NAMES[0]
    assert np.array_equal(one[kernel], again[kernel])
    assert not np.array_equal(one[kernel], other[kernel])


def test_a_model_gives_its_own_weights_and_later_changes_to_it_are_not_seen() -> None:
    given = mlp()
    wrapped, before = model(given), given.layers[0].kernel.numpy()
    given.layers[0].kernel.assign(np.zeros((4, 5)))
    for seed in (0, 1):
        assert np.array_equal(wrapped.init(key(seed))[MLP_NAMES[0]], before)


def test_training_leaves_the_model_that_was_given_as_it_was() -> None:
    given = normalised()
    before = [weight.numpy() for weight in given.variables]
    wrapped = model(given)
    gradient(wrapped, wrapped.init(key(0)), batch())
    assert all(np.array_equal(weight.numpy(), old) for weight, old in zip(given.variables, before, strict=True))


def test_the_gradient_is_the_loss_s_own() -> None:
    wrapped, data = model(keras.Sequential([keras.Input((4,)), layers.Dense(3)])), batch()
    params = wrapped.init(key(0))
    scores = data["x"] @ params["sequential/dense/kernel"] + params["sequential/dense/bias"]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    error = (shares - np.eye(3)[data["y"]]) / 6
    found = gradient(wrapped, params, data)
    assert np.allclose(found["sequential/dense/kernel"], data["x"].T @ error, atol=1e-6)
    assert np.allclose(found["sequential/dense/bias"], error.sum(axis=0), atol=1e-6)


def test_statistics_and_frozen_layers_are_buffers_and_seeds_are_no_leaves() -> None:
    frozen = dropped()
    frozen.layers[0].trainable = False
    assert model(frozen).buffers == {"sequential/dense/kernel", "sequential/dense/bias"}
    assert len(model(dropped).init(key(0))) == 4
    names = {"sequential/batch_normalization/moving_mean", "sequential/batch_normalization/moving_variance"}
    assert model(normalised).buffers == names


def test_training_gives_new_statistics_and_prediction_uses_the_old() -> None:
    wrapped, data = model(normalised), batch()
    params = wrapped.init(key(0))
    buffers = wrapped.dump(wrapped.gradient(wrapped.load(params), data, key(0)).buffers)
    seen = data["x"] @ params["sequential/dense/kernel"]
    assert np.allclose(buffers["sequential/batch_normalization/moving_mean"], 0.1 * seen.mean(axis=0), atol=1e-6)
    variance = buffers["sequential/batch_normalization/moving_variance"]
    assert np.allclose(variance, 0.9 + 0.1 * seen.var(axis=0), atol=1e-6)
    outputs = wrapped.predict(wrapped.load(params), data).outputs
    assert np.allclose(outputs, seen / np.sqrt(1 + 1e-5), atol=1e-5)


def test_dropout_draws_by_the_key_when_training_and_not_at_all_when_predicting() -> None:
    wrapped = model(dropped)
    resident = wrapped.load(wrapped.init(key(0)))
    losses = {float(wrapped.gradient(resident, batch(), key(0, n)).loss) for n in (1, 2, 3, 1, 2, 3)}
    assert len(losses) == 3
    assert wrapped.predict(resident, batch()).loss == wrapped.predict(resident, batch()).loss


def test_layers_that_draw_have_seeds_of_their_own() -> None:
    x = keras.Input((64,))
    apart = keras.Model(x, keras.ops.abs(layers.Dropout(0.5)(x) - layers.Dropout(0.5)(x)) * layers.Dense(1)(x))
    wrapped = model(apart, lambda targets, outputs: keras.ops.mean(outputs, axis=1))
    params = {name: np.ones_like(leaf) / 64 for name, leaf in wrapped.init(key(0)).items()}
    data = {"x": np.ones((8, 64), np.float32), "y": np.zeros(8, np.float32)}
    loss = float(wrapped.gradient(wrapped.load(params), data, key(0)).loss)
    assert 0.7 < loss < 1.3  # the two masks differ in half of the places, by 2


def test_an_embedding_has_a_whole_gradient() -> None:
    wrapped = model(
        lambda: keras.Sequential(
            [keras.Input((2,), dtype="int32"), layers.Embedding(9, 3), layers.Flatten(), layers.Dense(3)]
        )
    )
    found = gradient(wrapped, wrapped.init(key(0)), batch(x=np.array([[0, 1]] * 6)))
    (embedding,) = (leaf for name, leaf in found.items() if "embedding" in name)
    assert embedding.any(axis=1).tolist() == [True] * 2 + [False] * 7


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        "SparseCategoricalCrossentropy",
        keras.losses.sparse_categorical_crossentropy,
        None,
    ],
    ids=["a name", "a class's name", "a function", "compiled"],
)
def test_a_loss_may_be_said_in_all_of_keras_s_ways(loss: Any) -> None:
    def made() -> Any:
        whole = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax")])
        whole.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        return whole

    wrapped, data = model(made, loss), batch()
    found, outputs = wrapped.predict(wrapped.load(wrapped.init(key(0))), data)
    assert found == pytest.approx(-np.log(outputs[np.arange(6), data["y"]]).mean(), rel=1e-5)


@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9, weight_decay=0.01), Adam(0.1), Yogi(0.02)], ids=str)
def test_our_optimisers_and_transforms_run_on_its_leaves(optimizer: Optimizer) -> None:
    wrapped, shard = model(), {"train": hansa.ClientDataset(batch(30))}
    params = wrapped.init(key(0))
    for transform in (ClipNorm(0.5), Proximal(0.1)):
        local = hansa.LocalTraining(wrapped, optimizer, batch_size=8, epochs=2, gradient=transform)
        after = hansa.tree.moved(params, local(params, ClientContext("a", shard)).tree)
        before, now = (wrapped.predict(wrapped.load(each), batch(30)).loss for each in (params, after))
        assert now < before


def test_steps_are_traced_once_for_each_shape_of_a_batch() -> None:
    traced: list[int | None] = []

    def counting(targets: Any, outputs: Any) -> Any:
        traced.append(outputs.shape[0])
        return CROSS_ENTROPY(targets, outputs)

    wrapped = model(loss=counting)
    local = hansa.LocalTraining(wrapped, SGD(0.1), batch_size=4, epochs=5)
    for _ in range(2):
        local(wrapped.init(key(0)), ClientContext("a", {"train": hansa.ClientDataset(batch(10))}))
    assert sorted(each for each in traced if each) == [2, 4]


def test_a_model_in_bfloat16_is_bfloat16_all_the_way() -> None:
    wrapped = model(lambda: keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype="bfloat16")]))
    params, shard = wrapped.init(key(0)), {"train": hansa.ClientDataset(batch())}
    update = hansa.LocalTraining(wrapped, Adam(0.1), epochs=1)(params, ClientContext("a", shard)).tree
    for leaves in (params, gradient(wrapped, params, batch()), update):
        assert {leaf.dtype for leaf in leaves.values()} == {np.dtype(ml_dtypes.bfloat16)}
    assert wrapped.predict(wrapped.load(params), batch()).outputs.dtype == np.float32


def test_bits_do_not_depend_on_where_in_memory_parameters_lie() -> None:
    wrapped, data = model(), batch(64)
    resident = wrapped.load(wrapped.init(key(0)))
    expected = wrapped.gradient(resident, data, key(0)).gradient
    for shift in (1, 3):
        moved = {}
        for name, leaf in resident.items():
            moved[name] = np.zeros(leaf.size + shift, leaf.dtype)[shift:].reshape(leaf.shape)
            moved[name][...] = leaf
        found = wrapped.gradient(moved, data, key(0)).gradient
        assert all(np.array_equal(leaf, expected[name]) for name, leaf in found.items())


# --- for tasks


def test_a_task_gets_a_model_of_its_own() -> None:
    given: list[Callable[[], Any] | Any] = [normalised, normalised()]
    for made in given:
        wrapped = model(made)
        params = wrapped.init(key(1))
        one, other = wrapped.native(params, "cpu"), wrapped.native(params, "cpu")
        found = wrapped.extract(one)
        assert list(found) == list(params)
        assert all(np.array_equal(leaf, params[name]) for name, leaf in found.items())
        one.compile("sgd", CROSS_ENTROPY)
        one.fit(batch()["x"], batch()["y"], epochs=1, verbose=0)
        assert all(not np.array_equal(leaf, params[name]) for name, leaf in wrapped.extract(one).items())
        assert all(np.array_equal(leaf, params[name]) for name, leaf in wrapped.extract(other).items())
        assert all(np.array_equal(leaf, params[name]) for name, leaf in wrapped.init(key(1)).items())


def test_what_a_task_s_model_draws_can_be_seeded() -> None:
    wrapped = model(dropped)
    params = wrapped.init(key(0))

    def drawn(own: Any) -> Any:
        return wrapped.native(params, "cpu", own)(batch()["x"], training=True).numpy()

    assert np.array_equal(drawn(key(1)), drawn(key(1)))
    assert not np.array_equal(drawn(key(1)), drawn(key(2)))


def test_a_task_gets_batches_of_tensorflow_and_seeded_layers() -> None:
    wrapped = model(inputs=("x", "y"))
    assert isinstance(wrapped, Habits)
    fields = wrapped.tensors(batch(), "cpu")
    assert [tuple(field.shape) for field in fields] == [(6, 4), (6,), (6,)]
    assert all(keras.ops.is_tensor(field) for field in fields)
    before = random.getstate()
    with wrapped.seeded(key(3), "cpu"):
        drawn = mlp().layers[0].kernel.numpy()
    assert random.getstate() == before
    assert np.array_equal(drawn, model().init(key(3))[MLP_NAMES[0]])


def test_a_task_that_changes_the_model_s_form_is_told_what() -> None:
    wrapped = model()
    with pytest.raises(TreeMismatch, match=r"leaf 'sequential/dense_1/kernel' has shape \(5, 2\), expected \(5, 3\)"):
        wrapped.extract(keras.Sequential([keras.Input((4,)), layers.Dense(5), layers.Dense(2)]))


# --- what is wrong, where, and what to do


def test_a_function_that_makes_no_model_is_named() -> None:
    with pytest.raises(ConfigError, match=r"model function of a KerasModel returned dict, not a keras\.Model"):
        model(dict).init(key(0))


def test_a_model_that_is_not_built_is_told_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="the model 'late' of Keras has not been built") as caught:
        model(keras.Sequential([layers.Dense(3)], name="late"))
    assert "begin it with keras.Input(shape)" in caught.value.hint


def test_a_loss_that_is_missing_is_asked_for() -> None:
    wrapped = model(loss=None)
    with pytest.raises(ConfigError, match="none was given, and the model is not compiled with one"):
        wrapped.predict(wrapped.load(wrapped.init(key(0))), batch())


def test_weights_of_one_name_are_refused() -> None:
    class Twice(keras.Model):  # type: ignore[misc]  # Keras has no types
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = layers.Dense(3, name="same"), layers.Dense(3, name="same")

        def call(self, x: Any) -> Any:
            return self.one(x) + self.other(x)

    twice = Twice()
    twice(np.zeros((1, 4), np.float32))
    with pytest.raises(ConfigError, match="two weights of a KerasModel are both called 'twice/same/kernel'"):
        model(twice)


@pytest.mark.parametrize(("fields", "missing"), [({"z": "x", "y": "y"}, "x"), ({"x": "x", "label": "y"}, "y")])
def test_a_field_that_is_missing_is_named(fields: dict[str, str], missing: str) -> None:
    data = {name: batch()[source] for name, source in fields.items()}
    wrapped = model()
    for use in (lambda p: wrapped.predict(p, data), lambda p: wrapped.gradient(p, data, key(0))):
        with pytest.raises(DataError, match=f"KerasModel needs the field '{missing}', and the data have"):
            use(wrapped.load(wrapped.init(key(0))))


@pytest.mark.parametrize("label", [3, -1, 100])
def test_a_label_without_an_output_is_told_in_the_user_s_words(label: int) -> None:
    wrapped, labels = model(), np.arange(6) % 3
    labels[4] = label
    for use in (lambda p, b: wrapped.predict(p, b), lambda p, b: wrapped.gradient(p, b, key(0))):
        with pytest.raises(DataError, match=f"a label is {label}, but the model tells 3 classes apart") as caught:
            use(wrapped.load(wrapped.init(key(0))), batch(y=labels))
        assert caught.value.__cause__ is not None


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="TensorFlow has no device 'cuda:1' here") as caught:
        model().load(model().init(key(0)), "cuda:1")
    assert "it has: CPU:0" in caught.value.hint


def in_another_process(program: str, **variables: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment = {**inherited, **variables}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout


def test_another_backend_is_refused_and_the_environment_is_left_as_it_was() -> None:
    program = """
import os
from hansa.models.keras import KerasModel
print("TF_CPP_MIN_LOG_LEVEL" in os.environ)
try:
    KerasModel(lambda: None, "mse")
except ValueError as problem:
    print(problem)
"""
    said = in_another_process(program, KERAS_BACKEND="jax")
    assert "a KerasModel computes with TensorFlow, and Keras was loaded with the backend 'jax'" in said
    assert "KERAS_BACKEND=tensorflow" in said
    assert said.startswith("False")  # the variable that keeps TensorFlow quiet while it is imported is gone


def test_on_a_device_that_is_not_the_processor_leaves_are_tensors_there() -> None:
    program = """
import tensorflow as tf
import keras, numpy as np, hansa
from hansa.core.work import ClientContext
from hansa.models.keras import KerasModel
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
def made():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])
model = KerasModel(made, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
data = {"x": np.random.default_rng(0).standard_normal((6, 4)).astype("float32"), "y": np.arange(6) % 3}
params = model.init(hansa.key(0))
given = model.gradient(model.load(params, "cpu:1"), data, hansa.key(0))
print({leaf.device[-5:] for leaf in (given.loss, *given.gradient.values(), *given.buffers.values())})
local = hansa.LocalTraining(model, hansa.Adam(0.1), epochs=2)
shard = {"train": hansa.ClientDataset(data)}
one, other = (local(params, ClientContext("a", shard, device=each)).tree for each in ("cpu", "cpu:1"))
print(all(np.allclose(leaf, other[name], atol=1e-5) for name, leaf in one.items()))
"""
    assert in_another_process(program).splitlines()[-2:] == ["{'CPU:1'}", "True"]
