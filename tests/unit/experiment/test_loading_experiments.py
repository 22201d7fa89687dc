"""Experiment files: plain Python, and what is said of those that cannot be run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hansa.errors import ConfigError, ExperimentFileError
from hansa.experiment import load_experiment
from hansa.federation import Federation

GOOD = """
from hansa.algorithms import FedAvg
from hansa.experiment import Experiment
from hansa.models import NumpyMLP
from hansa.testing import blobs
from hansa.training import SGD, LocalTraining

model = NumpyMLP((5, 3))
experiment = Experiment(model, FedAvg(LocalTraining(model, SGD(0.1), epochs=1), rounds=2), seed=4, name="mine")
"""


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Neighbours that a test imports are gone after it, and the path is as it was."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    assert sys.path == path
    for name in set(sys.modules) - modules:
        if name.startswith("neighbour"):
            del sys.modules[name]


def written(folder: Path, text: str, name: str = "experiment.py") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    return path


def test_a_file_gives_its_experiment_and_its_data(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "data = blobs(2)\n")
    loaded = load_experiment(path)
    assert loaded.path == path
    assert (loaded.experiment.name, loaded.experiment.seed) == ("mine", 4)
    assert loaded.data().clients == ("0", "1")
    assert Federation.simulate(loaded.data()).run(loaded.experiment).history.rounds == 2


def test_data_may_be_a_function_that_is_called_only_when_it_is_wanted(tmp_path: Path) -> None:
    text = GOOD + "read = []\ndef data():\n    read.append(1)\n    return blobs(3)\n"
    loaded = load_experiment(written(tmp_path, text))
    assert loaded.names["read"] == []
    assert len(loaded.data()) == 3
    assert loaded.names["read"] == [1]


def test_code_for_running_it_as_a_program_stays_out(tmp_path: Path) -> None:
    loaded = load_experiment(
        written(tmp_path, GOOD + "ran = __name__\nif ran == '__main__':\n    ran = 'as a program'\n")
    )
    assert loaded.names["ran"] == "__hansa__"


def test_neighbours_can_be_imported_at_once_and_later(tmp_path: Path) -> None:
    written(tmp_path, "CLIENTS = 2\n", "neighbour_one.py")
    written(tmp_path, "from hansa.testing import blobs\n", "neighbour_two.py")
    text = (
        GOOD
        + "from neighbour_one import CLIENTS\ndef data():\n    from neighbour_two import blobs\n    return blobs(CLIENTS)\n"
    )
    assert len(load_experiment(written(tmp_path, text)).data()) == 2


def test_a_work_may_import_a_neighbour_when_it_runs(tmp_path: Path) -> None:
    written(tmp_path, "FACTOR = 2.0\n", "neighbour_three.py")
    text = GOOD + (
        "import hansa\n"
        "from hansa.testing import blobs\n"
        "class Late:\n"
        "    buffers = frozenset()\n"
        "    def __call__(self, broadcast, context):\n"
        "        from neighbour_three import FACTOR\n"
        "        return hansa.Update({name: leaf * FACTOR for name, leaf in broadcast.items()})\n"
        "experiment = hansa.Experiment(model, hansa.FedAvg(Late(), rounds=1))\n"
        "data = blobs(2)\n"
    )
    loaded, path = load_experiment(written(tmp_path, text)), list(sys.path)
    with loaded.importing():
        assert Federation.simulate(loaded.data()).run(loaded.experiment).history.rounds == 1
    assert sys.path == path


def test_two_experiments_with_neighbours_of_one_name_each_get_their_own(tmp_path: Path) -> None:
    names = []
    for name in ("one", "two"):
        written(tmp_path / name, f"NAME = {name!r}\n", "neighbour_shared.py")
        path = written(tmp_path / name, GOOD + "from neighbour_shared import NAME\n")
        names.append(load_experiment(path).names["NAME"])
    assert names == ["one", "two"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.py", tmp_path):
        with pytest.raises(ExperimentFileError, match="no such experiment file") as caught:
            load_experiment(path)
        assert f"where: {path}" in str(caught.value)
        assert "check the path" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1 / 0\n", "raised ZeroDivisionError: division by zero"),
        ("import nothing_of_that_name\n", "raised ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("def broken(:\n", "raised SyntaxError"),
        ("raise SystemExit('done')\n", "raised SystemExit: done"),
    ],
)
def test_a_file_that_raises_is_told_with_its_error(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ExperimentFileError, match=said) as caught:
        load_experiment(path)
    assert f"where: {path}" in str(caught.value)
    assert caught.value.hint
    assert caught.value.__cause__ is not None


def test_an_error_of_ours_stays_what_it_is_and_tells_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "from hansa.training import SGD\nSGD(-1)\n")
    with pytest.raises(ConfigError, match="learning_rate is a positive number") as caught:
        load_experiment(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"), [("", "nothing"), ("experiment = 3\n", "int"), ("experiment = dict\n", "type")]
)
def test_a_file_without_an_experiment_is_told_what_to_add(tmp_path: Path, text: str, found: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ExperimentFileError, match=f"an Experiment; found {found}") as caught:
        load_experiment(path)
    assert f"where: {path}" in str(caught.value)
    assert "add, for example: experiment =" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"), [("", "nothing"), ("data = 3\n", "int"), ("def data():\n    return {}\n", "dict")]
)
def test_a_file_without_data_runs_nowhere_but_on_a_real_federation(tmp_path: Path, text: str, found: str) -> None:
    path = written(tmp_path, GOOD + text)
    loaded = load_experiment(path)
    with pytest.raises(ExperimentFileError, match=f"the file defines {found}") as caught:
        loaded.data()
    assert f"where: {path}" in str(caught.value)
    assert "add, for example: data =" in str(caught.value)


def test_data_that_raise_are_told_with_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "def data():\n    raise OSError('disk on fire')\n")
    with pytest.raises(ExperimentFileError, match="raised OSError: disk on fire") as caught:
        load_experiment(path).data()
    assert f"where: {path}" in str(caught.value)


def test_the_path_is_restored_after_a_file_that_raises_too(tmp_path: Path) -> None:
    before = list(sys.path)
    for text in ("1 / 0\n", "import sys\nsys.path.insert(0, '/somewhere')\nsys.path.remove('/somewhere')\n1 / 0\n"):
        with pytest.raises(ExperimentFileError):
            load_experiment(written(tmp_path, text))
        assert sys.path == before
