"""The conformance kit of models: parameters survive the framework, functions are pure, gradients are the loss's own.

This file must not know any framework: arrays are compared after `dump`.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from ml_dtypes import finfo

from hansa.core.keys import key
from hansa.core.tree import ALIGNMENT, Array, Tree
from hansa.models.model import Batch, Model
from hansa.testing.laws import require, snapshot, unlike_bits, unlike_form

STEPS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1)
"""Lengths of the finite differences that are tried, in cube roots of the dtype's precision: the longer ones drown rounding,
the shorter ones curvature and kinks."""

DIRECTIONS = 3
"""Random directions a leaf."""


def check_model(
    model: Model,
    batch: Batch,
    *,
    tolerance: float = 0.02,
    random_init: bool = False,
    deterministic: bool = True,
    gradient: bool = True,
    device: str = "cpu",
) -> None:
    """Check that a model keeps the promises of the port.

    Args:
        model: the model.
        batch: two or more examples that it can train on.
        tolerance: how far, relatively, a gradient may be from finite differences of the loss, and the prediction of a batch
            from those of its parts.
        random_init: `init` should draw other parameters for another key.
        deterministic: training mode computes what evaluation mode does, so that finite differences of `predict` are the
            gradient's; say False for dropout, BatchNorm, and dtypes too narrow for differences.
        gradient: it has one; say False for trees, which are grown, and whose leaves are all buffers.
        device: where to compute.

    Raises:
        AssertionError: a law is broken; the message says which.
    """
    params = model.init(key(0, "init"))
    _check_init(model, params, random_init)
    _check_travel(model, params, device)
    if gradient:
        _check_gradient(model, params, batch, device)
    else:
        require(model.buffers == params.keys(), "what has no gradient has no leaf that an optimiser would change")
    _check_predict(model, params, batch, tolerance, device)
    if deterministic and gradient:
        _check_differences(model, params, batch, tolerance, device)


def _check_init(model: Model, params: Tree, random_init: bool) -> None:
    with _noticed("init"):
        again = model.init(key(0, "init"))
    found = unlike_bits(again, params)
    require(not found, "init gives equal bits for equal keys", found)
    if random_init:
        other = unlike_bits(model.init(key(1, "init")), params)
        require(bool(other), "init draws other parameters for another key")
        found = unlike_form(model.init(key(1, "init")), params)
        require(not found, "init gives the same leaves for every key", found)
    unknown = sorted(model.buffers - params.keys())
    require(not unknown, "buffers are leaves of the model", f"{unknown} are not")


def _check_travel(model: Model, params: Tree, device: str) -> None:
    """Load and dump."""
    source = snapshot(params)
    resident = model.load(source, device)
    found = unlike_bits(source, params)
    require(not found, "load does not change what it is given", found)
    found = unlike_bits(model.dump(resident), params)
    require(not found, "dump(load(params)) has the same bits", found)
    for leaf in source.values():
        leaf[...] = np.zeros_like(leaf) if leaf.any() else np.ones_like(leaf)
    found = unlike_bits(model.dump(resident), params)
    require(not found, "load copies: changing what was loaded changes nothing in the framework", found)
    dumped = model.dump(resident)
    for name, leaf in dumped.items():
        require(
            leaf.flags.writeable, "dump gives arrays that are the receiver's to change", f"leaf {name!r} is read-only"
        )
        leaf[...] = np.zeros_like(leaf) if leaf.any() else np.ones_like(leaf)
    found = unlike_bits(model.dump(resident), params)
    require(not found, "dump copies: changing what was dumped changes nothing in the framework", found)
    for name, leaf in resident.items():
        address = _address(leaf)
        require(
            address is None or address % ALIGNMENT == 0,
            f"load aligns leaves to {ALIGNMENT} bytes",
            f"leaf {name!r} begins at {address}",
        )


def _address(leaf: Any) -> int | None:
    """Where a leaf begins in this machine's memory, as far as that can be told."""
    if not getattr(leaf, "nbytes", 0):
        return None
    if isinstance(leaf, np.ndarray):
        return int(leaf.ctypes.data)
    if hasattr(leaf, "data_ptr") and str(getattr(leaf, "device", "")) == "cpu":
        return int(leaf.data_ptr())
    if hasattr(leaf, "unsafe_buffer_pointer") and leaf.device.platform == "cpu":
        return int(leaf.unsafe_buffer_pointer())
    return None


def _check_gradient(model: Model, params: Tree, batch: Batch, device: str) -> None:
    resident, seen = model.load(params, device), {name: np.array(values) for name, values in batch.items()}
    with _noticed("gradient"):
        loss, gradient, buffers = model.gradient(resident, batch, key(0, "step"))
    first = model.dump(gradient)
    found = unlike_bits(model.dump(resident), params)
    require(not found, "gradient does not change the parameters and buffers that it is given", found)
    found = unlike_bits(dict(batch), seen)
    require(not found, "gradient does not change the batch", found)
    found = unlike_form(first, {name: leaf for name, leaf in params.items() if name not in model.buffers})
    require(not found, "gradient covers exactly the leaves that are trained, in their shapes and dtypes", found)
    changed = model.dump(buffers)
    stray = sorted(changed.keys() - model.buffers)
    require(not stray, "only buffers are given new values by gradient", f"{stray} are no buffers")
    found = unlike_form(changed, {name: params[name] for name in changed})
    require(not found, "buffers keep their shapes and dtypes", found)
    width = getattr(getattr(loss, "dtype", None), "itemsize", 8)
    require(width >= 4, "the loss is a number in float32 or wider", f"it has {width} bytes")
    with _disturbed():
        loss_again, gradient_again, buffers_again = model.gradient(resident, batch, key(0, "step"))
    law = "gradient is repeatable bit for bit for the same key, whatever the global generators' state"
    require(float(loss) == float(loss_again), law, f"loss {float(loss_again)!r} instead of {float(loss)!r}")
    for again, before in ((gradient_again, first), (buffers_again, changed)):
        found = unlike_bits(model.dump(again), before)
        require(not found, law, found)
    found = unlike_bits(model.dump(gradient), first)
    require(not found, "a gradient that was given is not changed by the next", found)


def _check_predict(model: Model, params: Tree, batch: Batch, tolerance: float, device: str) -> None:
    resident, size = model.load(params, device), len(next(iter(batch.values())))
    with _noticed("predict"):
        whole = model.predict(resident, batch)
    require(len(whole.outputs) == size, "predict gives one output an example", f"{len(whole.outputs)} for {size}")
    for cut in sorted({1, size // 2}):
        pieces = [{name: values[part] for name, values in batch.items()} for part in (slice(cut), slice(cut, None))]
        parts = [model.predict(resident, piece) for piece in pieces]
        loss = sum(part.loss * len(part.outputs) for part in parts) / size
        law = "predict does not depend on how a batch is split"
        close = abs(loss - whole.loss) <= tolerance * max(1e-3, abs(whole.loss))
        require(close, law, f"loss {loss} in parts of {cut} and {size - cut}, {whole.loss} at once")
        outputs = np.concatenate([part.outputs for part in parts])
        close = np.allclose(outputs, whole.outputs, rtol=tolerance, atol=tolerance * abs(whole.outputs).max())
        require(close, law, f"outputs differ in parts of {cut} and {size - cut}")
    found = unlike_bits(model.dump(resident), params)
    require(not found, "predict does not change the parameters and buffers that it is given", found)


def _check_differences(model: Model, params: Tree, batch: Batch, tolerance: float, device: str) -> None:
    """Central differences of the loss along each trained leaf's own gradient, and along random directions."""
    resident = model.load(params, device)
    claimed = model.dump(model.gradient(resident, batch, key(0, "step")).gradient)
    generator = key(0, "directions").generator()
    for name, leaf in claimed.items():
        if not leaf.size:
            continue
        gradient = leaf.astype(np.float64)
        size = float(np.linalg.norm(gradient))
        directions: list[Array] = [np.asarray(generator.standard_normal(leaf.shape)) for _ in range(DIRECTIONS)]
        if size:
            directions.append(gradient)
        for direction in directions:
            along = direction / np.linalg.norm(direction)
            slope = float(np.vdot(gradient, along))
            scale = abs(slope) + size / np.sqrt(leaf.size)
            misses = list(_misses(model, params, batch, name, along, slope, device))
            close = any(miss <= tolerance * scale + floor for miss, floor in misses)
            nearest = min(miss for miss, _ in misses)
            require(
                close,
                "the gradient agrees with finite differences of the loss",
                f"leaf {name!r}: the slope {slope:.6g} misses by {nearest:.3g}",
            )


def _misses(
    model: Model, params: Tree, batch: Batch, name: str, along: Array, slope: float, device: str
) -> Iterator[tuple[float, float]]:
    """For each length of step: how far the difference is from the slope, and what rounding may have put there."""
    precision = float(finfo(params[name].dtype).eps)  # type: ignore[no-untyped-call]  # ml_dtypes leaves it untyped
    for factor in STEPS:
        step, losses = factor * precision ** (1 / 3), []
        for sign in (1, -1):
            moved = params[name].astype(np.float64) + sign * step * along
            losses.append(
                model.predict(model.load({**params, name: moved.astype(params[name].dtype)}, device), batch).loss
            )
        yield abs((losses[0] - losses[1]) / (2 * step) - slope), precision * max(1.0, abs(losses[0])) / step


@contextmanager
def _noticed(function: str) -> Iterator[None]:
    """Raise if a global generator is moved."""
    before = _generators()
    yield
    after = _generators()
    moved = [name for name in before if before[name] != after[name]]
    require(not moved, f"{function} changes no global generator", f"it moved {', '.join(moved)}'s")


@contextmanager
def _disturbed() -> Iterator[None]:
    """Global generators in another state, put back afterwards."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - it is this one that is meant
    torch: Any = sys.modules.get("torch")
    torch_state = torch.random.get_rng_state() if torch else None
    np.random.seed(12345)  # noqa: NPY002 - it is this one that is meant
    random.seed(12345)
    if torch:
        torch.manual_seed(12345)
    try:
        yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002 - it is this one that is meant
        random.setstate(python_state)
        if torch:
            torch.random.set_rng_state(torch_state)


def _generators() -> dict[str, bytes]:
    """The states of all global generators that there are."""
    legacy: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - it is this one that is meant
    states = {"NumPy": repr(legacy["state"]["key"].tobytes() + b"%d" % legacy["state"]["pos"]).encode()}
    states["Python"] = repr(random.getstate()).encode()
    torch: Any = sys.modules.get("torch")
    if torch:
        states["PyTorch"] = torch.random.get_rng_state().numpy().tobytes()
    return states
