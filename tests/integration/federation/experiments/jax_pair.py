"""FedAvg of a plain init/apply pair of JAX, with dropout, by Optax."""

from typing import Any

import jax
import optax

import hansa


def made(rng: Any) -> Any:
    """Two layers."""
    below, above = jax.random.split(rng)
    return {"below": 0.3 * jax.random.normal(below, (5, 16)), "above": 0.3 * jax.random.normal(above, (16, 3))}


def applied(params: Any, x: Any, rng: Any, train: bool) -> Any:
    """Scores of three classes."""
    hidden = jax.nn.relu(x @ params["below"])
    if train:
        hidden = hidden * jax.random.bernoulli(rng, 0.8, hidden.shape)
    return hidden @ params["above"]


model = hansa.JaxModel(made, applied, optax.softmax_cross_entropy_with_integer_labels)
local = hansa.LocalTraining(model, hansa.Optax(optax.adam(0.01)), batch_size=8, steps=5)
algorithm = hansa.Evaluated(hansa.FedAvg(local, rounds=2), hansa.Evaluation(model))
experiment = hansa.Experiment(model, algorithm, seed=1, name="jax", requirements=("jax", "optax"))
