"""The kit of models rejects a model for each law that it could break."""

# ruff: noqa: ARG002 - signatures are the port's, whatever a broken one makes of them

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from hansa.core.keys import Key, key
from hansa.core.tree import Tree, aligned_copy
from hansa.models import Batch, Gradient, NumpyMLP, Prediction, Resident
from hansa.testing import check_model


def batch() -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(1)
    return {"x": generator.standard_normal((6, 4)).astype(np.float32), "y": generator.integers(3, size=6)}


@dataclass(frozen=True)
class Good(NumpyMLP):
    sizes: tuple[int, ...] = (4, 5, 3)


class IgnoresTheKey(Good):
    def init(self, key: Key) -> Tree:
        return super().init(Key(0))


class InitOfTheMoment(Good):
    def init(self, key: Key) -> Tree:
        return super().init(Key(random.randrange(2**30)))  # noqa: S311 - the mistake that this is about


class OtherLeavesForEachKey(Good):
    def init(self, key: Key) -> Tree:
        params = super().init(key)
        return {**params, f"extra{key.seed}": params["layer1.bias"]}


class BuffersThatAreNoLeaves(Good):
    @property
    def buffers(self) -> frozenset[str]:
        return frozenset({"running_mean"})


class LoadsWider(Good):
    def load(self, params: Tree, device: str = "cpu") -> Resident:
        return {name: leaf.astype(np.float64) for name, leaf in super().load(params).items()}


class LoadsAlias(Good):
    def load(self, params: Tree, device: str = "cpu") -> Resident:
        return {**super().load(params), "layer1.bias": params["layer1.bias"]}


class LoadsUnaligned(Good):
    def load(self, params: Tree, device: str = "cpu") -> Resident:
        resident = super().load(params)
        for name, leaf in params.items():
            room = aligned_copy(np.zeros(leaf.size + 1, leaf.dtype))[1:]
            room[...] = leaf.reshape(-1)
            resident[name] = room.reshape(leaf.shape)
        return resident


class DumpsAlias(Good):
    def dump(self, params: Resident) -> Tree:
        return dict(params)


class DumpsReadOnly(Good):
    def dump(self, params: Resident) -> Tree:
        dumped = super().dump(params)
        for leaf in dumped.values():
            leaf.flags.writeable = False
        return dumped


class Changes(Good):
    """What `gradient` gives, changed by `wrong`."""

    def gradient(self, params: Resident, batch: Batch, key: Key) -> Gradient:
        return self.wrong(super().gradient(params, batch, key), params, batch)

    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        raise NotImplementedError


class ChangesParameters(Changes):
    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        params["layer1.bias"] -= 0.1 * good.gradient["layer1.bias"] + 1e-3
        return good


class ChangesTheBatch(Changes):
    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        batch["x"][...] *= 2
        return good


class DrawsGlobally(Changes):
    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        np.random.rand()  # noqa: NPY002 - the mistake that this is about
        return good


class ForgetsALeaf(Changes):
    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        return good._replace(gradient={name: leaf for name, leaf in good.gradient.items() if name != "layer2.bias"})


class WidensALeaf(Changes):
    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        return good._replace(gradient={name: leaf.astype(np.float64) for name, leaf in good.gradient.items()})


class FlattensALeaf(Changes):
    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        return good._replace(gradient={name: leaf.reshape(-1) for name, leaf in good.gradient.items()})


class GivesParametersAsBuffers(Changes):
    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        return good._replace(buffers={"layer1.bias": params["layer1.bias"]})


class NarrowsABuffer(Changes):
    @property
    def buffers(self) -> frozenset[str]:
        return frozenset({"seen"})

    def init(self, key: Key) -> Tree:
        return {**super().init(key), "seen": np.zeros(2, np.int64)}

    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        return good._replace(buffers={"seen": params["seen"].astype(np.int32)})


class Remembers(Changes):
    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        calls = self.__dict__.setdefault("calls", [])
        calls.append(1)
        return good._replace(gradient={name: leaf * np.float32(len(calls)) for name, leaf in good.gradient.items()})


class ReadsTheGlobalGenerator(Changes):
    """Does not move it, but depends on it."""

    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        state = np.random.get_state()  # noqa: NPY002 - the mistake that this is about
        noise = np.float32(np.random.rand())  # noqa: NPY002 - the mistake that this is about
        np.random.set_state(state)  # noqa: NPY002 - the mistake that this is about
        return good._replace(gradient={name: leaf * (1 + noise) for name, leaf in good.gradient.items()})


class ReusesMemory(Changes):
    """Gives the right gradient, in the same arrays each time; the loss's own, so that nothing else is wrong."""

    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        for earlier in self.__dict__.setdefault("given", []):
            earlier["layer2.bias"][...] = 0
        self.__dict__["given"].append(good.gradient)
        return good


class NarrowsTheLoss(Changes):
    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        return good._replace(loss=np.float16(good.loss))


class ScalesTheGradient(Changes):
    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        return good._replace(gradient={name: leaf * np.float32(1.1) for name, leaf in good.gradient.items()})


class LosesABias(Changes):
    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        return good._replace(gradient={**good.gradient, "layer1.bias": np.zeros(5, np.float32)})


class RollsAWeight(Changes):
    def wrong(self, good: Gradient, params: Resident, batch: Batch) -> Gradient:
        return good._replace(
            gradient={**good.gradient, "layer1.weight": np.roll(good.gradient["layer1.weight"], 1, axis=1)}
        )


class PredictsAndChanges(Good):
    def predict(self, params: Resident, batch: Batch) -> Prediction:
        prediction = super().predict(params, batch)
        params["layer2.bias"] += np.float32(1e-6)
        return prediction


class PredictsByTheBatch(Good):
    """Centres each batch, as BatchNorm in training mode does."""

    def predict(self, params: Resident, batch: Batch) -> Prediction:
        return super().predict(params, {**batch, "x": batch["x"] - batch["x"].mean(axis=0)})


class PredictsTheSum(Good):
    def predict(self, params: Resident, batch: Batch) -> Prediction:
        loss, outputs = super().predict(params, batch)
        return Prediction(loss * len(outputs), outputs)


class PredictsTooLittle(Good):
    def predict(self, params: Resident, batch: Batch) -> Prediction:
        loss, outputs = super().predict(params, batch)
        return Prediction(loss, outputs[:1])


class PredictsAtRandom(Good):
    def predict(self, params: Resident, batch: Batch) -> Prediction:
        np.random.rand()  # noqa: NPY002 - the mistake that this is about
        return super().predict(params, batch)


BROKEN = {
    IgnoresTheKey: "init draws other parameters for another key",
    InitOfTheMoment: "init changes no global generator.*Python",
    OtherLeavesForEachKey: "init gives the same leaves for every key",
    BuffersThatAreNoLeaves: "buffers are leaves of the model",
    LoadsWider: r"dump\(load\(params\)\) has the same bits.*float64",
    LoadsAlias: "load copies",
    LoadsUnaligned: "load aligns leaves to 64 bytes",
    DumpsAlias: "dump copies",
    DumpsReadOnly: "receiver's to change",
    ChangesParameters: "gradient does not change the parameters",
    ChangesTheBatch: "gradient does not change the batch",
    DrawsGlobally: "gradient changes no global generator.*NumPy",
    ForgetsALeaf: "gradient covers exactly the leaves that are trained",
    WidensALeaf: "gradient covers exactly.*float64",
    FlattensALeaf: "gradient covers exactly.*shape",
    GivesParametersAsBuffers: "only buffers are given new values",
    NarrowsABuffer: "buffers keep their shapes and dtypes",
    Remembers: "repeatable bit for bit",
    ReadsTheGlobalGenerator: "repeatable bit for bit",
    ReusesMemory: "a gradient that was given is not changed by the next",
    NarrowsTheLoss: "float32 or wider",
    ScalesTheGradient: "agrees with finite differences",
    LosesABias: "agrees with finite differences.*layer1.bias",
    RollsAWeight: "agrees with finite differences.*layer1.weight",
    PredictsAndChanges: "predict does not change the parameters",
    PredictsByTheBatch: "predict does not depend on how a batch is split",
    PredictsTheSum: "predict does not depend on how a batch is split",
    PredictsTooLittle: "one output an example",
    PredictsAtRandom: "predict changes no global generator",
}


def test_the_model_that_the_broken_ones_are_made_of_is_good() -> None:
    check_model(Good(), batch(), random_init=True)


@pytest.mark.parametrize(("broken", "law"), BROKEN.items(), ids=[kind.__name__ for kind in BROKEN])
def test_the_kit_rejects_a_model_that_breaks_a_law(broken: type[Good], law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_model(broken(), batch(), random_init=True)


def test_differences_are_left_out_for_models_that_train_otherwise_than_they_predict() -> None:
    check_model(ScalesTheGradient(), batch(), deterministic=False)


def test_the_kit_leaves_the_global_generators_as_they_were() -> None:
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002 - it is this one that is meant
    check_model(Good(), batch())
    seen = random.random(), float(np.random.rand())  # noqa: NPY002, S311 - it is these that are meant
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002 - it is this one that is meant
    assert seen == (random.random(), float(np.random.rand()))  # noqa: NPY002, S311 - it is these that are meant


def test_fixed_parameters_may_ignore_the_key() -> None:
    assert unlike_nothing(IgnoresTheKey().init(key(0)), IgnoresTheKey().init(key(1)))
    check_model(IgnoresTheKey(), batch())


def unlike_nothing(a: Tree, b: Tree) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in a)
