"""Trials: engines computing what the definition computes, on the first clients of a run, against the clock.

An engine that does not give what the definition gives, to the bit where it says that it is exact and else within rounding, is
refused, and so is one that would have to be exact. This file must not know of any framework.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from hansa.core import tree
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.experiment.reference import Mode
from hansa.simulation.engines.engine import CannotFuse, Engine, EngineKind
from hansa.training import LocalTraining

CLIENTS, MOST, STEPS = 4, 16, 10
"""As many clients, and as many batches of each, are tried on; the second number by engines that take many at once."""

WHILE = 0.5
"""Seconds after which fewer clients, and one look at the clock, are enough."""

BUSY = 0.05
"""Seconds of a client's batches from which it keeps a device busy by itself: several at once would only take longer to try."""

LOOKS = 4
"""So many looks are enough for anything."""

ROUNDING, HALF = 0.02, 0.1
"""By so much of its norm a leaf's change may differ from the definition's; with 16-bit arithmetic the whole change after one
batch, because what differs by that arithmetic's rounding grows from batch to batch by chance."""

BUDGET = 10.0
"""Seconds after which no further engine is tried."""

EVEN = 1.1
"""An engine may take so many times as long as the definition: it compiles less where batches differ in size."""


@dataclass(frozen=True)
class Trial:
    """What came of a trial: the quickest engine that is right, or why there is none that beats the definition."""

    engine: Engine | None
    why: str = ""


def shortened(context: ClientContext, batch_size: int, batches: int = STEPS) -> ClientContext:
    """The same visit to a client with at most the examples of so many batches."""
    train = context.data["train"]
    return replace(context, data={**context.data, "train": train.take(min(len(train), batches * batch_size))})


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
    _, once = _timed(lambda: [training(broadcast, contexts[0])], device, looks=2)  # the first may compile
    few = contexts[: max(1, min(CLIENTS, int(WHILE / max(once, 1e-9))))]
    truth, seconds = _timed(lambda: [training(broadcast, context) for context in few], device, looks=2)
    best_seconds = EVEN * seconds / len(few)
    best: Engine | None = None
    reasons: list[str] = []
    for name, kind in kinds.items():
        if time.perf_counter() - began > BUDGET and not pinned:
            break
        try:
            engine = kind(training, device)
            _check_mode(engine, mode)
            if engine.chunk > 1 and once > BUSY and not pinned:
                raise CannotFuse("a client alone keeps the device busy")
            some = contexts[: max(len(few), engine.chunk)]
            first = _compute(engine, broadcast, some)[: len(few)]  # compiles
            if engine.name.endswith("bf16"):
                _check_half(engine, training, broadcast, few)
            else:
                _check(engine, first, truth)
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


def _timed(compute: Callable[[], list[Update]], device: str, looks: int = 1) -> tuple[list[Update], float]:
    """(what it gives, the seconds of the quickest of so many times, or of some more where that is over soon).

    On a processor that is shared with others, the time that it gave to this process says more than the clock on the wall; with
    several threads, or another device, the clock does.
    """
    seconds, start = list[float](), time.perf_counter()
    while len(seconds) < looks or (len(seconds) < LOOKS and time.perf_counter() - start < WHILE):
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
        for name, leaf in true.tree.items():
            _check_close(f"the change of leaf {name!r}", {name: update.tree[name]}, {name: leaf}, ROUNDING)


def _check_half(engine: Engine, training: LocalTraining, broadcast: Tree, contexts: Sequence[ClientContext]) -> None:
    """Refuse 16-bit arithmetic that is too coarse for what is computed, such as quotients of small numbers."""
    short = [shortened(context, training.batch_size, 1) for context in contexts]
    for update, context in zip(_compute(engine, broadcast, short), short, strict=True):
        true = training(broadcast, context)
        tree.check_alike(update.tree, true.tree)
        _check_close("the change by one batch", update.tree, true.tree, HALF)


def _check_close(what: str, found: Tree, true: Tree, allowed: float) -> None:
    """Refuse what is too far from the truth; of leaves that are no floats nothing is said."""
    floating = {name: leaf for name, leaf in true.items() if tree.is_floating(leaf)}
    error = tree.norm(tree.subtract({name: found[name] for name in floating}, floating))
    if not error <= allowed * (size := tree.norm(floating)) + 1e-7:
        raise CannotFuse(f"{what} differs by {error / (size or 1):.1%} of its norm")


def _unlike(found: Tree, expected: Tree) -> str | None:
    """The name of a leaf with other bits, or None."""
    if found.keys() != expected.keys():
        return min(found.keys() ^ expected.keys())
    for name, leaf in expected.items():
        other = found[name]
        if leaf.dtype != other.dtype or leaf.shape != other.shape or leaf.tobytes() != other.tobytes():
            return name
    return None
