"""Client steps: three pure functions are local training written out, and their mistakes are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax", reason="JAX is not installed")

import jax
from jax import numpy as jnp

from hansa.algorithms import FedAvg
from hansa.core import tree
from hansa.core.history import History
from hansa.core.keys import Key, key
from hansa.core.metrics import Mean, Metrics
from hansa.core.tree import Tree
from hansa.core.work import ClientContext
from hansa.data import ClientDataset
from hansa.errors import ConfigError, DataError, HansaError, InputError, RunFailed, TreeMismatch
from hansa.experiment import Experiment
from hansa.federation import Federation
from hansa.models import NumpyMLP
from hansa.models.jax import JaxModel
from hansa.testing import blobs
from hansa.training import SGD, LocalTraining
from hansa.training.steps import ClientSteps

RATE = 0.1
CLIENTS = blobs(3, examples=37)
DATA = CLIENTS["0"]
CONTEXT = ClientContext("0", {"train": DATA}, round=3, key=key(9, "visit"))


def make(rng: Any) -> Any:
    return {"w": jax.random.normal(rng, (5, 3)) * 0.1, "layers": [jnp.zeros(3), jnp.zeros((), jnp.int32)]}


def apply(params: Any, x: Any) -> Any:
    return x @ params["w"] + params["layers"][0]


def loss(outputs: Any, labels: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(outputs), labels[:, None], axis=1)[:, 0]


MODEL = JaxModel(make, apply, loss)
PARAMS = MODEL.init(key(1))


# --- the functions of a plain client, which is what LocalTraining with SGD does


def init(shared: Any, rng: Any) -> Any:
    return {"params": shared, "start": shared, "loss": 0.0, "examples": 0}


def mean_loss(trained: Any, counter: Any, batch: Any) -> Any:
    return loss(apply({"w": trained["w"], "layers": [trained["b"], counter]}, batch["x"]), batch["y"]).mean()


def step(state: Any, batch: Any) -> Any:
    w, (b, counter) = state["params"]["w"], state["params"]["layers"]
    value, slope = jax.value_and_grad(mean_loss)({"w": w, "b": b}, counter, batch)
    params = {"w": w - slope["w"] * RATE, "layers": [b - slope["b"] * RATE, counter]}
    size = len(batch["y"])
    return {**state, "params": params, "loss": state["loss"] + value * size, "examples": state["examples"] + size}


def final(shared: Any, state: Any) -> Any:
    (b, counter), (b0, _) = state["params"]["layers"], shared["layers"]
    change = {"w": state["params"]["w"] - shared["w"], "layers": [b - b0, counter]}
    return change, None, {"loss": state["loss"] / state["examples"]}


STEPS = ClientSteps(init, step, final, batch_size=8, epochs=2, model=MODEL)


def test_plain_sgd_written_as_three_functions_is_local_training() -> None:
    expected = LocalTraining(MODEL, SGD(RATE), batch_size=8, epochs=2)(PARAMS, CONTEXT)
    found = STEPS(PARAMS, CONTEXT)
    tree.check_alike(found.tree, expected.tree)
    assert all(np.allclose(found.tree[name], expected.tree[name], rtol=1e-5, atol=1e-7) for name in PARAMS)
    assert found.weight == expected.weight == 37
    assert found.metrics.value("loss") == pytest.approx(expected.metrics.value("loss"), rel=1e-5)
    assert found.state is None
    assert all(type(leaf) is np.ndarray for leaf in found.tree.values())
    assert STEPS.buffers == MODEL.buffers == {"layers/1"}


def test_equal_arguments_give_equal_bits_and_nothing_that_was_lent_changes() -> None:
    lent = tree.read_only(PARAMS)
    first, again = STEPS(lent, CONTEXT), STEPS(lent, CONTEXT)
    other = ClientContext("0", {"train": DATA}, key=key(9, "another visit"))
    for name in PARAMS:
        assert first.tree[name].tobytes() == again.tree[name].tobytes()
    assert first.metrics == again.metrics
    assert STEPS(lent, other).tree["w"].tobytes() != first.tree["w"].tobytes()


def test_without_a_model_arrays_come_by_name_and_the_batches_are_the_visit_s_own() -> None:
    def first(shared: Any, rng: Any) -> Any:
        assert isinstance(shared["total"], jax.Array)
        return {"total": shared["total"], "drawn": jax.random.uniform(rng)}

    def add(state: Any, batch: Any) -> Any:
        assert isinstance(batch["x"], jax.Array)
        return {**state, "total": 2 * state["total"] + batch["x"].sum()}

    def last(shared: Any, state: Any) -> Any:
        assert not shared["total"].any()  # the first step's memory was not its own
        return {"total": state["total"], "drawn": state["drawn"]}

    work = ClientSteps(first, add, last, batch_size=10, steps=6)
    found = work({"total": np.zeros((), np.float32)}, CONTEXT)
    total = np.float32(0)
    for batch in DATA.shuffle_repeat(10, CONTEXT.key.child("shuffle"), steps=6):
        total = 2 * total + batch["x"].sum()
    assert found.tree["total"] == pytest.approx(total, rel=1e-5)
    assert 0 < found.tree["drawn"] < 1
    assert found.weight == 37
    assert not found.metrics
    assert not work.buffers


def test_a_step_is_traced_once_for_each_shape_of_a_batch_however_many_clients_there_are() -> None:
    traced: list[int] = []

    def counted(state: Any, batch: Any) -> Any:
        traced.append(len(batch["y"]))
        return step(state, batch)

    work = ClientSteps(init, counted, final, batch_size=8, epochs=2, model=MODEL)
    for name in CLIENTS:
        work(PARAMS, ClientContext(name, {"train": CLIENTS[name]}))
    assert set(traced) == {8, 5, 3}  # of 37, 40 and 43 examples
    assert len(traced) <= 6  # once more where a number of Python's has become an array
    traced.clear()
    ClientSteps(init, counted, final, batch_size=8, epochs=2, drop_remainder=True, model=MODEL)(PARAMS, CONTEXT)
    assert set(traced) == {8}


def test_without_compiling_a_step_can_be_looked_into() -> None:
    seen: list[float] = []

    def looked_into(state: Any, batch: Any) -> Any:
        seen.append(float(state["loss"]))  # a tracer has no value
        return step(state, batch)

    with jax.disable_jit():
        found = ClientSteps(init, looked_into, final, batch_size=8, epochs=2, model=MODEL)(PARAMS, CONTEXT)
    assert len(seen) == 10
    assert np.allclose(found.tree["w"], STEPS(PARAMS, CONTEXT).tree["w"], rtol=1e-5, atol=1e-7)


def test_functions_of_numpy_run_as_they_are() -> None:
    def first(shared: Tree, own: Key) -> list[Any]:
        shared["m"] += 1  # a copy, theirs to change
        return [shared["m"], own.generator().random()]

    def add(state: list[Any], batch: Tree) -> list[Any]:
        assert type(batch["x"]) is np.ndarray
        return [state[0] + batch["x"].sum(axis=0), state[1]]

    def last(shared: Tree, state: list[Any]) -> Any:
        return {"m": state[0]}, 2.5, {"drawn": state[1], "one": np.float32(1)}

    work, lent = ClientSteps(first, add, last, epochs=3, jit=False), tree.read_only({"m": np.zeros(5)})
    found = work(lent, CONTEXT)
    assert np.allclose(found.tree["m"], 1 + 3 * DATA["x"].sum(axis=0))
    assert found.weight == 2.5
    assert found.metrics["one"] == Mean.of(1.0, 2.5)
    assert found.metrics["drawn"] == work(lent, CONTEXT).metrics["drawn"]
    assert not lent["m"].any()


def test_functions_of_pytorch_run_as_they_are() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    def first(shared: Tree, own: Key) -> Any:
        weight = torch.nn.Parameter(torch.from_numpy(shared["w"]))
        return weight, torch.optim.SGD([weight], lr=RATE)

    def move(state: Any, batch: Tree) -> Any:
        weight, optimizer = state
        optimizer.zero_grad()
        outputs = torch.from_numpy(batch["x"]) @ weight
        torch.nn.functional.cross_entropy(outputs, torch.from_numpy(batch["y"])).backward()
        optimizer.step()
        return state

    def last(shared: Tree, state: Any) -> Any:
        return {"w": state[0].detach() - torch.from_numpy(PARAMS["w"])}

    found = ClientSteps(first, move, last, batch_size=8, epochs=2, jit=False)({"w": PARAMS["w"]}, CONTEXT)
    model = JaxModel(lambda rng: {"w": jax.random.normal(rng, (5, 3))}, lambda params, x: x @ params["w"], loss)
    expected = LocalTraining(model, SGD(RATE), batch_size=8, epochs=2)({"w": PARAMS["w"]}, CONTEXT)
    assert np.allclose(found.tree["w"], expected.tree["w"], rtol=1e-4, atol=1e-6)


def test_fedavg_trains_with_it() -> None:
    def run(work: Any) -> History:
        experiment = Experiment(MODEL, FedAvg(work, rounds=3))
        return Federation.simulate(CLIENTS).run(experiment, callbacks=()).history

    written, plain = run(STEPS), run(LocalTraining(MODEL, SGD(RATE), batch_size=8, epochs=2))
    for name, leaf in plain.model.items():
        assert np.allclose(written.model[name], leaf, rtol=1e-4, atol=1e-6)


def test_an_update_that_is_not_of_the_model_s_form_is_refused_where_updates_are_joined() -> None:
    work = ClientSteps(_nothing, _same, lambda shared, state: {"other": jnp.zeros(3)}, epochs=1)
    with pytest.raises(RunFailed, match="unexpected \\['other'\\]"):
        Federation.simulate(CLIENTS).run(Experiment(NumpyMLP((5, 3)), FedAvg(work, rounds=1)), callbacks=())


def _nothing(shared: Any, rng: Any) -> Any:
    return {"n": jnp.zeros(3)}


def _same(state: Any, batch: Any) -> Any:
    return state


# --- mistakes


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda state, batch: {**state, "extra": state["n"]}, "unexpected [\"['extra']\"]"),
        (lambda state, batch: {"n": state["n"][:1]}, "has shape (1,), expected (3,)"),
        (lambda state, batch: {"n": state["n"].astype(jnp.float16)}, "has dtype float16, expected float32"),
        (lambda state, batch: None, "missing [\"['n']\"]"),
    ],
    ids=["another leaf", "another shape", "another dtype", "nothing"],
)
def test_a_step_that_returns_another_state_is_told(wrong: Any, what: str) -> None:
    for _ in range(2):  # and again: what failed to compile is not remembered
        with pytest.raises(TreeMismatch) as caught:
            ClientSteps(_nothing, wrong, lambda shared, state: state, epochs=1)({}, CONTEXT)
        assert what in caught.value.what
        assert caught.value.where == "the state that step returned"
        assert caught.value.hint == "every step returns a state of the structure, shapes and dtypes that init gave it"


def test_a_state_put_together_otherwise_of_the_same_leaves_is_told() -> None:
    work = ClientSteps(lambda shared, rng: [jnp.zeros(3)], lambda state, batch: tuple(state), lambda *_: {}, epochs=1)
    with pytest.raises(TreeMismatch, match="expected PyTreeDef"):
        work({}, CONTEXT)


def test_a_plain_step_that_returns_something_else_is_told() -> None:
    work = ClientSteps(lambda shared, own: {"n": 0}, lambda state, batch: None, lambda *_: {}, epochs=1, jit=False)
    with pytest.raises(InputError) as caught:
        work({}, CONTEXT)
    assert caught.value.what == "step returned None, and the state before was dict"
    assert caught.value.hint == "return the new state from step"


FORM = "a dict of arrays by name, or (that, weight, metrics by name)"


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize(
    ("returned", "what"),
    [
        (None, f"final returns {FORM}; found None"),
        ([np.zeros(3)], f"final returns {FORM}; found list"),
        ({0: np.zeros(3)}, f"final returns {FORM}; found dict"),
        (({"w": np.zeros(3)}, 1.0), f"final returns {FORM}; found a tuple (dict, float)"),
        ({"w": 0.5}, "final returns an array as leaf 'w'; found 0.5"),
        ({"w": {"b": np.zeros(3)}}, "final returns an array as leaf 'w'; found dict"),
        (({"w": np.zeros(3)}, -1, {}), "final returns a finite weight of at least 0, or None; found -1.0"),
        (({"w": np.zeros(3)}, "many", {}), "final returns a finite weight of at least 0, or None; found str"),
        (({"w": np.zeros(3)}, np.nan, {}), "final returns a finite weight of at least 0, or None; found nan"),
        (({"w": np.zeros(3)}, 1, {"loss": "low"}), "metric 'loss' is a str; expected a number"),
        (({"w": np.zeros(3)}, 1, {"loss": np.zeros(2)}), "metric 'loss' is a ndarray; expected a number"),
    ],
)
def test_a_final_that_returns_something_else_is_told(returned: Any, what: str, jit: bool) -> None:
    work = ClientSteps(_nothing, _same, lambda shared, state: returned, epochs=1, jit=jit)
    with pytest.raises(InputError) as caught:
        work({}, CONTEXT)
    assert caught.value.what == what
    assert "client '0'" in caught.value.where


def test_a_final_that_returns_another_pytree_than_the_model_s_is_told() -> None:
    def work(returned: Any) -> ClientSteps:
        return ClientSteps(init, step, lambda shared, state: returned(shared), epochs=1, model=MODEL)

    with pytest.raises(InputError) as caught:
        work(lambda shared: shared["w"])(PARAMS, CONTEXT)
    expected = "a pytree like the model's parameters, or (that, weight, metrics by name)"
    assert caught.value.what == f"final returns {expected}; found ArrayImpl"
    with pytest.raises(TreeMismatch) as mismatch:
        work(lambda shared: {**shared, "w": shared["w"].T})(PARAMS, CONTEXT)
    assert mismatch.value.what == "leaf 'w' has shape (3, 5), expected (5, 3)"
    assert mismatch.value.where == "the tree that final returned"


def test_a_pytree_of_three_is_no_tree_with_weight_and_metrics() -> None:
    model = JaxModel(lambda rng: (jnp.zeros(2), jnp.zeros(3), {"b": jnp.zeros(1)}), apply, loss)
    work = ClientSteps(lambda shared, rng: 0, _same, lambda shared, state: shared, epochs=1, model=model)
    assert [leaf.size for leaf in work(model.init(key(0)), CONTEXT).tree.values()] == [2, 3, 1]


def test_metrics_that_merge_are_taken_as_they_are() -> None:
    metrics = Metrics({"right": Mean.share(3, 4)})
    work = ClientSteps(_nothing, _same, lambda shared, state: ({}, jnp.float32(2), metrics), steps=1)
    found = work({}, CONTEXT)
    assert (found.tree, found.weight, found.metrics) == ({}, 2.0, metrics)


@pytest.mark.parametrize("jit", [True, False])
def test_an_init_that_returns_nothing_is_told(jit: bool) -> None:
    with pytest.raises(InputError, match="init returns a state; found None"):
        ClientSteps(lambda shared, rng: None, _same, lambda *_: {}, epochs=1, jit=jit)({}, CONTEXT)


def test_numbers_that_jax_would_cut_are_refused() -> None:
    work = ClientSteps(_nothing, _same, lambda *_: {}, epochs=1)
    with pytest.raises(ConfigError, match="leaf 'w' is float64, and JAX would hold it as float32"):
        work({"w": np.zeros(3)}, CONTEXT)
    for values, what in [
        (np.array([2**40, 1]), "the field 'x' holds 1099511627776, and JAX would hold it as int32"),
        (np.array(["a", "b"]), "the field 'x' is <U1, and JAX computes with numbers"),
    ]:
        with pytest.raises(DataError) as caught:
            work({}, ClientContext("0", {"train": ClientDataset({"x": values})}))
        assert caught.value.what == what


def test_a_client_without_examples_is_told() -> None:
    for data in ({}, {"train": DATA.take(0)}):
        with pytest.raises(DataError, match="there are no examples to train on"):
            STEPS(PARAMS, ClientContext("0", data))


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({}, "client steps without an end"),
        ({"epochs": 0}, "epochs is at least 1, not 0"),
        ({"steps": 0}, "steps is at least 1, not 0"),
        ({"epochs": 1, "batch_size": 0}, "batch_size is at least 1, not 0"),
        ({"epochs": 1, "step": None}, "step is a function, not NoneType"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(arguments: dict[str, Any], what: str) -> None:
    functions: dict[str, Any] = {"init": init, "step": step, "final": final}
    with pytest.raises(HansaError) as caught:
        ClientSteps(**{**functions, **arguments})
    assert caught.value.what == what


def test_dropping_the_only_batch_is_told() -> None:
    work = ClientSteps(init, step, final, batch_size=64, epochs=1, drop_remainder=True, model=MODEL)
    with pytest.raises(DataError, match="37 examples make no batch"):
        work(PARAMS, CONTEXT)
