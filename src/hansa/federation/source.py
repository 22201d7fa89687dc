"""Which source an experiment has: the script or the notebook in which it was made, and of it what the experiment needs.

What is shipped to an owner is a text that they can read, never a pickled object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hansa.errors import ExperimentFileError
from hansa.experiment import Experiment
from hansa.experiment.files import RUN_NAME
from hansa.experiment.notebook import export, export_notebook
from hansa.experiment.notebook.exporting import ENTRY
from hansa.experiment.package import Package, pack
from hansa.experiment.reference import threads
from hansa.protocol import codec
from hansa.simulation.processes.origin import Origin


@dataclass(frozen=True)
class Source:
    """An experiment's source.

    Attributes:
        entry: the file; its neighbours are shipped with it where they are imported.
        text: what is shipped instead of the file's own content; None for that.
        module: what the module is called here in which the experiment was made: "__main__" for a script that runs.
        names: what that module defines.
    """

    entry: Path
    text: str | None = None
    module: str = RUN_NAME
    names: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


def source_of(experiment: Experiment, names: Mapping[str, Any]) -> Source:
    """The source of an experiment that was made by a module.

    Args:
        experiment: the object.
        names: what the module defines.

    Raises:
        ExperimentFileError: it is bound to no name at the top of the script or the notebook, or what it needs cannot be
            exported; says what.
    """
    bound = [name for name, value in names.items() if value is experiment and not name.startswith("_")]
    notebook = "get_ipython" in names and "In" in names
    file = names.get("__file__")
    where = "the notebook" if notebook else str(file or "this session")
    if not notebook and (file is None or not Path(str(file)).is_file()):
        raise ExperimentFileError(
            "there is no source to ship: the experiment was made neither in a file nor in a notebook",
            where=where,
            hint="write it to a file, and pass source=PATH",
        )
    if not bound:
        raise ExperimentFileError(
            "the experiment has no name of its own, so its source cannot be told from the rest",
            where=where,
            hint="write `experiment = hansa.Experiment(...)` at the top of the file, not in a function, or pass source=PATH",
        )
    if notebook:
        return Source(Path.cwd() / ENTRY, export_notebook(bound[0]).text, "__main__", names)
    # What the experiment needs of the script, not the whole of it: the rest submits, or shows.
    script = Path(str(file))
    text = export([script.read_text(encoding="utf-8")], bound[0], folder=script.parent).text
    return Source(script, text, names["__name__"], names)


def packed(source: Source, experiment: Experiment, folder: Path, **choices: Any) -> tuple[Package, Path]:
    """What is shipped of an experiment, and the file of its initial model.

    Args:
        source: its source.
        experiment: itself.
        folder: where the initial model is written.
        choices: other arguments of `hansa.experiment.package.pack` than the experiment says.
    """
    with threads("reference"):  # as the simulator makes it, so that both start from the same bits
        data = codec.encode(experiment.start())
    initial = folder / "initial.safetensors"
    initial.write_bytes(data)
    said: dict[str, Any] = {
        "name": experiment.name,
        "seed": experiment.seed,
        "rounds": experiment.rounds,
        "requirements": experiment.requirements,
        "include": experiment.include,
        "envoys": experiment.envoys,
        "labels": experiment.labels,
        "requires": experiment.requires,
        "at_least": experiment.at_least or max(1, len(experiment.envoys)),
    }
    named = {name: value for name, value in choices.items() if value}
    package = pack(
        source.entry, text=source.text, initial=(hashlib.sha256(data).hexdigest(), len(data)), **(said | named)
    )
    return package, initial


def origin_of(experiment: Experiment, source: Source) -> Origin:
    """Where a worker process finds an experiment's works: its source, as an owner would get it."""
    if source.text is None:
        return Origin.file(source.entry, source.module, source.names)
    return Origin.source(source.entry, source.text, source.module, source.names, experiment.include)
