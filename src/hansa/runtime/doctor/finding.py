"""Findings: what one check came to, and what to do about it. This file must not know which checks there are."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hansa.errors import HansaError


class Level(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and somebody should know."""
    PROBLEM = "problem"
    """It does not work."""


@dataclass(frozen=True)
class Finding:
    """What one check came to.

    Attributes:
        check: what was looked at.
        level: how bad it is.
        found: what was found, in a sentence.
        hint: what to do; empty where nothing is to be done.
    """

    check: str
    level: Level
    found: str
    hint: str = ""


def good(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, found)


def warning(check: str, found: str, hint: str = "") -> Finding:
    """Somebody should know."""
    return Finding(check, Level.WARNING, found, hint)


def problem(check: str, found: str, hint: str = "") -> Finding:
    """It does not work."""
    return Finding(check, Level.PROBLEM, found, hint)


def of_error(check: str, error: HansaError) -> Finding:
    """An error, as a problem."""
    return problem(check, f"{error.what} ({error.where})" if error.where not in error.what else error.what, error.hint)


@contextmanager
def caught(check: str, findings: list[Finding]) -> Iterator[None]:
    """Make a problem of whatever of ours is raised inside."""
    try:
        yield
    except HansaError as error:
        findings.append(of_error(check, error))
