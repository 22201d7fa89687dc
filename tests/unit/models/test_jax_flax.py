"""FlaxModel: what it makes of modules of Flax NNX."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
import pytest
from flax import linen, nnx
from jax import numpy as jnp

import hansa
from hansa.core.keys import key
from hansa.core.work import ClientContext
from hansa.errors import ConfigError, TreeMismatch
from hansa.models.flax import FlaxModel
from hansa.models.jax import JaxModel, prng_key
from hansa.training.optimizers import Adam
from hansa.training.tasks.framework import Habits

cross_entropy = optax.softmax_cross_entropy_with_integer_labels


class Net(nnx.Module):
    """BatchNorm, two layers of dropout, and a counter of its own."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.first, self.head = nnx.Linear(4, 16, rngs=rngs), nnx.Linear(16, 3, rngs=rngs)
        self.norm = nnx.BatchNorm(16, momentum=0.9, rngs=rngs)
        self.dropouts = nnx.List([nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)])
        self.calls = nnx.Variable(jnp.zeros((), jnp.int32))

    def __call__(self, x: Any) -> Any:
        self.calls[...] += 1
        x = nnx.relu(self.norm(self.first(x)))
        for dropout in self.dropouts:
            x = dropout(x)
        return self.head(x)


def batch(size: int = 6) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    return {"x": generator.standard_normal((size, 4)).astype(np.float32), "y": np.arange(size) % 3}


def model(module: Any = Net, **options: Any) -> FlaxModel:
    return FlaxModel(module, cross_entropy, **options)


def test_leaves_are_named_by_their_paths_and_random_streams_are_none() -> None:
    wrapped = model()
    assert set(wrapped.init(key(0))) == {
        *(f"{layer}/{leaf}" for layer in ("first", "head") for leaf in ("kernel", "bias")),
        *(f"norm/{leaf}" for leaf in ("scale", "bias", "mean", "var")),
        "calls",
    }
    assert wrapped.buffers == {"norm/mean", "norm/var", "calls"}


def test_init_draws_what_flax_draws_from_that_key() -> None:
    expected = Net(rngs=nnx.Rngs(prng_key(key(5)))).first.kernel[...]
    assert np.array_equal(model().init(key(5))["first/kernel"], expected)


def test_a_module_gives_its_own_parameters_and_later_changes_to_it_are_not_seen() -> None:
    module = Net(rngs=nnx.Rngs(3))
    wrapped, before = model(module), np.array(module.first.kernel[...])
    module.first.kernel[...] = jnp.zeros((4, 16))
    assert all(np.array_equal(wrapped.init(key(seed))["first/kernel"], before) for seed in (0, 1))


def test_training_leaves_the_module_that_was_given_as_it_was() -> None:
    module = Net(rngs=nnx.Rngs(3))
    before = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.RngKey))))
    wrapped = model(module)
    wrapped.gradient(wrapped.load(wrapped.init(key(0))), batch(), key(0))
    after = nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.RngKey)))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, before, after)))


def test_training_gives_new_statistics_and_counters_and_prediction_uses_the_old() -> None:
    wrapped, data = model(), batch()
    params = wrapped.init(key(0))
    buffers = wrapped.dump(wrapped.gradient(wrapped.load(params), data, key(0)).buffers)
    seen = data["x"] @ params["first/kernel"] + params["first/bias"]
    assert np.allclose(buffers["norm/mean"], 0.1 * seen.mean(axis=0), atol=1e-6)
    assert np.allclose(buffers["norm/var"], 0.9 + 0.1 * seen.var(axis=0), atol=1e-6)
    assert buffers["calls"] == 1
    hidden = np.maximum(seen / np.sqrt(1 + 1e-5), 0)
    expected = hidden @ params["head/kernel"] + params["head/bias"]
    assert np.allclose(wrapped.predict(wrapped.load(params), data).outputs, expected, atol=1e-5)


def test_dropout_draws_by_the_key_when_training_and_not_at_all_when_predicting() -> None:
    wrapped = model()
    resident = wrapped.load(wrapped.init(key(0)))
    losses = {float(wrapped.gradient(resident, batch(), key(0, n)).loss) for n in (1, 2, 3, 1, 2, 3)}
    assert len(losses) == 3
    assert wrapped.predict(resident, batch()).loss == wrapped.predict(resident, batch()).loss


def test_layers_that_draw_have_streams_of_their_own() -> None:
    class Masks(nnx.Module):
        def __init__(self, *, rngs: nnx.Rngs) -> None:
            self.left, self.right = nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
            self.scale = nnx.Param(jnp.ones(()))

        def __call__(self, x: Any) -> Any:
            return self.scale * jnp.abs(self.left(x) - self.right(x))

    wrapped = FlaxModel(Masks, lambda outputs, _: outputs.mean(axis=1))
    resident = wrapped.load(wrapped.init(key(0)))
    data = {"x": np.ones((8, 64), np.float32), "y": np.zeros(8, np.float32)}
    assert 0.7 < float(wrapped.gradient(resident, data, key(0)).loss) < 1.3  # they differ in half of the places, by 2


def test_only_what_wrt_selects_is_trained() -> None:
    def head(path: tuple[Any, ...], variable: Any) -> bool:
        return path[0] == "head" and isinstance(variable, nnx.Param)

    wrapped, shard = model(wrt=head), {"train": hansa.ClientDataset(batch(24))}
    params = wrapped.init(key(0))
    update = hansa.LocalTraining(wrapped, Adam(0.1), epochs=1)(params, ClientContext("a", shard)).tree
    moved = {name for name, leaf in update.items() if leaf.any()}
    assert moved == {"head/kernel", "head/bias", "norm/mean", "norm/var", "calls"}


# --- for tasks


def test_a_task_gets_a_module_of_its_own_in_training_mode() -> None:
    wrapped = model()
    params = wrapped.init(key(1))
    one: Any = wrapped.native(params, "cpu")
    other = wrapped.native(params, "cpu")
    assert not one.norm.use_running_average
    found = wrapped.extract(one)
    assert list(found) == list(params)
    assert all(np.array_equal(leaf, params[name]) for name, leaf in found.items())
    one(batch()["x"])
    one.head.bias[...] += 1
    assert np.array_equal(wrapped.extract(one)["head/bias"], params["head/bias"] + 1)
    assert wrapped.extract(one)["calls"] == 1
    assert all(np.array_equal(leaf, params[name]) for name, leaf in wrapped.extract(other).items())


def test_the_streams_of_a_task_s_module_can_be_seeded() -> None:
    wrapped, x = model(), batch()["x"]
    params = wrapped.init(key(1))

    def drawn(own: Any) -> Any:
        return np.asarray(wrapped.native(params, "cpu", own)(x))

    assert np.array_equal(drawn(key(1)), drawn(key(1)))
    assert not np.array_equal(drawn(key(1)), drawn(key(2)))
    assert np.array_equal(drawn(None), drawn(None))


def test_a_task_evaluates_in_evaluation_mode_and_gets_batches_of_jax() -> None:
    wrapped = model()
    params = wrapped.init(key(1))
    module: Any = wrapped.native(params, "cpu")
    x, y = wrapped.tensors(batch(), "cpu")
    assert isinstance(wrapped, Habits)
    assert (isinstance(x, jax.Array), y.tolist()) == (True, [0, 1, 2, 0, 1, 2])
    wrapped.mode(module, training=False)
    outputs = wrapped.predict(wrapped.load(params), batch()).outputs
    assert np.allclose(module(x), outputs, atol=1e-6)
    wrapped.mode(module, training=True)
    assert not np.allclose(module(x), outputs, atol=1e-6)


def test_a_task_that_changes_the_module_s_form_is_told_what() -> None:
    wrapped = model()
    module: Any = wrapped.native(wrapped.init(key(0)))
    module.head = nnx.Linear(16, 5, rngs=nnx.Rngs(0))
    with pytest.raises(TreeMismatch, match=r"leaf 'head/\w+' has shape .*, expected"):
        wrapped.extract(module)


# --- what is wrong, where, and what to do


def test_a_function_that_makes_no_module_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"module function of a FlaxModel returned dict, not an nnx\.Module"
    ) as caught:
        model(lambda rngs: {}).init(key(0))
    assert "a function of `rngs` that makes it" in caught.value.hint


def test_a_module_of_linen_goes_in_as_two_functions() -> None:
    module, x = linen.Dense(3), batch()["x"]
    with pytest.raises(ConfigError, match=r"this is one of flax\.linen") as caught:
        model(module)
    assert "JaxModel(lambda rng: module.init(rng, example), module.apply, loss)" in caught.value.hint
    wrapped = JaxModel(lambda rng: module.init(rng, x[:1]), module.apply, cross_entropy)
    assert set(wrapped.init(key(0))) == {"params/kernel", "params/bias"}
    assert wrapped.predict(wrapped.load(wrapped.init(key(0))), batch()).outputs.shape == (6, 3)
