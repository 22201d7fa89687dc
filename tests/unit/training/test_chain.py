"""A chain of works in one visit: metrics and private states apart, one change, and no number of a training altered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hansa.algorithms import FedAvg
from hansa.core import tree
from hansa.core.keys import key
from hansa.core.metrics import Mean, Metrics
from hansa.core.population import Population
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import ConfigError
from hansa.models import NumpyMLP
from hansa.rules import WeightedMean
from hansa.testing import blobs
from hansa.testing.laws import unlike_bits
from hansa.training import SGD, Adam, Evaluation, LocalTraining
from hansa.training.chain import Chained, chain

DATA = blobs(2, examples=20)
MODEL = NumpyMLP((5, 4, 3))
PARAMS = MODEL.init(key(0))
CONTEXT = ClientContext("0", {"train": DATA["0"], "test": DATA.test["0"]}, 1, key(7, "visit"))
LOCAL = LocalTraining(MODEL, SGD(0.1, momentum=0.9), batch_size=8, epochs=2)
EVALUATION = Evaluation(MODEL)


def test_evaluation_before_and_after_changes_no_bit_of_a_training() -> None:
    alone = LOCAL(PARAMS, CONTEXT)
    update = chain(validate=EVALUATION, train=LOCAL, validate_local=EVALUATION)(PARAMS, CONTEXT)
    assert not unlike_bits(update.tree, alone.tree)
    assert update.weight == alone.weight == 20
    assert update.state is None
    names = ["validate/loss", "validate/accuracy", "train/loss", "validate_local/loss", "validate_local/accuracy"]
    assert list(update.metrics) == names
    assert update.metrics["train/loss"] == alone.metrics["loss"]
    after = EVALUATION(tree.moved(PARAMS, alone.tree), CONTEXT).metrics
    assert update.metrics["validate_local/loss"] == after["loss"]
    assert update.metrics["validate/loss"] == EVALUATION(PARAMS, CONTEXT).metrics["loss"] != after["loss"]


def test_evaluations_alone_carry_no_arrays() -> None:
    update = chain(test=EVALUATION, train=Evaluation(MODEL, split="train"))(PARAMS, CONTEXT)
    assert update.tree == {}
    assert update.weight == 12
    assert chain(test=EVALUATION).buffers == frozenset()


def test_trainings_add_up_and_do_not_share_their_randomness() -> None:
    first = LOCAL(PARAMS, CONTEXT)
    moved = tree.moved(PARAMS, first.tree)
    second = LOCAL(moved, replace(CONTEXT, key=CONTEXT.key.child("chain", "second")))
    both = chain(first=LOCAL, second=LOCAL)(PARAMS, CONTEXT)
    assert not unlike_bits(both.tree, tree.difference(tree.moved(moved, second.tree), PARAMS))
    assert both.metrics["second/loss"] == second.metrics["loss"]


def counting(step: int) -> Any:
    def count(broadcast: Tree, context: ClientContext) -> Update:
        before = int(context.state["n"]) if context.state else 0
        return Update({}, 1.0, Metrics({"n": Mean.of(before)}), {"n": np.array(before + step)})

    return count


def test_each_work_keeps_a_private_state_of_its_own() -> None:
    def stateless(broadcast: Tree, context: ClientContext) -> Update:
        assert context.state == {}
        return Update({})

    chained = chain(ones=counting(1), none=stateless, tens=counting(10))
    state: Tree = {}
    for visit in range(3):
        update = chained(PARAMS, replace(CONTEXT, state=state))
        assert update.metrics.numbers() == {"ones/n": visit, "tens/n": 10 * visit}
        assert update.state is not None
        state = update.state


@pytest.mark.parametrize("policy", ["keep", "federate"])
def test_an_optimizer_is_kept_or_federated_through_a_chain(policy: Any) -> None:
    local = replace(LOCAL, optimizer=Adam(0.01), optimizer_state=policy)
    chained = chain(before=EVALUATION, train=local, after=EVALUATION)
    alone, within = local(PARAMS, CONTEXT), chained(PARAMS, CONTEXT)
    assert not unlike_bits(within.tree, alone.tree)
    if policy == "keep":
        assert alone.state is not None
        assert within.state is not None
        assert not unlike_bits(tree.part(within.state, "train"), alone.state)
        again = chained(PARAMS, replace(CONTEXT, state=within.state))
        assert not unlike_bits(again.tree, local(PARAMS, replace(CONTEXT, state=alone.state)).tree)
    else:
        carried = {name: leaf for name, leaf in alone.tree.items() if name not in PARAMS}
        again = chained({**PARAMS, **carried}, CONTEXT)
        assert not unlike_bits(again.tree, local({**PARAMS, **carried}, CONTEXT).tree)
        ask = FedAvg(chained, 1).ask(FedAvg(chained, 1).start(PARAMS, 0), Population(("0",), {"train": {"0": 20}}))
        assert ask is not None
        assert ask.form is not None
        assert ask.form.keys() == alone.tree.keys()


def test_two_federated_optimizers_in_one_chain_are_refused() -> None:
    local = replace(LOCAL, optimizer_state="federate")
    with pytest.raises(ConfigError, match="2 works of one chain federate their optimisers"):
        chain(a=local, b=local).carried(PARAMS)


def test_buffers_and_rules_are_those_of_its_works() -> None:
    class Ruled:
        buffers = frozenset({"statistics"})
        rules = {"head.": WeightedMean(equal=True)}  # noqa: RUF012 - a constant

    chained = Chained({"a": EVALUATION, "b": Ruled()})  # type: ignore[dict-item]  # never called
    assert chained.buffers == {"statistics"}
    assert chained.rules == Ruled.rules

    class Other(Ruled):
        rules = {"head.": WeightedMean()}  # noqa: RUF012 - as above

    with pytest.raises(ConfigError, match="works of one chain have different rules for the same leaves"):
        FedAvg(Chained({"a": Ruled(), "b": Other()}), 1)  # type: ignore[dict-item]  # never called


def test_a_chain_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="a chain of no works") as caught:
        chain()
    assert "chain(validate=..., train=..., validate_local=...)" in caught.value.hint
