"""JaxModel: what it makes of two functions, how often it is traced, and what it says of what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import ml_dtypes
import numpy as np
import optax
import pytest
from jax import numpy as jnp

import hansa
from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.core.work import ClientContext
from hansa.errors import ConfigError, DataError, TreeMismatch
from hansa.models.jax import JaxModel, prng_key
from hansa.training.gradients import ClipNorm, Proximal
from hansa.training.optimizers import SGD, Adam, Optimizer, Yogi
from hansa.training.tasks.framework import Habits

cross_entropy = optax.softmax_cross_entropy_with_integer_labels


def made(rng: Any) -> Any:
    return {"layers": [{"kernel": jax.random.normal(rng, (4, 3)), "bias": jnp.zeros(3)}]}


def applied(params: Any, x: Any) -> Any:
    (layer,) = params["layers"]
    return x @ layer["kernel"] + layer["bias"]


def with_state(rng: Any) -> Any:
    return made(rng), {"mean": jnp.zeros(4), "batches": jnp.zeros((), jnp.int32)}


def centred(params: Any, x: Any, state: Any, *, train: bool) -> Any:
    mean = x.mean(axis=0) if train else state["mean"]
    return applied(params, x - mean), {"mean": mean, "batches": state["batches"] + 1} if train else state


def dropped(params: Any, x: Any, rng: Any) -> Any:
    return applied(params, x if rng is None else x * jax.random.bernoulli(rng, 0.5, x.shape))


def batch(size: int = 6, **fields: Any) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    return {"x": generator.standard_normal((size, 4)).astype(np.float32), "y": np.arange(size) % 3, **fields}


def model(make: Any = made, apply: Any = applied, loss: Any = cross_entropy, **names: Any) -> JaxModel:
    return JaxModel(make, apply, loss, **names)


def gradient(of: JaxModel, params: Tree, data: dict[str, Any]) -> Tree:
    return of.dump(of.gradient(of.load(params), data, key(0)).gradient)


def test_leaves_are_named_by_their_paths() -> None:
    assert set(model().init(key(0))) == {"layers/0/kernel", "layers/0/bias"}
    assert list(JaxModel(lambda _: jnp.ones(3), lambda w, x: x * w, cross_entropy).init(key(0))) == ["params"]


def test_init_draws_what_make_draws_from_that_key() -> None:
    expected = made(prng_key(key(5)))["layers"][0]["kernel"]
    assert np.array_equal(model().init(key(5))["layers/0/kernel"], expected)


def test_the_key_does_not_depend_on_the_generator_that_jax_is_set_to_use() -> None:
    with jax.default_prng_impl("rbg"):
        assert jax.random.key_data(prng_key(key(5))).shape == (2,)
        assert np.array_equal(jax.random.key_data(prng_key(key(5))), jax.random.key_data(prng_key(key(5))))


def test_the_gradient_is_jax_s_own() -> None:
    wrapped, data = model(), batch()
    params = wrapped.init(key(1))

    def loss(tree: Any) -> Any:
        return cross_entropy(applied(tree, data["x"]), data["y"]).mean()

    (expected,) = jax.jit(jax.grad(loss))(wrapped.native(params))["layers"]
    found = gradient(wrapped, params, data)
    for name, leaf in expected.items():
        assert np.allclose(found[f"layers/0/{name}"], leaf, rtol=1e-6, atol=1e-7)


def test_a_loss_for_each_example_is_averaged() -> None:
    one, other = model(), model(loss=lambda outputs, target: cross_entropy(outputs, target).mean())
    params = one.init(key(0))
    assert one.predict(one.load(params), batch()).loss == other.predict(other.load(params), batch()).loss


def test_a_complex_parameter_is_stepped_downhill() -> None:
    wrapped = JaxModel(
        lambda _: {"w": jnp.asarray(1 + 2j)}, lambda p, x: jnp.abs(p["w"] * x) ** 2, lambda outputs, _: outputs
    )
    found = gradient(wrapped, wrapped.init(key(0)), {"x": np.ones(2, np.float32), "y": np.ones(2)})
    assert found["w"] == pytest.approx(2 + 4j)


def test_the_state_and_parameters_that_are_no_floats_are_buffers() -> None:
    wrapped = model(lambda rng: (with_state(rng)[0] | {"seen": np.arange(2)}, with_state(rng)[1]), centred)
    assert wrapped.buffers == {"mean", "batches", "seen"}
    assert gradient(wrapped, wrapped.init(key(0)), batch()).keys() == {"layers/0/kernel", "layers/0/bias"}


def test_training_gives_a_new_state_and_prediction_uses_the_old() -> None:
    wrapped, data = model(with_state, centred), batch()
    params = wrapped.init(key(0))
    buffers = wrapped.dump(wrapped.gradient(wrapped.load(params), data, key(0)).buffers)
    assert np.allclose(buffers["mean"], data["x"].mean(axis=0), atol=1e-6)
    assert buffers["batches"] == 1
    assert buffers["batches"].dtype == np.int32
    expected = data["x"] @ params["layers/0/kernel"]
    assert np.allclose(wrapped.predict(wrapped.load(params), data).outputs, expected, atol=1e-5)


def test_in_an_average_of_clients_statistics_are_averaged_and_counters_are_the_largest() -> None:
    wrapped = model(with_state, centred)
    shards = {
        client: hansa.ClientDataset(batch(size, x=np.full((size, 4), value, np.float32)))
        for client, size, value in (("a", 6, 1.0), ("b", 12, 4.0))
    }
    local = hansa.LocalTraining(wrapped, SGD(0.1), batch_size=6, epochs=1)
    params, rule = wrapped.init(key(0)), hansa.WeightedMean()
    accumulator = rule.zero()
    for client, shard in shards.items():
        accumulator = rule.accumulate(accumulator, local(params, ClientContext(client, {"train": shard})))
    averaged = hansa.tree.moved(params, rule.finish(accumulator))
    assert np.allclose(averaged["mean"], (6 * 1 + 12 * 4) / 18)
    assert averaged["batches"] == 2


def test_random_functions_draw_by_the_key_when_training_and_not_at_all_when_predicting() -> None:
    wrapped = model(apply=dropped)
    resident = wrapped.load(wrapped.init(key(0)))
    losses = {float(wrapped.gradient(resident, batch(), key(0, n)).loss) for n in (1, 2, 3, 1, 2, 3)}
    assert len(losses) == 3
    assert wrapped.predict(resident, batch()).loss == model().predict(resident, batch()).loss


def test_what_apply_takes_is_found_in_partial_and_callable_objects_too() -> None:
    @dataclass(frozen=True)
    class Net:
        def __call__(self, params: Any, x: Any, *, train: bool) -> Any:
            return applied(params, x) * (2 if train else 1)

    for apply in (Net(), partial(Net())):
        wrapped = model(apply=apply)
        resident, data = wrapped.load(wrapped.init(key(0))), batch()
        doubled = cross_entropy(2 * jnp.asarray(wrapped.predict(resident, data).outputs), data["y"]).mean()
        assert float(wrapped.gradient(resident, data, key(0)).loss) == pytest.approx(float(doubled), rel=1e-5)


def counting(apply: Callable[..., Any]) -> tuple[Callable[..., Any], list[tuple[int, ...]]]:
    """`apply`, and the shapes that it was traced with: compiled code does not come by here."""
    traced: list[tuple[int, ...]] = []

    def counted(params: Any, x: Any, rng: Any) -> Any:
        traced.append(x.shape)
        return apply(params, x, rng)

    return counted, traced


def test_steps_are_compiled_once_for_each_shape_of_a_batch_however_many_and_whatever_the_rate() -> None:
    apply, traced = counting(dropped)
    wrapped = model(apply=apply)
    local = hansa.LocalTraining(wrapped, Adam(0.1), batch_size=4, epochs=5, schedule=lambda round_: 1 / round_)
    params, shard = wrapped.init(key(0)), {"train": hansa.ClientDataset(batch(10))}
    for round_ in (1, 2, 3):
        params = hansa.tree.moved(params, local(params, ClientContext("a", shard, round_)).tree)
    assert sorted(set(traced)) == [(2, 4), (4, 4)]
    assert len(traced) == len(set(traced))


@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9, weight_decay=0.01), Adam(0.1), Yogi(0.1)], ids=str)
def test_our_optimisers_and_transforms_run_on_jax_s_arrays(optimizer: Optimizer) -> None:
    wrapped, shard = model(), {"train": hansa.ClientDataset(batch(30))}
    params = wrapped.init(key(0))
    for transform in (ClipNorm(0.5), Proximal(0.1)):
        local = hansa.LocalTraining(wrapped, optimizer, batch_size=8, epochs=2, gradient=transform)
        after = hansa.tree.moved(params, local(params, ClientContext("a", shard)).tree)
        before, now = (wrapped.predict(wrapped.load(each), batch(30)).loss for each in (params, after))
        assert now < before
        assert {leaf.dtype for leaf in after.values()} == {np.dtype(np.float32)}


def test_a_model_in_bfloat16_is_bfloat16_all_the_way() -> None:
    def narrow(rng: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), made(rng))

    wrapped = model(narrow)
    params, data = wrapped.init(key(0)), batch(x=batch()["x"].astype(ml_dtypes.bfloat16))
    local = hansa.LocalTraining(wrapped, Adam(0.1), epochs=1)
    update = local(params, ClientContext("a", {"train": hansa.ClientDataset(data)})).tree
    for leaves in (params, gradient(wrapped, params, data), update):
        assert {leaf.dtype.name for leaf in leaves.values()} == {"bfloat16"}
    assert wrapped.predict(wrapped.load(params), data).outputs.dtype == np.float32


def test_bits_do_not_depend_on_where_in_memory_a_batch_or_the_parameters_lie() -> None:
    wrapped, data = model(), batch(64)
    params = wrapped.init(key(0))
    room = np.zeros(data["x"].size + 1, np.float32)[1:].reshape(data["x"].shape)
    room[...] = data["x"]
    first, second = gradient(wrapped, params, data), gradient(wrapped, params, {**data, "x": room})
    assert all(np.array_equal(leaf, second[name]) for name, leaf in first.items())


def test_a_batch_may_be_overwritten_as_soon_as_it_was_handed_over() -> None:
    wrapped, data = model(), batch(512)
    resident = wrapped.load(wrapped.init(key(0)))
    expected = float(wrapped.gradient(resident, data, key(0)).loss)
    loss = wrapped.gradient(resident, data, key(0)).loss
    data["x"][...] = 0
    assert float(loss) == expected


# --- for tasks


def test_a_task_gets_the_pytree_and_what_it_gives_back_is_taken_apart() -> None:
    wrapped = model(with_state, centred)
    params = wrapped.init(key(0))
    own, state = wrapped.native(params, "cpu")
    assert own["layers"][0]["kernel"].shape == (4, 3)
    moved = jax.tree.map(lambda leaf: leaf + 1, own)
    found = wrapped.extract((moved, state))
    assert list(found) == list(params)
    assert np.array_equal(found["layers/0/bias"], params["layers/0/bias"] + 1)
    assert np.array_equal(found["mean"], params["mean"])
    assert model().native(model().init(key(0))).keys() == {"layers"}


def test_a_task_gets_batches_of_jax() -> None:
    wrapped = model(inputs=("x", "y"))
    assert isinstance(wrapped, Habits)
    fields = wrapped.tensors(batch(), "cpu")
    assert [field.shape for field in fields] == [(6, 4), (6,), (6,)]
    assert all(isinstance(field, jax.Array) for field in fields)


def test_a_task_that_gives_back_something_else_is_told_what() -> None:
    wrapped = model()
    with pytest.raises(TreeMismatch, match="missing \\['layers/0/bias'\\]") as caught:
        wrapped.extract({"layers": [{"kernel": jnp.ones((4, 3))}]})
    assert "the parameters that a task gave back" in str(caught.value)
    with pytest.raises(TreeMismatch, match=r"leaf 'layers/0/kernel' has shape \(4, 4\), expected \(4, 3\)"):
        wrapped.extract({"layers": [{"kernel": jnp.ones((4, 4)), "bias": jnp.ones(3)}]})


# --- what is wrong, where, and what to do


@pytest.mark.parametrize(("fields", "missing"), [({"z": "x", "y": "y"}, "x"), ({"x": "x", "label": "y"}, "y")])
def test_a_field_that_is_missing_is_named(fields: dict[str, str], missing: str) -> None:
    data = {name: batch()[source] for name, source in fields.items()}
    wrapped = model()
    for use in (lambda p: wrapped.predict(p, data), lambda p: wrapped.gradient(p, data, key(0))):
        with pytest.raises(DataError, match=f"JaxModel needs the field '{missing}', and the data have"):
            use(wrapped.load(wrapped.init(key(0))))


@pytest.mark.parametrize("label", [3, 100, 2**40])
def test_a_label_without_an_output_is_told_in_the_user_s_words(label: int) -> None:
    wrapped, labels = model(), np.arange(6) % 3
    labels[4] = label
    said = f"a label is {label}, but the model tells 3 classes apart"
    if label == 2**40:  # JAX keeps 32 bits of it, which make a label that there is
        said = "the field 'y' holds 1099511627776"
    for use in (lambda p, b: wrapped.predict(p, b), lambda p, b: wrapped.gradient(p, b, key(0))):
        with pytest.raises(DataError, match=said):
            use(wrapped.load(wrapped.init(key(0))), batch(y=labels))


def test_whole_numbers_that_are_no_labels_are_left_alone() -> None:
    wrapped = model(loss=lambda outputs, target: (outputs.sum(axis=1) - target) ** 2)
    assert wrapped.predict(wrapped.load(wrapped.init(key(0))), batch(y=np.arange(6) * 10)).loss > 100


def test_a_leaf_of_64_bits_is_refused_rather_than_cut() -> None:
    with pytest.raises(ConfigError, match="leaf 'w' is float64, and JAX would hold it as float32") as caught:
        model().load({"w": np.ones(2)})
    assert "jax_enable_x64" in caught.value.hint


@pytest.mark.parametrize("device", ["tpu", "cpu:7", "cpu:x", "gpu:0:1"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    with pytest.raises(ConfigError, match=f"JAX has no device '{device}' here") as caught:
        model().load(model().init(key(0)), device)
    assert "it has: cpu" in caught.value.hint


def test_a_make_without_state_for_an_apply_with_it_is_explained() -> None:
    with pytest.raises(ConfigError, match="takes `state`, and make returned dict, not a pair"):
        model(made, centred).init(key(0))


def test_names_that_meet_are_refused() -> None:
    with pytest.raises(ConfigError, match="two parameters of a JaxModel have the same path"):
        model(lambda _: {"a": {"b": jnp.ones(1)}, "a/b": jnp.ones(1)}).init(key(0))
    with pytest.raises(ConfigError, match="a parameter and a part of the state are both called 'w'"):
        model(lambda _: ({"w": jnp.ones(1)}, {"w": jnp.ones(1)}), centred).init(key(0))


def test_a_state_that_changes_its_form_is_refused() -> None:
    def growing(params: Any, x: Any, state: Any) -> Any:
        return applied(params, x), {**state, "mean": jnp.zeros(5)}

    wrapped = model(with_state, growing)
    with pytest.raises(TreeMismatch, match=r"leaf 'mean' has shape \(5,\), expected \(4,\)") as caught:
        wrapped.gradient(wrapped.load(wrapped.init(key(0))), batch(), key(0))
    assert "the state that a JaxModel's apply function gave back" in str(caught.value)
