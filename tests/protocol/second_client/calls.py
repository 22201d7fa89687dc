"""The five kinds of call, whatever carries them, and how they fail. This file must not know what a frame means."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Protocol


class Gone(Exception):
    """The connection broke, or cannot be made: connect again."""


class Finished(Gone):
    """The Director ended the stream on purpose."""


class Refused(Exception):
    """The Director answered with an error. `kind` says which."""

    def __init__(self, error: bytes) -> None:
        told = json.loads(error)
        self.kind = str(told["kind"])
        super().__init__(f"{self.kind}: {told['what']}")


class Session(Protocol):
    """An open session."""

    def send(self, frame: bytes) -> None:
        """One frame more."""
        ...

    def receive(self, seconds: float) -> bytes | None:
        """The next frame, or None where none came in this time. Raises Gone at the end."""
        ...


class Link(Protocol):
    """A connection to a Director."""

    def session(self) -> Session: ...

    def call(self, frame: bytes) -> bytes: ...

    def upload(self, head: bytes, chunks: Iterable[bytes]) -> bytes: ...

    def download(self, head: bytes) -> Iterator[bytes]: ...

    def close(self) -> None: ...
