"""What a client is lent stays as it was: a work that writes to it fails by name, and nobody else is touched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hansa.core.ask import Ask, Closing, Input, Status
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.rules import Collect
from hansa.simulation import SequentialExecutor
from hansa.testing import blobs

Spoil = Callable[[Tree, ClientContext], Tree]


@pytest.mark.parametrize(
    "lent",
    [lambda given, _: given, lambda _, context: context.inputs, lambda _, context: context.state],
    ids=["the broadcast", "an input", "the private state"],
)
def test_a_work_that_writes_to_what_it_was_lent_fails_alone(lent: Spoil) -> None:
    def work(given: Tree, context: ClientContext) -> Update:
        if context.id == "1" and context.round == 2:
            lent(given, context)["w"] += 1
        return Update({"w": given["w"] * 2}, state={"w": np.ones(3)})

    executor, broadcast, addressed = (
        SequentialExecutor({"train": work}, blobs(3), 0),
        {"w": np.arange(3.0)},
        {"w": np.zeros(3)},
    )
    inputs = {client: Input(addressed) for client in "012"}
    for round_ in (1, 2, 3):
        ask = Ask("train", broadcast, ("0", "1", "2"), Collect(), round_, 0, closing=Closing.quorum(1), inputs=inputs)
        reply = executor.execute(ask)
        failed = [client for client, outcome in reply.outcomes.items() if outcome.status is Status.FAILED]
        assert failed == (["1"] if round_ == 2 else [])
        assert all("read-only" in reply.outcomes[client].why for client in failed)
        assert reply.aggregate["2/w"].tolist() == [0.0, 2.0, 4.0]
    assert broadcast["w"].tolist() == [0.0, 1.0, 2.0]
    assert broadcast["w"].flags.writeable
