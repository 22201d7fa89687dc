"""Works tell how far they are: each batch once, and of how many where that is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import hansa
from hansa.core.keys import key
from hansa.core.work import ClientContext
from hansa.models import NumpyMLP
from hansa.testing import blobs
from hansa.testing.laws import unlike_bits
from hansa.training import SGD, LocalTraining
from hansa.training.steps import ClientSteps
from hansa.training.tasks.batches import Batches

MODEL = NumpyMLP((5, 3))
DATA = blobs(1, examples=25)


def told(work: hansa.Work) -> list[tuple[int, int]]:
    """What a visit tells, whose update is the same whether anybody listens or not."""
    heard: list[tuple[int, int]] = []
    context = ClientContext("0", DATA.shard("0"), key=key(3))
    params = MODEL.init(key(0))
    loud = work(params, replace(context, progress=lambda done, of: heard.append((done, of))))
    assert not unlike_bits(loud.tree, work(params, context).tree)
    return heard


@pytest.mark.parametrize(
    ("details", "of"),
    [
        ({"epochs": 2}, 8),
        ({"epochs": 2, "drop_remainder": True}, 6),
        ({"epochs": 2, "steps": 5}, 5),
        ({"epochs": 1, "steps": 50}, 4),
        ({"steps": 11}, 11),
    ],
)
def test_local_training_counts_its_batches(details: dict[str, Any], of: int) -> None:
    training = LocalTraining(MODEL, SGD(0.1), batch_size=8, **details)
    assert told(training) == [(done, of) for done in range(1, of + 1)]


def test_client_steps_count_theirs() -> None:
    steps = ClientSteps(
        init=lambda shared, _key: shared,
        step=lambda state, _batch: state,
        final=lambda shared, _state: shared,
        batch_size=8,
        epochs=2,
    )
    assert told(steps) == [(done, 0) for done in range(1, 9)]


def test_a_task_s_batches_count_over_all_passes() -> None:
    heard: list[tuple[int, int]] = []
    batches = Batches(DATA["0"], 8, lambda batch: batch["y"], key(0), lambda done, of: heard.append((done, of)))
    assert sum(len(labels) for _ in range(2) for labels in batches) == 2 * len(DATA["0"])
    assert heard == [(done, 0) for done in range(1, 9)]
