"""From a notebook's cells to an experiment file that a person can read: the statements that `experiment` is made of, as typed.

Nothing is run. This file must not know how a running session keeps its cells.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.abc import InspectLoader
from pathlib import Path
from typing import Any

from hansa.errors import ExperimentFileError
from hansa.experiment.experiment import Experiment
from hansa.experiment.imports import imports_of, parse
from hansa.experiment.notebook import live
from hansa.experiment.notebook.cells import Cells, Failure, read
from hansa.experiment.notebook.flow import Flow
from hansa.experiment.notebook.slicing import sliced
from hansa.experiment.notebook.walk import names_of
from hansa.experiment.notebook.writing import Part, written
from hansa.experiment.readable import readable
from hansa.experiment.sources import Trouble, explained

ENTRY = "experiment.py"
"""What the file is called where it is shipped."""


@dataclass(frozen=True)
class Exported:
    """An experiment file made from a notebook.

    Attributes:
        text: Python that defines `experiment`; what an owner reads.
        parts: where its parts come from, by line.
        modules: the modules beside the notebook that it imports by name; those that these need are not among them.
    """

    text: str
    parts: tuple[Part, ...]
    modules: tuple[str, ...] = ()


def export(
    cells: Sequence[str],
    name: str = "experiment",
    *,
    namespace: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    failed: Mapping[int, Failure] | None = None,
) -> Exported:
    """The experiment file that notebook cells amount to: what `experiment` is made of, as it was typed, and nothing else.

    Cells are never run. What they only show stays behind: plots, prints, magics, shell commands, and whatever no needed name
    hangs on. What a cell does to an object through code that is not in the notebook cannot be seen.

    Args:
        cells: their text, in the order in which they ran.
        name: what the notebook calls the experiment; the file calls it `experiment`.
        namespace: the session's names: plain values that no cell defines are written down, and definitions are compared.
        folder: where the notebook lies, with the modules of its own that it imports.
        failed: the cells that raised, by number; the first cell is 1.

    Raises:
        ExperimentFileError: something that the experiment is made of cannot be exported; says what, where, and what to do.
        InputError: the text holds characters that a reader would not see.
    """
    namespace = {} if namespace is None else namespace
    notebook = _shipped(read(cells, failed))
    lazy = "annotations" in notebook.futures
    does = [names_of(each.node, lazy_annotations=lazy) for each in notebook.statements]
    flow = Flow(notebook.statements, does, name)
    found = sliced(
        flow,
        name,
        lambda each: live.literal(namespace, each),
        lambda each: live.described(namespace, each, notebook.left_out),
    )
    troubles = found.troubles or tuple(live.differences(flow, found, namespace, notebook.futures))
    if name in namespace and not isinstance(namespace[name], Experiment):
        kind = type(namespace[name]).__name__
        troubles = (
            Trouble(f"`{name}` is a {kind}, not an Experiment", "", "give the name of the experiment"),
            *troubles,
        )
    if troubles:
        raise explained(troubles, "things keep this from being exported")
    text, parts = written(notebook, flow, found, name)
    readable(ENTRY, text.encode())
    _check_compiles(text)
    return Exported(text, parts, _beside(text, folder))


def _shipped(notebook: Cells) -> Cells:
    """A notebook without what stands under `if __name__ == "__main__":`, which an owner's machine would not run either."""
    return replace(notebook, statements=tuple(each for each in notebook.statements if not _is_for_here(each.node)))


def _is_for_here(node: ast.stmt) -> bool:
    match node:
        case ast.If(
            test=ast.Compare(
                left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant(value="__main__")]
            ),
            orelse=[],
        ):
            return True
    return False


def _check_compiles(text: str) -> None:
    try:
        InspectLoader.source_to_code(text, ENTRY)
    except SyntaxError as problem:
        line = text.split("\n")[(problem.lineno or 1) - 1].strip()
        raise ExperimentFileError(
            f"this is no Python for a file: {problem.msg}", where=line, hint="correct it"
        ) from problem


def _beside(text: str, folder: Path | None) -> tuple[str, ...]:
    if folder is None:
        return ()
    tops = {each.module.partition(".")[0] for each in imports_of(parse(text, ENTRY)) if each.level == 0}
    own = {each for each in tops - sys.stdlib_module_names if _is_module(folder, each)}
    return tuple(sorted(own))


def _is_module(folder: Path, name: str) -> bool:
    return (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()
