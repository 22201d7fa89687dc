"""ServerApp: what a run's server does. Either `server_fn`, which names a strategy, or a main function over a Grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from hansa.errors import ConfigError
from hansa.interop.flower.message import Context
from hansa.interop.flower.serverapp.grid import Grid

Main = Callable[[Grid, Context], Any]


class ServerApp:
    """What a run's server does.

    Args:
        server: not supported: what it does belongs into a strategy.
        config: how many rounds; with `strategy` instead of `server_fn`.
        strategy: the strategy.
        client_manager: the strategy's.
        server_fn: gives all of these, in `ServerAppComponents`, for a context.
    """

    def __init__(
        self,
        server: Any = None,
        config: Any = None,
        strategy: Any = None,
        client_manager: Any = None,
        server_fn: Callable[[Context], Any] | None = None,
    ) -> None:
        given = {"server": server, "config": config, "strategy": strategy, "client_manager": client_manager}
        self.given = {name: each for name, each in given.items() if each is not None}
        if self.given and server_fn is not None:
            raise ConfigError(f"server_fn and {min(self.given)} are both given", hint="return it from server_fn")
        self.server_fn = server_fn
        self.main_fn: Main | None = None if server_fn or self.given else _missing
        self._lifespan: Callable[[Context], AbstractContextManager[None]] = lambda _: nullcontext()

    def main(self) -> Callable[[Main], Main]:
        """Registers the main function.

        Raises:
            ConfigError: there is a `server_fn`, or a strategy.
        """
        if self.server_fn is not None or self.given:
            raise ConfigError("this app has a main function and a strategy", hint="use one of the two")

        def register(main: Main) -> Main:
            self.main_fn = main
            return main

        return register

    def lifespan(self) -> Callable[[Callable[[Context], Iterator[None]]], Callable[[Context], Iterator[None]]]:
        """Registers a generator that runs around the run: before its `yield`, and after."""

        def register(lifespan: Callable[[Context], Iterator[None]]) -> Callable[[Context], Iterator[None]]:
            self._lifespan = contextmanager(lifespan)
            return lifespan

        return register

    def living(self, context: Context) -> AbstractContextManager[None]:
        """The context of a run."""
        return self._lifespan(context)


def _missing(grid: Grid, context: Context) -> None:  # noqa: ARG001 - stands for a main function
    raise ConfigError("this ServerApp does nothing", hint="register a function with @app.main(), or give a server_fn")
