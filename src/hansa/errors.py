"""The one tree of errors. Any module may import this file; it imports nothing.

    HansaError
    ├── InputError                 what a user or an owner handed over cannot be used (also a ValueError)
    │   ├── ConfigError            a setting that makes no sense
    │   ├── DataError              data that cannot be trained on: none, NaN, a label out of range, another shape
    │   ├── TreeMismatch           two trees of arrays that should be alike are not
    │   ├── UnknownName            a data set, a client or a leaf that does not exist (with near misses)
    │   ├── CohortTooLarge         more clients are asked for than there are
    │   └── ExperimentFileError    an experiment file that cannot be loaded
    ├── DatasetError               a data set's files
    │   ├── DatasetMissing         not on this machine and not to be had
    │   └── DatasetCorrupt         there, but truncated or altered
    ├── AggregationError           updates that have no average: zero total weight, nothing to combine
    ├── FederationError            what goes wrong between machines
    │   ├── NotConnected           the other side cannot be reached, or the connection broke
    │   ├── NotAllowed             the caller's role or name forbids it, or an owner's policy does
    │   ├── ProtocolError          a message that is malformed, too large, or of a version that nobody here speaks
    │   └── CertificateError       a certificate that is missing, expired, revoked, of another authority or for another name
    ├── StoreError                 a journal or a file of its own that cannot be written or read
    │   ├── DiskFull               there is no room; nothing that was accepted is lost
    │   └── Damaged                its content is not what its hash says
    ├── ChildDied                  a child process ended without an answer: killed, out of memory, out of time
    ├── RunFailed                  a run that ended early; carries the History up to there and the last good model
    └── MissingExtra               an optional dependency is not installed (also an ImportError)

A message says what is wrong, where, and what to do next. The three are separate, so that a terminal, a page and a log can each
show them in their own way.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class HansaError(Exception):
    """Base of everything that Hansa raises on purpose.

    Args:
        what: what is wrong, in one sentence, with the expected and the found.
        where: the client, round, file or field that it was found in.
        hint: what to do next.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.hint = what, where, hint

    @property
    def line(self) -> str:
        """All three on one line, for a list of several errors."""
        return self.what + (f" ({self.where})" if self.where else "") + (f"; {self.hint}" if self.hint else "")

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  what to do: {self.hint}")
        return "\n".join(lines)


class InputError(HansaError, ValueError):
    """What a user or an owner handed over cannot be used."""


class ConfigError(InputError):
    """A setting that makes no sense."""


class DataError(InputError):
    """Data that cannot be trained on."""


class TreeMismatch(InputError):
    """Two trees that should have the same names, shapes and dtypes do not."""


class UnknownName(InputError):
    """A name that nobody knows."""

    @classmethod
    def among(cls, kind: str, name: object, known: Iterable[object], *, hint: str = "") -> UnknownName:
        """The error for `name`, which is none of `known`, suggesting the nearest ones.

        Args:
            kind: what is named, such as "data set" or "client".
            name: the name that was asked for.
            known: the names that exist; only the first few are listed.
            hint: what to do, instead of a choice of near names.
        """
        names = [str(each) for each in known]
        near = difflib.get_close_matches(str(name), names, n=3) or names[:12]
        return cls(
            f"there is no {kind} {str(name)!r}", hint=hint or f"choose one of: {', '.join(near) or '(there are none)'}"
        )


class CohortTooLarge(InputError):
    """More clients are asked for than there are."""


class ExperimentFileError(InputError):
    """An experiment file that cannot be loaded."""


class DatasetError(HansaError):
    """A data set's files."""


class DatasetMissing(DatasetError):
    """A data set that is not on this machine and cannot be downloaded."""


class DatasetCorrupt(DatasetError):
    """A data set's file that is truncated or altered."""


class AggregationError(HansaError):
    """Updates that have no average."""


class FederationError(HansaError):
    """What goes wrong between machines."""


class NotConnected(FederationError):
    """The other side cannot be reached, or the connection broke; trying again may help."""


class NotAllowed(FederationError):
    """The caller's role or name forbids it, or an owner's policy does; trying again does not help."""


class ProtocolError(FederationError):
    """A message that is malformed, too large, or of a version that nobody here speaks."""


class CertificateError(FederationError):
    """A certificate that is missing, expired, revoked, of another authority or for another name."""


class StoreError(HansaError):
    """A journal or a file of its own that cannot be written or read."""


class DiskFull(StoreError):
    """There is no room; nothing that was accepted is lost."""


class Damaged(StoreError):
    """A file whose content is not what its hash says."""


class ChildDied(HansaError):
    """A child process ended without an answer: killed, out of memory, out of time."""


class RunFailed(HansaError):
    """A run that ended early.

    Attributes:
        history: the `hansa.core.history.History` up to and including the failed round; its `model` is the last good one.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "", history: Any = None) -> None:
        super().__init__(what, where=where, hint=hint)
        self.history = history


class MissingExtra(HansaError, ImportError):
    """An optional dependency is not installed."""

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> MissingExtra:
        """The error for `package`, which comes with `pip install "hansa[extra]"` and is needed for `purpose`."""
        return cls(f"{purpose} needs {package}, which is not installed", hint=f'pip install "hansa[{extra}]"')
