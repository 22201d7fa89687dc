"""Bagging of boosted trees: it learns, in any order to the same bits, and can be stopped and gone on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from hansa.algorithms import Evaluated
from hansa.algorithms.bagging import Bagging
from hansa.core.history import History
from hansa.core.keys import key
from hansa.core.loop import Progress, Step, steps
from hansa.core.sampling import FixedClients, UniformSampler
from hansa.core.work import ClientContext, Update
from hansa.data import ClientDataset, FederatedData
from hansa.data.schema import Field
from hansa.errors import ConfigError, DataError, UnknownName
from hansa.experiment.snapshot import freeze, thaw
from hansa.models.xgboost import XGBoostModel
from hansa.rules.trees import Shares
from hansa.simulation import SequentialExecutor
from hansa.training import Evaluation
from hansa.training.boosting import LocalBoosting

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((240, 4)).astype(np.float32)
Y = X[:, :3].argmax(axis=1)
X[GENERATOR.random(X.shape) < 0.1] = np.nan
MODEL = XGBoostModel(4, 3, {"max_depth": 3, "subsample": 0.8})
ORDER = ("d", "b", "a", "c")


def dataset(rows: slice) -> ClientDataset:
    return ClientDataset({"x": X[rows], "y": Y[rows]})


SCHEMA = {"y": Field((), "int64", classes=3)}  # and nothing about x, which may be missing
DATA = FederatedData(
    {client: dataset(slice(30 * at, 30 * at + 30)) for at, client in enumerate(ORDER)},
    {"judge": dataset(slice(120, 240))},
    schema=SCHEMA,
)


def bagging(rounds: int = 4, local: int = 2, **said: Any) -> Evaluated:
    return Evaluated(Bagging(LocalBoosting(MODEL, local), rounds, **said), Evaluation(MODEL))


def run(algorithm: Any, start: Progress | None = None) -> list[Step]:
    executor = SequentialExecutor(algorithm.works, DATA, 0)
    start = start or Progress.begin(algorithm, History(model=MODEL.init(key(0))))
    return list(steps(algorithm, executor, start, lambda: 0.0))


def model_of(algorithm: Any) -> bytes:
    return run(algorithm)[-1].history.model["trees"].tobytes()


@pytest.mark.parametrize("shares", ["weighted", "equal", "added"])
def test_it_learns_what_no_client_knows_alone(shares: Shares) -> None:
    history = run(bagging(shares=shares))[-1].history
    assert history.final("accuracy") > 0.7
    assert history.series("loss")[0][1] == pytest.approx(np.log(3))
    assert history.final("loss") < 0.8
    # 4 clients, 4 rounds, 2 local rounds, each of a tree for each class.
    assert MODEL.native(history.model).num_boosted_rounds() == 32
    assert len(MODEL.native(history.model).get_dump()) == 96


def test_the_order_of_the_clients_changes_no_bit_and_repeating_it_none() -> None:
    one, again, other = (model_of(bagging(2, sampler=FixedClients(order))) for order in (ORDER, ORDER, ORDER[::-1]))
    assert one == again == other


def test_a_part_of_the_clients_is_enough() -> None:
    history = run(bagging(3, 1, sampler=UniformSampler(2)))[-1].history
    assert MODEL.native(history.model).num_boosted_rounds() == 6


def test_every_state_can_be_kept_and_the_run_goes_on_from_it_to_the_same_bits() -> None:
    algorithm = bagging(2, 1)
    whole = run(algorithm)
    for at in (0, 1, 2):
        frozen = freeze(whole[at].progress.state)
        start = Progress(thaw(frozen.document, frozen.trees), whole[at].history, whole[at].history)
        assert run(algorithm, start)[-1].history.model["trees"].tobytes() == whole[-1].history.model["trees"].tobytes()


def test_only_new_trees_are_sent() -> None:
    work, params = LocalBoosting(MODEL, 2), run(bagging())[-1].history.model
    update = work(params, ClientContext("a", {"train": dataset(slice(60))}))
    assert update.weight == 60
    assert update.tree["trees"].nbytes < params["trees"].nbytes / 8
    first = work(MODEL.init(key(0)), ClientContext("a", {"train": dataset(slice(60))}))
    assert update.metrics.value("loss") < first.metrics.value("loss") == pytest.approx(np.log(3))


def test_a_client_that_sends_no_trees_is_rejected_with_the_reason() -> None:
    boosting = LocalBoosting(MODEL, 1)

    def lazy(broadcast: Mapping[str, Any], context: ClientContext) -> Update:
        return Update({"trees": np.zeros(4, np.uint8)}) if context.id == "b" else boosting(dict(broadcast), context)

    history = run(Bagging(lazy, 1))[-1].history
    outcome = history.entries[0].outcomes["b"]
    assert (outcome.status, outcome.why[:24]) == ("rejected", "these bytes are no JSON:")
    assert MODEL.native(history.model).num_boosted_rounds() == 3


def test_settings_that_make_no_bagging_are_refused() -> None:
    with pytest.raises(ConfigError, match="rounds is at least 1, not 0"):
        LocalBoosting(MODEL, 0)
    with pytest.raises(ConfigError, match="number of rounds is at least 0, not -1"):
        Bagging(LocalBoosting(MODEL), -1)
    with pytest.raises(UnknownName, match="no kind of shares 'some'"):
        Bagging(LocalBoosting(MODEL), 1, shares="some")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(DataError, match="no examples to train on"):
        LocalBoosting(MODEL)(MODEL.init(key(0)), ClientContext("a", {}))
