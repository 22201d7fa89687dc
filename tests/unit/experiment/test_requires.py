"""What an experiment requires of an owner's machine: as it is written, shipped, and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hansa
from hansa.errors import ConfigError
from hansa.experiment.manifest import Manifest
from hansa.experiment.requires import NOTHING, Requires
from hansa.federation.source import Source, packed

FILE = """import hansa
from hansa.experiment.requires import Requires

model = hansa.NumpyMLP((2, 2))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=2, epochs=1)
experiment = hansa.Experiment(
    model, hansa.FedAvg(local, 1), requires=Requires(cores=2, memory="1 GB", device="cuda")
)
"""


def test_memory_is_bytes_however_it_is_written() -> None:
    assert Requires(memory="1 GB") == Requires(memory=10**9)
    assert Requires(memory="512 MiB").bytes == 512 * 2**20
    assert Requires(0, 0, "") == NOTHING


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cores": -1}, "cores are a whole number from 0 to 1048576, not -1"),
        ({"cores": True}, "cores are a whole number from 0 to 1048576, not True"),
        ({"cores": "2"}, "cores are a whole number from 0 to 1048576, not '2'"),
        ({"memory": "much"}, "expected a size such as '512 MiB', found 'much'"),
        ({"memory": -1}, "expected a size such as '512 MiB', found -1"),
        ({"memory": "2000000 TiB"}, "no machine has 2199023255552000000 bytes of memory"),
        ({"device": "GPU 1"}, "no device: 'GPU 1'"),
        ({"device": 1}, "no device: 1"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Requires(**fields)
    assert raised.value.what == said


def test_an_experiment_takes_no_dictionary_for_it() -> None:
    model = hansa.NumpyMLP((2, 2))
    algorithm = hansa.FedAvg(hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=2, epochs=1), 1)
    with pytest.raises(ConfigError, match=r"requires is a hansa.Requires, not dict"):
        hansa.Experiment(model, algorithm, requires={"cores": 2})  # type: ignore[arg-type]  # wrong on purpose


def test_it_is_shipped_in_the_manifest(tmp_path: Path) -> None:
    file = tmp_path / "experiment.py"
    file.write_text(FILE)
    package, _ = packed(Source(file), hansa.load_experiment(file).experiment, tmp_path)
    manifest = Manifest.decode(package.manifest.encode())
    assert (manifest.cores, manifest.memory, manifest.device) == (2, 10**9, "cuda")
