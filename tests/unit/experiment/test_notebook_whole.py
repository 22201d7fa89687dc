"""Whole experiments from notebooks: exported they are loaded, packed and run as files are, and end with the same model."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the networks are PyTorch's")

from hansa.core.tree import Tree
from hansa.experiment import Experiment, load_experiment
from hansa.experiment.files import RUN_NAME
from hansa.experiment.manifest import InitialModel
from hansa.experiment.notebook import export
from hansa.experiment.package import pack
from hansa.federation import Federation
from hansa.testing import blobs

PLAIN = """
import hansa
import matplotlib.pyplot as plt
%matplotlib inline
---
clients = 2
settings = {"rate": 1.0}
---
%%time
model = hansa.NumpyMLP((5, 4, 3))
model
---
settings["rate"] = 0.1
plt.plot([1, 2])
---
local = hansa.LocalTraining(model, hansa.SGD(**{"learning_rate": settings["rate"]}), epochs=1)
local
---
experiment = hansa.Experiment(model, hansa.FedAvg(local, rounds=2), seed=3, name="plain")
---
federation = hansa.Federation.simulate(data)
run = federation.run(experiment)
print(run.history.table())
""".strip().split("\n---\n")
TORCH = """
import torch, hansa
from torch import nn
import torch.nn.functional as F
---
torch.manual_seed(5)
WIDTH = 4
---
class Net(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.head = nn.Linear(5, width)

    def forward(self, x):
        return scaled(self.head(x))
---
def scaled(x):
    return x * FACTOR
---
FACTOR = 0.5
layers = [nn.Linear(5, WIDTH)]
for _ in range(2):
    layers += [nn.ReLU(), nn.Linear(WIDTH, WIDTH)]
layers.append(nn.Linear(WIDTH, 3))
nn.init.zeros_(layers[0].bias)
print(layers)
---
class Both(nn.Module):
    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x):
        return self.first(x) + self.second(x)
---
module = Both(Net(), nn.Sequential(*layers))
model = hansa.TorchModel(module, F.cross_entropy)
---
def halved(round):
    return 0.5 ** round
---
local = hansa.LocalTraining(model, hansa.Adam(0.05), steps=3, schedule=halved)
algorithm = hansa.Evaluated(hansa.FedAvg(local, rounds=2), hansa.Evaluation(model), every=2)
experiment = hansa.Experiment(model, algorithm)
---
if __name__ == "__main__":
    for layer in layers:
        print(layer)
""".strip().split("\n---\n")


def in_a_notebook(cells: list[str]) -> dict[str, Any]:
    """The names after the cells ran up to the experiment, without their magics."""
    module = types.ModuleType("__main__")
    for cell in cells:
        lines = [line for line in cell.split("\n") if not line.startswith("%") and "plt" not in line]
        if "simulate" not in cell:
            exec(compile("\n".join(lines), "cell", "exec"), module.__dict__)  # noqa: S102 - our own cells
    return vars(module)


def model_of(experiment: Experiment) -> Tree:
    return Federation.simulate(blobs(2)).run(experiment).history.model


def bits(tree: Tree) -> dict[str, bytes]:
    return {name: leaf.tobytes() for name, leaf in tree.items()}


@pytest.mark.parametrize("cells", [PLAIN, TORCH], ids=["numpy", "torch"])
def test_an_exported_experiment_starts_and_ends_with_the_same_bits(cells: list[str], tmp_path: Path) -> None:
    live = in_a_notebook(cells)
    text = export(cells, namespace=live).text
    assert "print" not in text
    assert "plt" not in text
    path = tmp_path / "experiment.py"
    path.write_text(text)
    loaded = load_experiment(path)
    assert loaded.names["__name__"] == RUN_NAME
    assert bits(loaded.experiment.start()) == bits(live["experiment"].start())
    with loaded.importing():
        assert bits(model_of(loaded.experiment)) == bits(model_of(live["experiment"]))


def test_neighbours_of_the_notebook_travel_with_it(tmp_path: Path) -> None:
    (tmp_path / "neighbour_net.py").write_text("from neighbour_sizes import SIZES\n")
    (tmp_path / "neighbour_sizes.py").write_text("SIZES = (5, 3)\n")
    (tmp_path / "neighbour_unused.py").write_text("")
    cells = [
        "import hansa, math\nimport neighbour_net, neighbour_unused\nprint(neighbour_unused)",
        "model = hansa.NumpyMLP(neighbour_net.SIZES)",
        "experiment = hansa.Experiment(model, hansa.FedAvg(hansa.LocalTraining(model, hansa.SGD(0.1), epochs=1), rounds=1))",
    ]
    found = export(cells, folder=tmp_path)
    assert found.modules == ("neighbour_net",)
    package = pack(tmp_path / "experiment.py", text=found.text, initial=InitialModel("cd" * 32, 1000))
    assert {file.path for file in package.manifest.files} == {"experiment.py", "neighbour_net.py", "neighbour_sizes.py"}
    (entry,) = (file for file in package.manifest.files if file.path == package.manifest.entry)
    assert package.contents[entry.sha256] == found.text.encode()
    assert not (tmp_path / "experiment.py").exists()
    (tmp_path / "experiment.py").write_text(found.text)
    try:
        assert load_experiment(tmp_path / "experiment.py").experiment.rounds == 1
    finally:
        for name in [name for name in sys.modules if name.startswith("neighbour_")]:
            del sys.modules[name]


def test_what_is_exported_anew_without_a_change_is_the_same_text() -> None:
    assert export(TORCH) == export(TORCH)
    assert export([*TORCH, "unused = 3", "print(unused)"]).text == export(TORCH).text
