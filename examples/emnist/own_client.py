"""An algorithm of one's own: clients whose momentum's rate decays, and who send the average of their iterates.

What a client does is three pure functions of JAX, as FedJAX's users write them; FedAvg averages what they send.
"""

from typing import Any

import jax
import network  # type: ignore[import-not-found]  # a neighbour, found when this is run
import setting  # type: ignore[import-not-found]  # as above
from jax import numpy as jnp
from setting import BATCH, COHORT, EVERY, ROUNDS

import hansa

State = dict[str, Any]
RATE, MOMENTUM, DECAY = 0.05, 0.9, 0.9


def client_init(params: Any, rng: jax.Array) -> State:  # noqa: ARG001 - nothing here is random
    """What a client carries from batch to batch."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    return {"params": params, "momentum": zeros, "sum": zeros, "loss": 0.0, "steps": 0}


def client_step(state: State, batch: dict[str, jax.Array]) -> State:
    """One batch: m ← µm + g, x ← x − ηγᵗm, and x is added to the sum."""
    loss, gradient = jax.value_and_grad(mean_loss)(state["params"], batch)
    momentum = jax.tree.map(lambda m, g: MOMENTUM * m + g, state["momentum"], gradient)
    rate = RATE * DECAY ** state["steps"]
    params = jax.tree.map(lambda x, m: x - rate * m, state["params"], momentum)
    total = jax.tree.map(jnp.add, state["sum"], params)
    return {
        "params": params,
        "momentum": momentum,
        "sum": total,
        "loss": state["loss"] + loss,
        "steps": state["steps"] + 1,
    }


def client_final(params: Any, state: State) -> tuple[Any, None, dict[str, jax.Array]]:
    """The way from where it began to the average; its weight is the number of the client's digits."""
    change = jax.tree.map(lambda s, x: s / state["steps"] - x, state["sum"], params)
    return change, None, {"loss": state["loss"] / state["steps"]}


def mean_loss(params: Any, batch: dict[str, jax.Array]) -> jax.Array:
    losses: jax.Array = network.loss(network.apply(params, batch["x"]), batch["y"])
    return losses.mean()


model = hansa.JaxModel(network.make, network.apply, network.loss)
local = hansa.ClientSteps(client_init, client_step, client_final, batch_size=BATCH, epochs=1, model=model)
averaging = hansa.FedAvg(local, ROUNDS, hansa.UniformSampler(COHORT))
algorithm = hansa.Evaluated(averaging, hansa.Evaluation(model), every=EVERY)
experiment = hansa.Experiment(model, algorithm, name="emnist-own-client", requirements=("jax>=0.4",))
data = setting.data

if __name__ == "__main__":
    setting.simulate(experiment)
