"""How long a run is, and how a server is put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hansa.errors import ConfigError
from hansa.interop.flower.server.client_manager import ClientManager
from hansa.interop.flower.server.strategy.strategy import Strategy


@dataclass
class ServerConfig:
    """How many rounds, and how long each may take.

    Attributes:
        num_rounds: how many.
        round_timeout: seconds after which an ask closes without those that have not answered; None: never.
    """

    num_rounds: int = 1
    round_timeout: float | None = None

    def __repr__(self) -> str:
        timeout = "no round_timeout" if self.round_timeout is None else f"round_timeout={self.round_timeout}s"
        return f"num_rounds={self.num_rounds}, {timeout}"

    @classmethod
    def of(cls, config: ServerConfig | Mapping[str, Any] | None) -> ServerConfig:
        """The config itself, that of the dict which older programs pass, or the default.

        Raises:
            ConfigError: the dict has another key, or the number of rounds is none.
        """
        if isinstance(config, Mapping):
            if unknown := config.keys() - {"num_rounds", "round_timeout"}:
                raise ConfigError(
                    f"there is no setting {min(unknown)!r} of a server",
                    hint="the settings are num_rounds, round_timeout",
                )
            config = cls(**config)
        config = config or cls()
        if config.num_rounds < 0:
            raise ConfigError(f"the number of rounds is at least 0, not {config.num_rounds}")
        return config


@dataclass
class ServerAppComponents:
    """What a ServerApp's `server_fn` returns.

    Attributes:
        server: not supported: what it does belongs into a strategy.
        config: how many rounds.
        strategy: FedAvg unless given.
        client_manager: the seeded `SimpleClientManager` unless given.
    """

    server: Any = None
    config: ServerConfig | None = None
    strategy: Strategy | None = None
    client_manager: ClientManager | None = None
