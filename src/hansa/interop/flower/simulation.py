"""What Flower's `flwr.simulation` has: a strategy and its clients, or a ServerApp and its ClientApps, in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hansa.core.population import ClientId
from hansa.core.work import Settings
from hansa.data import ClientDataset, FederatedData
from hansa.errors import ConfigError
from hansa.experiment import Experiment
from hansa.experiment.reference import Mode
from hansa.federation import Federation
from hansa.interop.flower.algorithm import StrategyAlgorithm
from hansa.interop.flower.clientapp import ClientApp
from hansa.interop.flower.message import Context
from hansa.interop.flower.server.client_manager import ClientManager, SimpleClientManager
from hansa.interop.flower.server.history import History
from hansa.interop.flower.server.server_config import ServerAppComponents, ServerConfig
from hansa.interop.flower.server.strategy.fedavg import FedAvg
from hansa.interop.flower.server.strategy.strategy import Strategy
from hansa.interop.flower.serverapp.grid import Grid, MessageWork
from hansa.interop.flower.serverapp.server_app import ServerApp
from hansa.interop.flower.works import Nodes
from hansa.simulation import SequentialExecutor
from hansa.training.clients.work import ArrayModel

__all__ = ["run_simulation", "start_simulation"]

UNTOLD = 2**40
"""So many examples every client is taken to hold at most: its program brings its own data, and nobody has told how many."""


class BroughtData(FederatedData):
    """Clients that bring their own data: nothing is known of them but the clients' ids."""

    def __init__(self, clients: Sequence[ClientId]) -> None:
        super().__init__(dict.fromkeys(clients, ClientDataset({"untold": [0]})))

    def sizes(self, split: str = "train") -> Mapping[ClientId, int]:
        """An upper bound for each client, so that no client's number of examples is taken for absurd."""
        return dict.fromkeys(self.clients, UNTOLD) if split == "train" else {}

    def shard(self, client: ClientId) -> dict[str, ClientDataset]:  # noqa: ARG002 - none has any
        """Nothing."""
        return {}


def start_simulation(
    *,
    client_fn: Callable[[Any], Any],
    num_clients: int | None = None,
    clients_ids: Sequence[str] | None = None,
    client_resources: Mapping[str, float] | None = None,  # noqa: ARG001 - clients run one after the other
    server: Any = None,
    config: ServerConfig | Mapping[str, Any] | None = None,
    strategy: Strategy | None = None,
    client_manager: ClientManager | None = None,
    ray_init_args: Mapping[str, Any] | None = None,  # noqa: ARG001 - there is no Ray
    keep_initialised: bool = False,  # noqa: ARG001 - as above
    actor_type: Any = None,  # noqa: ARG001 - as above
    actor_kwargs: Mapping[str, Any] | None = None,  # noqa: ARG001 - as above
    actor_scheduling: Any = None,  # noqa: ARG001 - as above
    seed: int = 0,
    mode: Mode = "reference",
    run_config: Settings | None = None,
) -> History:
    """Run a strategy with simulated clients, one after the other in this process.

    Args:
        client_fn: makes a client for each visit, from `cid` or from a context.
        num_clients: how many; they are called "0", "1", ...
        clients_ids: what they are called instead.
        client_resources: not needed, like all settings of Ray: clients compute in this process.
        server: not supported.
        config: how many rounds, and how long each may take; or a dict of that.
        strategy: FedAvg unless given.
        client_manager: seeded, unless it is one of the program's own.
        ray_init_args: see `client_resources`.
        keep_initialised: see `client_resources`.
        actor_type: see `client_resources`.
        actor_kwargs: see `client_resources`.
        actor_scheduling: see `client_resources`.
        seed: of the strategy's choice of clients.
        mode: "reference" computes with one thread and gives the same bits whenever it is repeated; "fast" with all.
        run_config: what contexts say of the run.

    Raises:
        ConfigError: there are no clients, or a `server` is given.
        CohortTooLarge: the strategy wants more clients than there are.
        RunFailed: no client gave a usable answer in a round; the error tells of each.
    """
    clients = _ids(num_clients, clients_ids)
    parts = ServerAppComponents(server, ServerConfig.of(config), strategy, client_manager)
    return _simulated(client_fn, clients, parts, seed, mode, run_config or {})


def run_simulation(
    server_app: ServerApp,
    client_app: ClientApp,
    num_supernodes: int,
    backend_name: str = "ray",  # noqa: ARG001 - there is no other than this process
    backend_config: Mapping[str, Any] | None = None,  # noqa: ARG001 - as above
    enable_tf_gpu_growth: bool = False,  # noqa: ARG001 - as above
    verbose_logging: bool = False,  # noqa: ARG001 - as above
    *,
    seed: int = 0,
    mode: Mode = "reference",
    run_config: Settings | None = None,
) -> Any:
    """Run a ServerApp with simulated nodes, one after the other in this process.

    Args:
        server_app: with a `server_fn`, or with a main function.
        client_app: with a `client_fn`, or with functions of messages, as the ServerApp needs.
        num_supernodes: how many nodes; they are numbered from 0, and so are their partitions.
        backend_name: not needed: there is no backend besides this process.
        backend_config: see `backend_name`.
        enable_tf_gpu_growth: see `backend_name`.
        verbose_logging: see `backend_name`.
        seed: of the choice of clients of a `server_fn`'s strategy.
        mode: see `start_simulation`.
        run_config: what contexts say of the run.

    Returns:
        The History of a `server_fn`'s strategy, or what the main function returned.

    Raises:
        ConfigError: the two apps don't go together.
    """
    clients, said = _ids(num_supernodes, None), run_config or {}
    context = Context(run_config=dict(said))
    with server_app.living(context):
        if server_app.main_fn is None:
            parts = _components(server_app, context)
            if client_app.client_fn is None:
                raise ConfigError(
                    "the ServerApp has a strategy of clients, and the ClientApp answers messages",
                    hint="give ClientApp a client_fn, or the ServerApp a main function",
                )
            return _simulated(client_app.client_fn, clients, parts, seed, mode, said)
        if client_app.client_fn is not None:
            raise ConfigError(
                "the ServerApp sends messages, and the ClientApp has a client_fn",
                hint="register functions with @app.train() and @app.evaluate(), or give the ServerApp a server_fn",
            )
        nodes = {client: number for number, client in enumerate(clients)}
        work = MessageWork(client_app, nodes, said)
        executor = SequentialExecutor({"message": work}, BroughtData(clients), seed, mode=mode)
        return server_app.main_fn(Grid(executor, nodes), context)


def _simulated(
    client_fn: Callable[[Any], Any],
    clients: Sequence[ClientId],
    parts: ServerAppComponents,
    seed: int,
    mode: Mode,
    run_config: Settings,
) -> History:
    """A strategy's run as an experiment of a simulated federation."""
    if parts.server is not None:
        raise ConfigError("a Server of one's own is not supported", hint="put what it does into a Strategy")
    nodes = Nodes(client_fn, {client: number for number, client in enumerate(clients)}, run_config)
    manager = parts.client_manager or SimpleClientManager(seed)
    algorithm = StrategyAlgorithm(parts.strategy or FedAvg(), ServerConfig.of(parts.config), nodes, manager)
    experiment = Experiment(ArrayModel(), algorithm, seed, initial={}, name="flower")
    algorithm.history.run = Federation.simulate(BroughtData(clients), mode=mode).run(experiment).history
    return algorithm.history


def _components(app: ServerApp, context: Context) -> ServerAppComponents:
    if app.server_fn is None:
        return ServerAppComponents(**app.given)
    parts = app.server_fn(context)
    if not isinstance(parts, ServerAppComponents):
        raise ConfigError(
            f"server_fn returned {type(parts).__name__}, expected ServerAppComponents",
            hint="return ServerAppComponents(strategy=..., config=ServerConfig(num_rounds=...))",
        )
    return parts


def _ids(count: int | None, ids: Sequence[str] | None) -> list[ClientId]:
    """The clients' ids."""
    if ids is None and count is None:
        raise ConfigError("there are no clients", hint="give num_clients=..., or clients_ids=[...]")
    if ids is not None and count not in (None, len(ids)):
        raise ConfigError(f"num_clients is {count}, and clients_ids names {len(ids)}", hint="give one of the two")
    found = [str(number) for number in range(count or 0)] if ids is None else [str(each) for each in ids]
    if not found or len(set(found)) != len(found):
        raise ConfigError(f"clients are at least one, each named once; found {found[:10]}", hint="name other clients")
    return found
