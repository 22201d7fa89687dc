"""A server and its clients as processes of their own, as older programs start them: a real federation on this machine.

What they need (gRPC, the state machines) is loaded when one is started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hansa.core.work import Settings

if TYPE_CHECKING:
    from hansa.interop.flower.server.client_manager import ClientManager
    from hansa.interop.flower.server.history import History
    from hansa.interop.flower.server.server_config import ServerConfig
    from hansa.interop.flower.server.strategy.strategy import Strategy


def start_server(
    server_address: str = "127.0.0.1:8080",
    server: Any = None,
    config: ServerConfig | Mapping[str, Any] | None = None,
    strategy: Strategy | None = None,
    client_manager: ClientManager | None = None,
    grpc_max_message_length: int = 0,  # noqa: ARG001 - models travel in pieces of any number
    certificates: Path | str | None = None,
    *,
    seed: int = 0,
) -> History:
    """Listen, wait until the clients that the strategy needs are there, and run it; a Director in this process.

    The strategy's own code runs in this process too, so a server that is started again begins anew.

    Args:
        server_address: `host:port` to listen on. Without certificates only this machine can reach it, whatever the host.
        server: not supported.
        config: how many rounds, and how long each may take; or a dict of that.
        strategy: FedAvg unless given.
        client_manager: seeded, unless it is one of the program's own.
        grpc_max_message_length: not needed.
        certificates: the folder that `hansa director init` made; without one, connections are not encrypted.
        seed: of the strategy's choice of clients.

    Raises:
        ConfigError: the address is in use, or `certificates` are no folder of Hansa's.
        RunFailed: no client gave a usable answer in a round; the error tells of each.
        MissingExtra: gRPC is not installed.
    """
    from hansa.interop.flower.processes.server import serve
    from hansa.interop.flower.server.server_config import ServerAppComponents, ServerConfig

    parts = ServerAppComponents(server, ServerConfig.of(config), strategy, client_manager)
    return serve(server_address, parts, certificates, seed)


def start_client(
    server_address: str,
    client_fn: Callable[[Any], Any] | None = None,
    client: Any = None,
    grpc_max_message_length: int = 0,  # noqa: ARG001 - models travel in pieces of any number
    root_certificates: Path | str | None = None,
    insecure: bool | None = None,
    transport: str | None = None,  # noqa: ARG001 - there is one
    authentication_keys: Any = None,  # noqa: ARG001 - see `root_certificates`
    max_retries: int | None = None,  # noqa: ARG001 - see `max_wait_time`
    max_wait_time: float | None = None,
    *,
    name: str | None = None,
    run_config: Settings | None = None,
) -> None:
    """Dial a server for as long as it takes, and do what it asks until its run is over; an Envoy in this process.

    Args:
        server_address: the server's `host:port`.
        client_fn: makes a client for each visit; instead of `client`.
        client: does all visits.
        grpc_max_message_length: not needed.
        root_certificates: the folder of the identity that `hansa pki enroll` made; without one, connections are not encrypted.
        insecure: whether there are no certificates; follows from `root_certificates` unless given.
        transport: not needed.
        authentication_keys: not needed.
        max_retries: not needed: see `max_wait_time`.
        max_wait_time: seconds after which a server that never came is given up; None: never.
        name: of this client in the federation, with TLS that of its certificate; chosen at random unless given.
        run_config: what contexts say of the run.

    Raises:
        ConfigError: there is neither a client nor a `client_fn`, or there are both; or the address is no loopback one, and
            there are no certificates.
        NotConnected: the server did not come in time.
        NotAllowed: the server does not want this client, and says why.
        MissingExtra: gRPC is not installed.
    """
    from hansa.interop.flower.processes.client import serve

    serve(server_address, client_fn, client, root_certificates, insecure, max_wait_time, name, run_config or {})


def start_numpy_client(server_address: str, client: Any, **details: Any) -> None:
    """`start_client` with a `NumPyClient`."""
    start_client(server_address, client=client, **details)
