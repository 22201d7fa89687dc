"""Trials: engines computing what the definition computes, on the first clients of a run, against the clock.

An engine that does not give what the definition gives, to the bit where it says that it is exact and else within rounding, is
refused, and so is one that would have to be exact. This file must not know of any framework.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hansa.core import tree
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.experiment.reference import Mode
from hansa.simulation.engines.engine import CannotFuse, Engine, EngineKind
from hansa.training import LocalTraining

CLIENTS, MOST, STEPS = 4, 16, 10
"""As many clients, and as many batches of each, are tried on; the second number by engines that take many at once."""

ROUNDING, HALF = 0.02, 0.15
"""By so much of its norm a leaf's change may differ from the definition's; the second with 16-bit arithmetic."""

BUDGET = 20.0
"""Seconds after which no further engine is tried."""


@dataclass(frozen=True)
class Trial:
    """What came of a trial: the quickest engine that is right, or why there is none that beats the definition."""

    engine: Engine | None
    why: str = ""


def shortened(context: ClientContext, batch_size: int) -> ClientContext:
    """The same visit to a client with at most the examples of so many batches."""
    train = context.data["train"]
    return replace(context, data={**context.data, "train": train.take(min(len(train), STEPS * batch_size))})


def tried(
    training: LocalTraining,
    kinds: Mapping[str, EngineKind],
    mode: Mode,
    device: str,
    broadcast: Tree,
    contexts: Sequence[ClientContext],
    *,
    pinned: bool = False,
) -> Trial:
    """Try engines.

    Args:
        training: what they compute.
        kinds: which, by name.
        mode: "reference" takes exact ones only.
        device: where.
        broadcast: what clients are given.
        contexts: a few clients.
        pinned: take the engine if it is right, however slow it is.
    """
    began = time.perf_counter()
    few = contexts[:CLIENTS]
    truth, seconds = _timed(lambda: [training(broadcast, context) for context in few], device)
    best_seconds = seconds / len(few)
    best: Engine | None = None
    reasons: list[str] = []
    for name, kind in kinds.items():
        if time.perf_counter() - began > BUDGET and not pinned:
            break
        try:
            engine = kind(training, device)
            _check_mode(engine, mode)
            some = contexts[: max(CLIENTS, engine.chunk)]
            _check(engine, _compute(engine, broadcast, some)[:CLIENTS], truth)  # compiles
            _, seconds = _timed(partial(_compute, engine, broadcast, some), device)
        except CannotFuse as refused:
            reasons.append(f"{name}: {refused.what}")
            continue
        except Exception as problem:  # noqa: BLE001 - an engine that fails on good data is no engine for them
            reasons.append(f"{name}: {type(problem).__name__}: {problem}")
            continue
        if pinned or seconds / len(some) < best_seconds:
            best, best_seconds = engine, seconds / len(some)
    return Trial(best, "; ".join(reasons))


def _timed(compute: Callable[[], list[Update]], device: str) -> tuple[list[Update], float]:
    """(what it gives, the seconds of the quicker of two times).

    On a processor that is shared with others, the time that it gave to this process says more than the clock on the wall; with
    several threads, or another device, the clock does.
    """
    seconds = []
    for _ in range(2):
        began, worked = time.perf_counter(), time.process_time()
        updates = compute()
        passed, spent = time.perf_counter() - began, time.process_time() - worked
        seconds.append(min(passed, spent) if device == "cpu" else passed)
    return updates, min(seconds)


def _compute(engine: Engine, broadcast: Tree, contexts: Sequence[ClientContext]) -> list[Update]:
    train = engine.trainer(broadcast)
    starts = range(0, len(contexts), engine.chunk)
    return [update for start in starts for update in train(contexts[start : start + engine.chunk])]


def _check_mode(engine: Engine, mode: Mode) -> None:
    if mode == "reference" and not engine.exact:
        raise CannotFuse("it is not exact, and reference mode is")


def _check(engine: Engine, updates: Sequence[Update], truth: Sequence[Update]) -> None:
    """Refuse an engine whose updates are not the definition's."""
    for update, true in zip(updates, truth, strict=True):
        if engine.exact:
            if different := _unlike(update.tree, true.tree):
                raise CannotFuse(f"it says that it is exact, and leaf {different!r} has other bits")
            if update.metrics != true.metrics:
                raise CannotFuse("it says that it is exact, and its loss has other bits")
            continue
        tree.check_alike(update.tree, true.tree)
        allowed = HALF if engine.name.endswith("bf16") else ROUNDING
        for name, leaf in true.tree.items():
            if not tree.is_floating(leaf):
                continue
            wide = leaf.astype(np.float64)
            error, size = np.linalg.norm(update.tree[name].astype(np.float64) - wide), np.linalg.norm(wide)
            if not error <= allowed * size + 1e-7:
                raise CannotFuse(f"the change of leaf {name!r} differs by {error / (size or 1):.1%} of its norm")


def _unlike(found: Tree, expected: Tree) -> str | None:
    """The name of a leaf with other bits, or None."""
    if found.keys() != expected.keys():
        return min(found.keys() ^ expected.keys())
    for name, leaf in expected.items():
        other = found[name]
        if leaf.dtype != other.dtype or leaf.shape != other.shape or leaf.tobytes() != other.tobytes():
            return name
    return None
