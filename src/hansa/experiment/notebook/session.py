"""The running notebook: its cells as they ran, from IPython's history.

This file must not know what is made of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hansa.errors import ExperimentFileError
from hansa.experiment.notebook.cells import Failure
from hansa.experiment.notebook.exporting import Exported, export

_LINE = re.compile(r"(?:Cell In\[(\d+)\], line |<ipython-input-(\d+)-\w+>:)(\d+)(?!\d|, in)")
"""A frame of a traceback at the top of a cell, as a kernel and as a terminal show it."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def export_notebook(name: str = "experiment", *, shell: Any = None, folder: Path | None = None) -> Exported:
    """The experiment file that the running notebook amounts to: `export` of its cells as they ran.

    Cells count in the order in which they ran, the one that is running included; one that was edited and run again counts as it
    ran last. Of one that raised, what stands before the line that did counts.

    Args:
        name: what the notebook calls the experiment.
        shell: IPython's shell (`get_ipython()`); unless given, the one that this runs in.
        folder: where the notebook lies; unless given, the working directory.

    Raises:
        ExperimentFileError: no notebook is running, or see `export`.
        InputError: see `export`.
    """
    shell = _running() if shell is None else shell
    history = shell.history_manager
    cells = [str(each) for each in history.input_hist_raw[1:]]
    raised = dict(getattr(history, "exceptions", {}))  # older than IPython 9 it does not tell
    failed = {number: _failure(number, raised[number], cells[number - 1]) for number in raised if number <= len(cells)}
    return export(cells, name, namespace=shell.user_ns, folder=Path.cwd() if folder is None else folder, failed=failed)


def _running() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        shell = None
    else:
        shell = get_ipython()
    if shell is None:
        raise ExperimentFileError(
            "no notebook is running here", hint="from a file: hansa.export(cells_of(Path('notebook.ipynb')))"
        )
    return shell


def _failure(number: int, raised: Mapping[str, Any], cell: str) -> Failure:
    """What a cell raised, and in which line where its traceback says so; a cell magic shifts lines."""
    trace = _COLOURS.sub("", "\n".join(map(str, raised.get("traceback", ()))))
    lines = [int(line) for kernel, terminal, line in _LINE.findall(trace) if int(kernel or terminal) == number]
    shifted = cell.lstrip().startswith("%%")
    return Failure(str(raised.get("ename", "an error")), lines[0] if lines and not shifted else None)
