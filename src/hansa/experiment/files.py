"""Experiment files: plain Python that says what to run. `hansa run FILE.py` loads one.

A file defines `experiment`, an `Experiment`, and for simulation `data`: a `FederatedData`, or a function without arguments
that returns one (so that nothing is read where the file only serves a real federation, whose owners bring their own data).
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hansa.errors import ExperimentFileError, HansaError
from hansa.experiment.experiment import Experiment

if TYPE_CHECKING:
    from hansa.data import FederatedData

RUN_NAME = "__hansa__"
"""The file's `__name__` while it is loaded: code under `if __name__ == "__main__":` stays out."""


@dataclass(frozen=True)
class ExperimentFile:
    """A loaded experiment file."""

    path: Path
    experiment: Experiment
    names: dict[str, Any]

    def importing(self) -> AbstractContextManager[None]:
        """The context in which the file's functions find its neighbours when they import them; run the experiment in it."""
        return _beside(self.path.parent.resolve())

    def data(self) -> FederatedData:
        """The data to simulate on.

        Raises:
            ExperimentFileError: the file defines none.
        """
        from hansa.data import FederatedData  # only here: an owner, who loads such files too, simulates nothing

        data = self.names.get("data")
        if callable(data):
            with self.importing(), _explained(self.path):
                data = data()
        if not isinstance(data, FederatedData):
            found = "nothing" if "data" not in self.names else type(data).__name__
            raise ExperimentFileError(
                f"a simulation needs `data`, a FederatedData or a function that returns one; the file defines {found}",
                where=str(self.path),
                hint="add, for example: data = hansa.FederatedData.partition(train, hansa.IID(10), test=test)",
            )
        return data


def load_experiment(path: Path) -> ExperimentFile:
    """Run an experiment file and take what it defines.

    Raises:
        ExperimentFileError: there is no such file, it raises, or it defines no experiment.
    """
    if not path.is_file():
        raise ExperimentFileError("there is no such experiment file", where=str(path), hint="check the path")
    with _beside(path.parent.resolve()), _explained(path):
        names = runpy.run_path(str(path), run_name=RUN_NAME)
    experiment = names.get("experiment")
    if not isinstance(experiment, Experiment):
        found = "nothing" if "experiment" not in names else type(experiment).__name__
        raise ExperimentFileError(
            f"an experiment file defines `experiment`, an Experiment; found {found}",
            where=str(path),
            hint="add, for example: experiment = hansa.Experiment(model, hansa.FedAvg(local, rounds=10))",
        )
    return ExperimentFile(path, experiment, names)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say whose it is where a file's code raises."""
    try:
        yield
    except HansaError as problem:
        problem.where = f"{problem.where}, in {path}" if problem.where else str(path)
        raise
    except (Exception, SystemExit) as problem:
        what = f"the experiment file raised {type(problem).__name__}: {problem}"
        raise ExperimentFileError(what, where=str(path), hint="the traceback shows the line") from problem


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Let code import what lies in a folder, as `python FILE.py` lets FILE."""
    for name in [name for name, module in sys.modules.items() if _is_anothers(name, module, folder)]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _is_anothers(name: str, module: ModuleType, folder: Path) -> bool:
    """Whether a module is the neighbour of another experiment, left loaded under a name that this folder has too.

    Another experiment's folder is known by being no longer on the path.
    """
    top = sys.modules.get(name.partition(".")[0], module)
    origin = getattr(top, "__file__", None)
    if not origin:
        return False
    file = Path(origin)
    home = file.parent.parent if file.name == "__init__.py" else file.parent
    if str(home) in sys.path or home.resolve() == folder:
        return False
    return (folder / f"{top.__name__}.py").is_file() or (folder / top.__name__).is_dir()
