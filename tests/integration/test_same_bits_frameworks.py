"""JAX, Flax with Optax, and Keras: another process, other hashes and other libraries' threads change no bit.

XLA and TensorFlow read the number of their own threads when they first compute; within a reference run that is one.
"""

from __future__ import annotations

import os
import subprocess
import sys

from hansa.experiment.reference import ONE_THREAD

PROGRAM = """
import keras
import optax
from flax import nnx
from jax import numpy as jnp

import hansa
import jax
from hansa.models.flax import FlaxModel
from hansa.models.jax import JaxModel
from hansa.models.keras import KerasModel
from hansa.protocol import codec
from hansa.training.optax import Optax

digits = hansa.load_dataset("digits")
owners = hansa.FederatedData.partition(digits.train, hansa.Dirichlet(3, 0.5), test=digits.test)
each = optax.softmax_cross_entropy_with_integer_labels


def made(rng):
    below, above = jax.random.split(rng)
    return {"below": 0.1 * jax.random.normal(below, (64, 256)), "above": 0.1 * jax.random.normal(above, (256, 10))}


def applied(params, x, rng, train):
    hidden = jax.nn.relu(x.reshape(len(x), -1) @ params["below"])
    if train:
        hidden = hidden * jax.random.bernoulli(rng, 0.5, hidden.shape)
    return hidden @ params["above"]


class Network(nnx.Module):
    def __init__(self, *, rngs):
        self.conv, self.norm = nnx.Conv(1, 16, (3, 3), rngs=rngs), nnx.BatchNorm(16, rngs=rngs)
        self.dropout, self.head = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(16 * 64, 10, rngs=rngs)

    def __call__(self, x):
        x = self.dropout(nnx.relu(self.norm(self.conv(x.transpose(0, 2, 3, 1)))))
        return self.head(x.reshape(len(x), -1))


def keras_network():
    stack = [
        keras.Input((1, 8, 8)),
        keras.layers.Permute((2, 3, 1)),
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(10),
    ]
    return keras.Sequential(stack)


for model, optimizer in (
    (JaxModel(made, applied, each), hansa.SGD(0.05, momentum=0.9)),
    (FlaxModel(Network, each), Optax(optax.adam(0.01))),
    (KerasModel(keras_network, keras.losses.SparseCategoricalCrossentropy(from_logits=True)), hansa.Adam(0.01)),
):
    local = hansa.LocalTraining(model, optimizer, batch_size=64, epochs=1, drop_remainder=True)
    algorithm = hansa.Evaluated(hansa.FedAvg(local, rounds=2), hansa.Evaluation(model), every=2)
    history = hansa.Federation.simulate(owners).run(hansa.Experiment(model, algorithm, seed=3)).history
    assert history.environment["threads"] == "1", history.environment["threads"]
    print(type(model).__name__, codec.digest(history.model), history.final("loss"), history.final("accuracy") > 0.5)
"""


def begun(**variables: str) -> subprocess.Popen[str]:
    """The program in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_bits_do_not_depend_on_the_process_its_hash_seed_or_the_threads_around_it() -> None:
    processes = [
        begun(PYTHONHASHSEED="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1"),
        begun(PYTHONHASHSEED="2", OMP_NUM_THREADS="2", OPENBLAS_NUM_THREADS="2"),
    ]
    told = []
    for process in processes:
        out, err = process.communicate()
        assert process.returncode == 0, err[-2000:]
        told.append([line.split() for line in out.splitlines()])
    assert told[0] == told[1]
    assert [model for model, *_ in told[0]] == ["JaxModel", "FlaxModel", "KerasModel"]
    assert all(learned == "True" for *_, learned in told[0])


def test_a_framework_that_computed_before_the_run_with_several_threads_is_told_of_in_the_history() -> None:
    early = "import jax.numpy as jnp, jax; jax.jit(lambda x: (x @ x).sum())(jnp.ones((64, 64))).block_until_ready()"
    told = "from hansa.experiment.reference import environment; print(environment('reference')['threads'])"
    environment = {name: value for name, value in os.environ.items() if name not in ONE_THREAD}
    ran = subprocess.run(
        [sys.executable, "-c", f"{early}\n{told}"], env=environment, capture_output=True, text=True, check=True
    )
    several = (os.cpu_count() or 1) > 1 and sys.platform == "linux"
    expected = "1; several in JAX, which had computed before the run" if several else "1"
    assert ran.stdout.strip() == expected
