"""Where works come from: a module, an experiment file, a source that was exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from hansa.errors import ConfigError, ExperimentFileError
from hansa.simulation.processes import Origin
from hansa.testing.executors import WORKS

FILE = """
import hansa
from beside import RATE

experiment = hansa.Experiment(hansa.NumpyMLP((5, 3)), hansa.FedAvg(hansa.LocalTraining(
    hansa.NumpyMLP((5, 3)), hansa.SGD(RATE), epochs=1), rounds=1))
"""


def test_an_attribute_of_a_module() -> None:
    with Origin.attribute("hansa.testing.executors:WORKS").found() as found:
        assert found.works is WORKS


@pytest.mark.parametrize("target", ["hansa", "hansa:", ":WORKS", "hansa:a.b"])
def test_what_names_no_attribute_is_refused(target: str) -> None:
    with pytest.raises(ConfigError, match="names no works"):
        Origin.attribute(target)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no_such_module_here:WORKS", "cannot be loaded: ModuleNotFoundError"),
        ("hansa.testing.executors:NONE", "cannot be loaded: AttributeError"),
        ("hansa.testing.executors:SEED", "is no mapping of works, but int"),
    ],
)
def test_works_that_are_not_there(target: str, said: str) -> None:
    with pytest.raises(ExperimentFileError, match=said), Origin.attribute(target).found():
        pass


def test_an_experiment_file_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "experiment.py").write_text(FILE)
    (tmp_path / "beside.py").write_text("RATE = 0.25\n")
    with Origin.file(tmp_path / "experiment.py").found() as found:
        assert list(found.works) == ["train"]
        assert found.names["RATE"] == 0.25


def test_a_source_is_laid_out_with_its_neighbours_and_goes_with_its_origin(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("RATE = 0.25\n")
    (tmp_path / "words.txt").write_text("a b")
    origin = Origin.source(tmp_path / "script.py", FILE, "__main__", {}, include=["*.txt"])
    folder = Path(origin.target).parent
    assert sorted(each.name for each in folder.iterdir()) == ["beside.py", "script.py", "words.txt"]
    with origin.found() as found:
        assert found.names["RATE"] == 0.25
    del origin
    assert not folder.exists()


def test_a_neighbour_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "__init__.py").write_text("")
    text = FILE.replace("from beside import", "from beside.further import")
    with pytest.raises(ExperimentFileError, match="there is no module"):
        Origin.source(tmp_path / "script.py", text, "__main__")
