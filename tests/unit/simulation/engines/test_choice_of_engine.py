"""Which engine computes is chosen by trial: it must be right, and quicker than the definition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import hansa
from hansa.core import tree
from hansa.core.keys import key
from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Update
from hansa.errors import ConfigError
from hansa.experiment.reference import Mode
from hansa.simulation.engines import fused as fused_room
from hansa.simulation.engines.engine import CannotFuse, Engine, EngineKind, Trainer
from hansa.simulation.engines.fused import Fused
from hansa.simulation.engines.remembered import Remembered
from hansa.simulation.engines.trial import Trial, tried
from hansa.testing import blobs
from hansa.training import SGD, LocalTraining

MODEL = hansa.NumpyMLP((5, 3))
TRAINING = LocalTraining(MODEL, SGD(0.1), batch_size=8, epochs=2)
BROADCAST = MODEL.init(key(0))
DATA = blobs(6)
CONTEXTS = [ClientContext(client, DATA.shard(client), 1, key(0, client)) for client in DATA]

Change = Callable[[Update], Update]


def same(update: Update) -> Update:
    return update


def rounded(update: Update) -> Update:
    return replace(update, tree={name: np.nextafter(leaf, np.float32(1)) for name, leaf in update.tree.items()})


def doubled(update: Update) -> Update:
    return replace(update, tree=tree.scale(update.tree, 2))


@dataclass
class Double:
    """An engine that gives the definition's updates, changed, and writes down whom it trained."""

    name: str
    change: Change = same
    exact: bool = True
    chunk: int = 3
    fails: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []
        self.known = {(each.id, len(each.data["train"])): TRAINING(BROADCAST, each) for each in CONTEXTS}

    def trainer(self, broadcast: Tree) -> Trainer:
        def train(contexts: Sequence[ClientContext]) -> list[Update]:
            self.seen.append(tuple(each.id for each in contexts))
            assert len(contexts) <= self.chunk
            if any(each.id in self.fails for each in contexts):
                raise RuntimeError("this engine is broken")
            found = []
            for each in contexts:
                place = each.id, len(each.data["train"])
                update = self.known[place] if place in self.known else TRAINING(broadcast, each)
                self.known[place] = update
                found.append(self.change(update))
            return found

        return train

    def kind(self, training: LocalTraining, device: str) -> Engine:
        assert training is TRAINING
        assert device == "cpu"
        return self


def refused(training: LocalTraining, device: str) -> Engine:
    raise CannotFuse("this model has a branch")


def trial(*engines: Double, mode: Mode = "fast", also: Mapping[str, EngineKind] | None = None) -> Trial:
    kinds: dict[str, EngineKind] = {engine.name: engine.kind for engine in engines}
    kinds |= also or {}
    return tried(TRAINING, kinds, mode, "cpu", BROADCAST, CONTEXTS[:4])


def test_an_exact_engine_that_is_quicker_is_taken_in_either_mode() -> None:
    modes: tuple[Mode, ...] = ("reference", "fast")
    for mode in modes:
        found = trial(Double("quick"), mode=mode)
        assert found.engine is not None
        assert found.engine.name == "quick"


@pytest.mark.parametrize(
    ("engine", "mode", "why"),
    [
        (Double("liar", rounded), "reference", "it says that it is exact, and leaf 'layer0.weight' has other bits"),
        (Double("loose", rounded, exact=False), "reference", "it is not exact, and reference mode is"),
        (
            Double("wrong", doubled, exact=False),
            "fast",
            "the change of leaf 'layer0.weight' differs by 100.0% of its norm",
        ),
        (Double("broken", fails=("0",)), "fast", "RuntimeError: this engine is broken"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_an_engine_that_is_not_right_is_refused_with_the_reason(engine: Double, mode: Mode, why: str) -> None:
    found = trial(engine, mode=mode)
    assert found.engine is None
    assert found.why.startswith(f"{engine.name}: ")
    assert why.split("'")[0] in found.why


def test_rounding_is_allowed_in_fast_mode() -> None:
    found = trial(Double("loose", rounded, exact=False))
    assert found.engine is not None


def test_a_model_that_cannot_be_fused_falls_back_and_says_why() -> None:
    assert trial(also={"vmap-4": refused}) == Trial(None, "vmap-4: this model has a branch")
    found = trial(Double("quick"), also={"vmap-4": refused})
    assert found.engine is not None
    assert found.why == "vmap-4: this model has a branch"


@pytest.fixture(autouse=True)
def _own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSA_CACHE", str(tmp_path))


def fused(
    *engines: Double, mode: Mode = "fast", pinned: bool = False, also: Mapping[str, EngineKind] | None = None
) -> Fused:
    kinds: dict[str, EngineKind] = {engine.name: engine.kind for engine in engines}
    kinds |= also or {}
    return Fused(TRAINING, TRAINING, lambda: kinds, mode, "cpu", pinned=pinned)


def trees(given: Sequence[object]) -> list[Tree]:
    assert all(isinstance(each, Update) for each in given)
    return [each.tree for each in given if isinstance(each, Update)]


def test_nothing_is_tried_in_a_short_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_room, "PATIENCE", 1e9)
    engine, truth = Double("quick"), [TRAINING(BROADCAST, context) for context in CONTEXTS]
    work = fused(engine)
    given = trees(list(work.given(BROADCAST, iter(CONTEXTS))))
    assert engine.seen == []
    assert work.chosen == "plain"
    for found, expected in zip(given, truth, strict=True):
        assert all((found[name] == leaf).all() for name, leaf in expected.tree.items())


def test_a_long_run_goes_on_with_the_engine_and_remembers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_room, "PATIENCE", -1.0)
    engine = Double("quick")
    work = fused(engine)
    given = trees(list(work.given(BROADCAST, iter(CONTEXTS))))
    assert work.chosen == "quick"
    assert engine.seen[-2:] == [("0", "1", "2"), ("3", "4", "5")]
    assert [sorted(each) for each in given] == [sorted(BROADCAST)] * len(CONTEXTS)
    other = Double("never tried")
    again = fused(other, Double("quick"))
    list(again.given(BROADCAST, iter(CONTEXTS)))
    assert again.chosen == "quick"
    assert other.seen == []


def test_clients_that_come_one_by_one_are_many_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_room, "PATIENCE", 1e-9)
    work = fused(Double("quick"))
    for context in CONTEXTS:  # a worker takes as many answers as it was given clients, and leaves
        next(work.given(BROADCAST, iter([context])))
    assert work.chosen == "quick"


def test_while_another_process_tries_the_definition_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_room, "PATIENCE", -1.0)
    engine, elsewhere = Double("quick"), Remembered(TRAINING, BROADCAST, "fast", "cpu")
    work = fused(engine)
    with elsewhere.trying() as turn:
        assert turn
        given = work.given(BROADCAST, iter(CONTEXTS))
        few = [next(given), next(given)]
        assert engine.seen == []
        elsewhere.engine = "quick"
    rest = list(given)
    assert work.chosen == "quick"
    assert len(trees([*few, *rest])) == len(CONTEXTS)


def test_what_was_remembered_and_is_not_right_any_more_is_tried_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_room, "PATIENCE", -1.0)
    list(fused(Double("quick")).given(BROADCAST, iter(CONTEXTS)))
    work = fused(Double("quick", doubled, exact=False), Double("other"))
    list(work.given(BROADCAST, iter(CONTEXTS)))
    assert work.chosen == "other"


def test_a_damaged_memory_costs_a_trial_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fused_room, "PATIENCE", -1.0)
    (tmp_path / "engines.json").write_text("[1, 2")
    work = fused(Double("quick"))
    list(work.given(BROADCAST, iter(CONTEXTS)))
    assert work.chosen == "quick"


def test_clients_whose_engine_fails_are_trained_by_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_room, "PATIENCE", -1.0)
    engine = Double("quick", chunk=2, fails=("4",))
    given = list(fused(engine).given(BROADCAST, iter(CONTEXTS)))
    for found, context in zip(trees(given), CONTEXTS, strict=True):
        assert all((found[name] == leaf).all() for name, leaf in TRAINING(BROADCAST, context).tree.items())


def test_an_engine_that_finds_out_late_that_it_cannot_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_room, "PATIENCE", -1.0)
    engine = Double("quick", chunk=2)
    work = fused(engine)
    list(work.given(BROADCAST, iter(CONTEXTS)))
    work.rest()

    def refuses(broadcast: Tree) -> Trainer:
        raise CannotFuse("these pictures differ in size")

    monkeypatch.setattr(engine, "trainer", refuses)
    given = list(work.given(BROADCAST, iter(CONTEXTS)))
    assert len(trees(given)) == len(CONTEXTS)
    assert work.chosen == "plain: quick: these pictures differ in size"


def test_a_client_without_examples_gets_the_definitions_error_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_room, "PATIENCE", -1.0)
    poor = replace(CONTEXTS[2], data={})
    given = list(fused(Double("quick", chunk=2)).given(BROADCAST, iter([*CONTEXTS[:2], poor, *CONTEXTS[3:]])))
    kinds = [type(each).__name__ for each in given]
    assert kinds == ["Update", "Update", "DataError", "Update", "Update", "Update"]
    assert "there are no examples to train on" in str(given[2])


def test_a_named_engine_is_used_from_the_first_client_on_or_refused() -> None:
    engine = Double("slow", chunk=6)
    work = fused(engine, pinned=True)
    list(work.given(BROADCAST, iter(CONTEXTS)))
    assert engine.seen[-1] == ("0", "1", "2", "3", "4", "5")
    refusing = fused(also={"vmap-4": refused}, pinned=True)
    with pytest.raises(ConfigError, match=r"the engine 'vmap-4' cannot be used here: vmap-4: this model has a branch"):
        list(refusing.given(BROADCAST, iter(CONTEXTS)))
