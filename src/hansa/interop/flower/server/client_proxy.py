"""A client as a strategy sees it: an id. What the client is to do, a strategy returns; it is not called from there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

from hansa.core.work import Scalar
from hansa.errors import ConfigError


@dataclass(eq=False)
class ClientProxy:
    """One client.

    Attributes:
        cid: its id.
        properties: the strategy's own to write to.
    """

    cid: str
    properties: dict[str, Scalar] = field(default_factory=dict)

    @property
    def node_id(self) -> int:
        """Its id as a number, where it is one; -1 where it is not."""
        return int(self.cid) if self.cid.isdecimal() else -1

    def fit(self, *_: Any, **__: Any) -> NoReturn:
        """Raises ConfigError: see the class."""
        self._refuse("configure_fit")

    def evaluate(self, *_: Any, **__: Any) -> NoReturn:
        """Raises ConfigError: see the class."""
        self._refuse("configure_evaluate")

    def get_parameters(self, *_: Any, **__: Any) -> NoReturn:
        """Raises ConfigError: see the class."""
        self._refuse("initialize_parameters")

    def get_properties(self, *_: Any, **__: Any) -> NoReturn:
        """Raises ConfigError: see the class."""
        self._refuse("configure_fit")

    def _refuse(self, method: str) -> NoReturn:
        raise ConfigError(
            "a strategy does not call its clients: it says what they are to do, and is told what came of it",
            where=f"client {self.cid!r}",
            hint=f"return it from {method}",
        )
