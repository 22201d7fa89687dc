"""The floors in plain JAX: `python -m benchmarks.simulation.floors_jax WORKLOAD KIND FOLDER [WORKERS]` is a contestant.

Two processes of one thread each, as `floors_torch`. Kinds: "step", a jitted step with donated buffers in a Python loop; "vmap",
four clients of about the same size at once, all of their steps in one compiled loop.

Tried on the MLP, processor ms for 60 clients, 135 as it is with 4 at once: 1, 2, 8 and 16 at once 178, 144, 146 and 172; "step"
202; batches gathered by NumPy instead of in the loop 144.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulation import workloads
from benchmarks.simulation.contestant import Rounds, serve
from benchmarks.simulation.order import order
from benchmarks.simulation.pair import Array, Half, Pair
from benchmarks.simulation.workloads import WORKLOADS, Workload

CHUNK = 4
"""Clients at once."""
REST = 4
"""The last batch of a client is filled up to a multiple of this, so that there are few shapes to compile."""


class StepHalf:
    """One process, a jitted step."""

    def __init__(self, workload: Workload, data: tuple[Array, Array], form: dict[str, Array]) -> None:
        # Not before the processes have parted: XLA's threads do not survive a fork.
        import jax
        from jax import numpy as jnp

        from benchmarks.simulation.given.networks_jax import APPLY, losses

        self._workload, self._form, self._jax = workload, form, jax
        self._x, self._y = jnp.asarray(data[0]), jnp.asarray(data[1].astype(np.int32))
        self._rows = [workload.rows(client).astype(np.int32) for client in range(workload.clients)]
        forward, rate = APPLY[workload.network], workload.rate

        def loss(params: Any, x: Any, y: Any, count: Any) -> Any:
            real = jnp.arange(len(y)) < count
            return jnp.sum(losses(forward(params, x), y) * real) / count

        def step(params: Any, slots: Any, total: Any, x: Any, y: Any, rows: Any, count: Any, number: Any) -> Any:
            value, gradient = jax.value_and_grad(loss)(params, x[rows], y[rows], count)
            params, slots = change(params, gradient, slots, number)
            return params, slots, total + value * count

        def change(params: Any, gradient: Any, slots: Any, number: Any) -> Any:
            if not workload.adam:
                return jax.tree.map(lambda p, g: p - rate * g, params, gradient), slots
            first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, slots[0], gradient)
            second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, slots[1], gradient)
            m_scale, v_scale = 1 / (1 - 0.9**number), 1 / (1 - 0.999**number)
            moved = jax.tree.map(
                lambda p, m, v: p - rate * (m * m_scale) / (jnp.sqrt(v * v_scale) + 1e-8), params, first, second
            )
            return moved, (first, second)

        def added(total: Any, params: Any, weight: Any) -> Any:
            return jax.tree.map(lambda t, p: t + weight * p, total, params)

        self._step = jax.jit(step, donate_argnums=(0, 1, 2))
        self._added = jax.jit(added, donate_argnums=0)
        self._copied = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))
        self._zeros = jax.jit(lambda tree: jax.tree.map(jnp.zeros_like, tree))

    def load(self, model: Array) -> None:
        self._start = self._jax.tree.map(self._jax.numpy.array, parted(model, self._form))
        self._sum = self._zeros(self._start)

    def train(self, clients: list[int], round_: int) -> float:
        rows = self._rows[clients[0]]
        shuffled = rows[order(clients[0], round_, len(rows))]
        params, total = self._copied(self._start), self._jax.numpy.zeros(())
        slots = (self._zeros(params), self._zeros(params)) if self._workload.adam else ()
        for number, (batch, count) in enumerate(filled(shuffled, self._workload.batch), 1):
            numbers = np.float32(count), np.float32(number)
            params, slots, total = self._step(params, slots, total, self._x, self._y, batch, *numbers)
        self._sum = self._added(self._sum, params, np.float32(len(rows)))
        return float(total)

    def give(self, total: Array) -> None:
        put_together(self._sum, total)


class VmapHalf:
    """One process, several clients at once."""

    def __init__(self, workload: Workload, data: tuple[Array, Array], form: dict[str, Array]) -> None:
        import jax
        from jax import numpy as jnp

        from benchmarks.simulation.given.networks_jax import APPLY, losses

        self._workload, self._form, self._jax = workload, form, jax
        self._x, self._y = jnp.asarray(data[0]), jnp.asarray(data[1].astype(np.int32))
        self._rows = [workload.rows(client).astype(np.int32) for client in range(workload.clients)]
        forward, rate, batch = APPLY[workload.network], workload.rate, workload.batch

        def loss(params: Any, x: Any, y: Any, count: Any) -> Any:
            each = losses(forward(params, x), y)
            return jnp.sum(jnp.where(jnp.arange(batch) < count, each, 0)) / jnp.maximum(count, 1)

        def chunk(total: Any, start: Any, x: Any, y: Any, rows: Any, weights: Any, steps: Any) -> Any:
            params = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (CHUNK, *leaf.shape)), start)
            left = weights

            def step(number: Any, carried: Any) -> Any:
                params, left, summed = carried
                chosen = jax.lax.dynamic_slice_in_dim(rows, number * batch, batch, axis=1)
                counts = jnp.clip(left, 0, batch)
                values, gradient = jax.vmap(jax.value_and_grad(loss))(params, x[chosen], y[chosen], counts)
                params = jax.tree.map(lambda p, g: p - rate * g, params, gradient)
                return params, left - batch, summed + jnp.sum(values * counts)

            params, _, summed = jax.lax.fori_loop(0, steps, step, (params, left, 0.0))
            total = jax.tree.map(lambda t, p: t + jnp.tensordot(weights, p, 1), total, params)
            return total, summed

        self._chunk = jax.jit(chunk, donate_argnums=0)
        self._zeros = jax.jit(lambda tree: jax.tree.map(jnp.zeros_like, tree))
        self._longest = -(-workload.most // batch) * batch

    def load(self, model: Array) -> None:
        self._start = self._jax.tree.map(self._jax.numpy.array, parted(model, self._form))
        self._sum = self._zeros(self._start)

    def train(self, clients: list[int], round_: int) -> float:
        rows, weights = np.zeros((CHUNK, self._longest), np.int32), np.zeros(CHUNK, np.float32)
        for place, client in enumerate(clients):
            held = self._rows[client]
            rows[place, : len(held)] = held[order(client, round_, len(held))]
            weights[place] = len(held)
        steps = int(-(-weights.max() // self._workload.batch))
        self._sum, loss = self._chunk(self._sum, self._start, self._x, self._y, rows, weights, steps)
        return float(loss)

    def give(self, total: Array) -> None:
        put_together(self._sum, total)


def filled(rows: Array, batch: int) -> Iterator[tuple[Array, int]]:
    """Batches of rows and how many of each are real."""
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        missing = -len(part) % REST if len(part) < batch else 0
        yield np.concatenate([part, part[:1].repeat(missing)]) if missing else part, len(part)


def parted(flat: Array, form: dict[str, Array]) -> dict[str, Any]:
    """A flat array as leaves of the form's shapes, by layer."""
    ends, found = np.cumsum([leaf.size for leaf in form.values()])[:-1], dict[str, Any]()
    for (name, leaf), part in zip(form.items(), np.split(flat, ends), strict=True):
        layer, _, which = name.partition("/")
        found.setdefault(layer, {})[which] = part.reshape(leaf.shape)
    return found


def put_together(params: dict[str, dict[str, Any]], flat: Array) -> None:
    """The leaves one after the other in a flat array; as a compiled function returns them they are sorted by name."""
    np.concatenate([np.asarray(leaf).ravel() for layer in params.values() for leaf in layer.values()], out=flat)


def begin(workload: Workload, kind: str, folder: Path, workers: int = 2) -> Callable[[], Rounds]:
    """What makes the first round's pair."""
    data, given = workloads.pool(folder), dict(np.load(folder / "initial.npz"))

    def pair() -> Rounds:
        from benchmarks.simulation.layouts import converted

        form = dict(sorted(converted(given).items()))  # as a compiled function returns them
        made: Callable[..., Half] = StepHalf if kind == "step" else VmapHalf
        initial = np.concatenate([leaf.ravel() for leaf in form.values()])
        return Pair(
            lambda: made(workload, data, form),
            initial,
            workload.sizes,
            workers=workers,
            chunk=1 if kind == "step" else CHUNK,
        )

    return pair


if __name__ == "__main__":
    serve(begin(WORKLOADS[sys.argv[1]], sys.argv[2], Path(sys.argv[3]), *map(int, sys.argv[4:])))
