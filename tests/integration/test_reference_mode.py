"""Reference mode: the same experiment gives the same bits in another process, whatever surrounds it."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Shell

EXPERIMENT = """\
import os

import hansa
from torch import nn
from torch.nn.functional import cross_entropy

SEED = int(os.environ.get("SEED", "0"))


def network():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        {norm},
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(0.2),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 64),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(64, 10),
    )


def data():
    digits = hansa.load_dataset("digits")
    return hansa.FederatedData.partition(digits.train, hansa.Dirichlet(5, 0.5), seed=SEED, test=digits.test)


model = hansa.TorchModel(network, cross_entropy)
local = hansa.LocalTraining(model, hansa.Adam(0.003), batch_size=32, epochs=1)
averaging = hansa.FedAvg(local, rounds=3, sampler=hansa.UniformSampler(3), server=hansa.fedavgm(1.0, 0.5))
experiment = hansa.Experiment(model, hansa.Evaluated(averaging, hansa.Evaluation(model)), seed=SEED)
"""


@pytest.fixture(scope="module", params=["nn.BatchNorm2d(16)", "nn.GroupNorm(4, 16)"], ids=["BatchNorm", "GroupNorm"])
def file(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    path = tmp_path_factory.mktemp("reference") / "experiment.py"
    path.write_text(EXPERIMENT.format(norm=request.param))
    return path


def ran(shell: Shell, file: Path, cwd: Path, hash_seed: str, threads: str, seed: str = "0") -> Any:
    threading = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    ended = shell.hansa("run", file, "--json", cwd=cwd, PYTHONHASHSEED=hash_seed, SEED=seed, **threading)
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


@pytest.fixture(scope="module")
def document(shell: Shell, file: Path) -> Any:
    return ran(shell, file, file.parent, hash_seed="0", threads="1")


def timeless(document: Any) -> Any:
    """The document without what a clock measured: seconds, and by them the engine that was quicker at the same bits."""
    return {
        **document,
        "environment": {
            name: value for name, value in document["environment"].items() if not name.startswith("engine ")
        },
        "entries": [{name: value for name, value in e.items() if name != "seconds"} for e in document["entries"]],
    }


def test_another_process_hash_seed_number_of_threads_and_folder_change_no_bit(
    shell: Shell, file: Path, document: Any, tmp_path: Path
) -> None:
    again = ran(shell, file, tmp_path, hash_seed="4711", threads="2")
    assert again["model_sha256"] == document["model_sha256"]
    assert timeless(again) == timeless(document)


def test_another_seed_changes_the_model(shell: Shell, file: Path, document: Any) -> None:
    other = ran(shell, file, file.parent, hash_seed="0", threads="1", seed="1")
    assert other["model_sha256"] != document["model_sha256"]


def test_the_run_trained_what_it_says(document: Any) -> None:
    assert (document["mode"], document["rounds"]) == ("reference", 3)
    accuracies = [each["metrics"]["accuracy"]["value"] for each in document["entries"] if each["settings"].get("model")]
    assert len(accuracies) == 4
    assert accuracies[-1] > accuracies[0]


def test_the_history_names_what_the_numbers_depend_on(document: Any) -> None:
    environment = document["environment"]
    assert environment["python"] == platform.python_version()
    assert environment["machine"] == platform.machine()
    assert environment["threads"] == "1"
    for package in ("hansa", "numpy", "torch", "scikit-learn", "safetensors"):
        assert environment[package] == version(package)
    assert "simd" in environment
