"""Keras 3 on TensorFlow: any built `keras.Model` with any loss is a Model.

A leaf's name is its variable's path, such as "sequential/dense/kernel", with the numbers that Keras puts behind names that it
makes up counted anew within the model: a process that made other models before gives the same names.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hansa.core.keys import Key, key
from hansa.core.tree import Tree, aligned_copy
from hansa.errors import ConfigError, MissingExtra
from hansa.models.keras_weights import Layout, named_weights, values
from hansa.models.model import Batch, Gradient, Prediction, Resident, field_of, label_outside


@contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow, which reads this variable while it is imported, tells of no mere information, unless the user set it."""
    variable = "TF_CPP_MIN_LOG_LEVEL"
    ours = variable not in os.environ
    os.environ.setdefault(variable, "1")
    try:
        yield
    finally:
        if ours:
            del os.environ[variable]


try:
    with _quiet():
        import keras
        import tensorflow as tf
except ImportError as missing:
    raise MissingExtra.of("Keras with TensorFlow", "keras", "a KerasModel") from missing

CPU = "cpu"
_OUTSIDE = re.compile(r"label value of (-?\d+) which is outside the valid range of \[0, (\d+)\)")


@dataclass(frozen=True)
class KerasModel:
    """A model of Keras and its loss.

    Trainable weights are trained; others (BatchNorm's moving statistics, frozen layers) are buffers. The states of random
    generators, such as Dropout's, are no leaves: every training step gives them new values. Losses that layers add, such as
    `kernel_regularizer`'s, are part of the loss.

    On the processor leaves are NumPy arrays, because TensorFlow's tensors lack some of what optimisers and gradient transforms
    are written with (`x.sum()`, a number times a comparison); on any other device they are tensors.

    Attributes:
        model: a function that makes the model (then `init` draws new parameters for each seed), or a model (then `init` returns
            the weights that it has). It is built: it begins with `keras.Input`, or was called once.
        loss: what `model.compile` takes: the name of a loss, a `keras.Loss`, or a function of (targets, outputs), in Keras's
            order, that gives the mean over a batch or a value for each example. None for the one that it was compiled with.
        inputs: the field, or the fields, of a batch that the model is called with; several are handed over as a list.
        target: the field that the loss compares with.
    """

    model: Callable[[], Any] | Any
    loss: Any = None
    inputs: str | tuple[str, ...] = "x"
    target: str = "y"

    def __post_init__(self) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ConfigError(
                f"a KerasModel computes with TensorFlow, and Keras was loaded with the backend {keras.backend.backend()!r}",
                hint="set the environment variable KERAS_BACKEND=tensorflow before Keras is imported",
            )
        if isinstance(self.model, keras.Model):
            self._given  # noqa: B018 - the weights that it has now, whatever becomes of it later

    @property
    def buffers(self) -> frozenset[str]:
        """Weights that are not trained."""
        return frozenset(self._layout.others)

    def init(self, key: Key) -> Tree:
        """The weights of a model made with Python's generator, of which Keras draws its seeds, seeded by `key`."""
        if isinstance(self.model, keras.Model):
            return self.dump(self._given)
        return values(self._made(key))

    def load(self, params: Tree, device: str = CPU) -> Resident:
        """NumPy arrays on the processor, or tensors on a device such as "gpu" or "gpu:1".

        Raises:
            ConfigError: TensorFlow has no such device.
        """
        copies = {name: aligned_copy(leaf) for name, leaf in params.items()}
        if device == CPU:
            return copies
        with tf.device(_device_named(device)):
            return {name: tf.identity(tf.constant(leaf)) for name, leaf in copies.items()}

    def dump(self, params: Resident) -> Tree:
        """NumPy arrays."""
        return {name: np.array(leaf.numpy() if tf.is_tensor(leaf) else leaf) for name, leaf in params.items()}

    def gradient(self, params: Resident, batch: Batch, key: Key) -> Gradient:
        """Forward and backward in training mode; dropout and the like draw from seeds made of `key`."""
        seeds = [tf.constant([key.child("seed", number).integer(31), 0]) for number in range(len(self._layout.seeds))]
        trained, others = self._tensors(params, self._layout.trained), self._tensors(params, self._layout.others)
        with _placed(params) as leaving, _labels_named():
            loss, gradient, buffers = self._step(trained, others, seeds, *self._fields(batch))
            return Gradient(
                leaving(loss),
                dict(zip(self._layout.trained, map(leaving, gradient), strict=True)),
                dict(zip(self._layout.others, map(leaving, buffers), strict=True)),
            )

    def predict(self, params: Resident, batch: Batch) -> Prediction:
        """Forward in evaluation mode."""
        trained, others = self._tensors(params, self._layout.trained), self._tensors(params, self._layout.others)
        with _placed(params), _labels_named():
            loss, outputs = self._evaluation(trained, others, *self._fields(batch))
            return Prediction(float(loss), outputs.numpy())

    def native(self, params: Tree, device: str = CPU, key: Key | None = None) -> Any:
        """A model with these weights; `key`, if given, seeds the layers that draw.

        Raises:
            ConfigError: the model was given as one that Keras cannot copy.
        """
        self._layout.check(params)
        with tf.device(_device_named(device)):
            model = self._made(key)
            for name, weight in named_weights(model).items():
                weight.assign(params[name])
        return model

    def extract(self, native: Any) -> Tree:
        """The weights of a model that `native` made.

        Raises:
            TreeMismatch: they are not those that `init` gives.
        """
        found = values(native)
        self._layout.check(found)
        return found

    # What tasks ask of Keras besides: see hansa.training.tasks.framework.

    def tensors(self, batch: Batch, device: str = CPU) -> tuple[Any, ...]:
        """The inputs of a batch and its target, as tensors on a device."""
        with tf.device(_device_named(device)):
            inputs, target = self._fields(batch)
        return (inputs, target) if isinstance(self.inputs, str) else (*inputs, target)

    def mode(self, native: Any, *, training: bool) -> None:
        """A model has none: a task calls it with `training=...`."""

    def seeded(self, key: Key, device: str = CPU) -> AbstractContextManager[None]:  # noqa: ARG002 - a port's signature
        """Python's global generator, of which new layers draw, seeded by a key, and put back afterwards."""
        return _seeded(key)

    @cached_property
    def _layout(self) -> Layout:
        return Layout.of(self.model if isinstance(self.model, keras.Model) else self._made())

    @cached_property
    def _given(self) -> Tree:
        """The weights of the model that was given, when it was given."""
        return values(self._layout.model)

    @cached_property
    def _loss(self) -> Callable[[Any, Any], Any]:
        loss: Any = keras.losses.get(getattr(self._layout.model, "loss", None) if self.loss is None else self.loss)
        if loss is None:
            raise ConfigError(
                "a KerasModel needs a loss: none was given, and the model is not compiled with one",
                hint='KerasModel(model, keras.losses.SparseCategoricalCrossentropy(from_logits=True)), or a name like "mse"',
            )
        return loss  # type: ignore[no-any-return]  # Keras has no types

    def _made(self, own: Key | None = None) -> Any:
        """A new model: of the function, or a copy of the one that was given."""
        with _seeded(own or key(0)):
            made = _copied(self.model) if isinstance(self.model, keras.Model) else self.model()
        if not isinstance(made, keras.Model):
            raise ConfigError(
                f"the model function of a KerasModel returned {type(made).__name__}, not a keras.Model",
                hint="pass a model, or a function without arguments that makes it",
            )
        return made

    def _tensors(self, params: Resident, names: Sequence[str]) -> list[Any]:
        return [tf.convert_to_tensor(params[name]) for name in names]

    def _fields(self, batch: Batch) -> tuple[Any, Any]:
        """(inputs as the model takes them, target)."""
        one = isinstance(self.inputs, str)
        names = (self.inputs,) if isinstance(self.inputs, str) else self.inputs
        fields = [tf.constant(aligned_copy(np.asarray(field_of(batch, name, "KerasModel")))) for name in names]
        target = tf.constant(aligned_copy(np.asarray(field_of(batch, self.target, "KerasModel"))))
        return fields[0] if one else fields, target

    @cached_property
    def _step(self) -> Callable[..., Any]:
        return tf.function(self._differentiated, autograph=False)  # type: ignore[no-any-return]  # TensorFlow has no types

    @cached_property
    def _evaluation(self) -> Callable[..., Any]:
        return tf.function(self._evaluated, autograph=False)  # type: ignore[no-any-return]  # TensorFlow has no types

    def _differentiated(self, trained: Any, others: Any, seeds: Any, inputs: Any, target: Any) -> Any:
        """(loss, gradients, new values of what is not trained)."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            loss, _, after = self._applied(trained, others, seeds, inputs, target, training=True)
        gradients = tape.gradient(loss, trained, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        # An embedding's gradient comes as its rows that were used.
        return _wide(loss), [tf.convert_to_tensor(gradient) for gradient in gradients], after

    def _evaluated(self, trained: Any, others: Any, inputs: Any, target: Any) -> Any:
        loss, outputs, _ = self._applied(trained, others, [], inputs, target, training=False)
        return _wide(loss), _wide(outputs)

    def _applied(
        self, trained: Any, others: Any, seeds: Any, inputs: Any, target: Any, *, training: bool
    ) -> tuple[Any, Any, Any]:
        """(loss, outputs, what is not trained) with these values in the place of the model's variables.

        Not `stateless_call`: that goes past `__call__`, which tells inner layers whether it is training.
        """
        layout = self._layout
        weights = [layout.weights[name] for name in (*layout.trained, *layout.others)]
        values = [*zip(weights, [*trained, *others], strict=True), *zip(layout.seeds, seeds, strict=False)]
        mapping = [(variable, tf.cast(value, variable.dtype)) for variable, value in values]
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            outputs = layout.model(inputs, training=training)
            loss = tf.reduce_mean(self._loss(target, outputs))
            loss += sum(tf.cast(added, loss.dtype) for added in layout.model.losses)
        return loss, outputs, [scope.get_current_value(layout.weights[name]) for name in layout.others]


@contextmanager
def _seeded(key: Key) -> Iterator[None]:
    """Python's global generator seeded by a key, and put back afterwards: Keras draws the seeds of new layers from it."""
    before = random.getstate()
    random.seed(key.integer(64))
    try:
        yield
    finally:
        random.setstate(before)


def _copied(model: Any) -> Any:
    try:
        return keras.models.clone_model(model)
    except (ValueError, TypeError, NotImplementedError) as problem:
        raise ConfigError(
            f"Keras cannot copy this model of class {type(model).__name__}",
            hint="give KerasModel a function that makes it, or the class a get_config method",
        ) from problem


def _device_named(name: str) -> str:
    """What TensorFlow calls the device "cpu", "gpu:1" or "cuda"."""
    kind, _, number = name.partition(":")
    wanted = f"{'GPU' if kind == 'cuda' else kind.upper()}:{number or 0}"
    known = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
    if wanted not in known:
        raise ConfigError(f"TensorFlow has no device {name!r} here", hint=f"it has: {', '.join(known)}")
    return wanted


@contextmanager
def _placed(params: Resident) -> Iterator[Callable[[Any], Any]]:
    """Compute where the parameters are; gives a function that makes a tensor what they are, NumPy's or TensorFlow's own."""
    tensor = next((leaf for leaf in params.values() if isinstance(leaf, tf.Tensor)), None)
    with tf.device("CPU:0" if tensor is None else tensor.device):
        yield (lambda leaf: leaf.numpy()) if tensor is None else (lambda leaf: leaf)


@contextmanager
def _labels_named() -> Iterator[None]:
    """Tell of a label without an output in the user's words."""
    try:
        yield
    except tf.errors.InvalidArgumentError as problem:
        if found := _OUTSIDE.search(problem.message):
            raise label_outside(int(found[1]), int(found[2])) from problem
        raise


def _wide(tensor: Any) -> Any:
    """Floating values in float32 or wider."""
    return tf.cast(tensor, tf.float32) if tensor.dtype in (tf.bfloat16, tf.float16) else tensor
