"""A floor that computes something else would prove nothing: each is held against the definition of local training."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hansa
from hansa.core.work import Update, visit_key

ROOT = Path(__file__).parents[3]
TRAINED = ("emnist-cnn", "mlp-100", "cifar10-10", "cifar10-100", "shakespeare")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`benchmarks` is no part of the installed package; PyTorch computes with one thread, as every floor does."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.syspath_prepend(str(ROOT))
    yield
    torch.set_num_threads(threads)
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        del sys.modules[name]


def _module(name: str) -> Any:
    return importlib.import_module(f"benchmarks.simulation.{name}")


def _small(name: str) -> Any:
    """A row with so few examples that it is made in no time; the last batch of a client is a smaller one."""
    workload = _module("workloads").WORKLOADS[name]
    examples = 2 * workload.batch + 3
    return replace(workload, clients=4, cohort=2, mean=examples, least=examples, most=examples, pool=500)


def _definition(workload: Any, client: int, given: dict[str, Any], data: Any) -> Update:
    networks, workloads = _module("given.networks_torch"), _module("workloads")
    model = hansa.TorchModel(networks.NETWORKS[workload.network], networks.loss(workload.network))
    optimizer = hansa.Adam(workload.rate) if workload.adam else hansa.SGD(workload.rate)
    examples = hansa.ClientDataset({"x": data[0], "y": data[1]}).select(workload.rows(client))
    name = workloads.client_id(client)
    context = hansa.ClientContext(name, {"train": examples}, 1, visit_key(workloads.SEED, name, 1, "train", 0))
    return hansa.LocalTraining(model, optimizer, batch_size=workload.batch, epochs=1)(given, context)


def _floor(workload: Any, kind: str, client: int, given: dict[str, Any], data: Any) -> tuple[Any, float]:
    """(the flat parameters that the floor's half ends with, less the same for the definition's; its mean loss)."""
    flat, floors = _module("flat"), _module("floors_torch")
    half = floors.TorchHalf(workload, kind, data)
    layout = flat.Flat.of(workload.network, channels_last=kind != "exact")
    half.load(layout.read(given))
    loss = half.train([client], 1)
    total = np.zeros(len(layout.values), np.float64 if kind == "exact" else np.float32)
    half.give(total)
    return total / workload.sizes[client], loss / workload.sizes[client]


@pytest.mark.parametrize("name", TRAINED)
def test_the_exact_floor_gives_the_bits_of_the_definition(name: str, tmp_path: Path) -> None:
    workload = _small(name)
    _module("prepared").prepare(workload, tmp_path)
    data, given = _module("workloads").pool(tmp_path), dict(np.load(tmp_path / "initial.npz"))
    update = _definition(workload, 2, given, data)
    change, loss = _floor(workload, "exact", 2, given, data)
    expected = _module("flat").Flat.of(workload.network, channels_last=False).read(update.tree)
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_array_equal(change.astype(np.float32), expected)
    assert loss == pytest.approx(update.metrics.value("loss"), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in TRAINED for kind in ("autograd", "hand") if (name, kind) != ("shakespeare", "hand")],
)
def test_the_others_come_to_the_same_within_rounding(name: str, kind: str, tmp_path: Path) -> None:
    workload = _small(name)
    _module("prepared").prepare(workload, tmp_path)
    data, given = _module("workloads").pool(tmp_path), dict(np.load(tmp_path / "initial.npz"))
    update = _definition(workload, 1, given, data)
    model, loss = _floor(workload, kind, 1, given, data)
    layout = _module("flat").Flat.of(workload.network, channels_last=True)
    expected = layout.read({name: leaf + update.tree[name] for name, leaf in given.items()})
    # Adam divides by the root of what may be nearly nothing: there a rounding is worth a part of the step.
    np.testing.assert_allclose(model, expected, atol=1e-3 if workload.adam else 2e-5)
    assert loss == pytest.approx(update.metrics.value("loss"), rel=1e-4)
