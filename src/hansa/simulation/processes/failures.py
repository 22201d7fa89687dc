"""What a work raised, told from one process to another: the name of its class, what it said, and where.

This file must not know what failed.
"""

from __future__ import annotations

import traceback
from typing import NamedTuple

from hansa.errors import HansaError

LONGEST = 4000
"""Characters of a traceback that are told, the last ones."""


class Told(NamedTuple):
    """An exception as it is told."""

    kind: str
    said: str
    trace: str = ""


def told(problem: BaseException) -> Told:
    """An exception, to be told."""
    try:
        said = problem.line if isinstance(problem, HansaError) else str(problem)
        trace = "".join(traceback.format_exception(problem))[-LONGEST:]
    except Exception as worse:  # noqa: BLE001 - a class of somebody's own whose __str__ raises
        said, trace = f"and its text raised {type(worse).__name__}", ""
    return Told(type(problem).__name__, said, trace)


def again(what: Told) -> Exception:
    """An exception of a class of the same name that says the same; its traceback there is a note."""
    kind: type[Exception] = type(what.kind, (Exception,), {"__module__": "a worker"})
    problem = kind(what.said)
    if what.trace:
        problem.add_note(f"In the worker process:\n{what.trace}")
    return problem
