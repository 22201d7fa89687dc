"""What Flower's `flwr.server` has: strategies, the client manager, the history, `ServerApp`, and a server as a process."""

from hansa.interop.flower.processes import start_server
from hansa.interop.flower.server import strategy
from hansa.interop.flower.server.client_manager import ClientManager, SimpleClientManager
from hansa.interop.flower.server.history import History
from hansa.interop.flower.server.server_config import ServerAppComponents, ServerConfig
from hansa.interop.flower.serverapp import Grid, ServerApp

__all__ = [
    "ClientManager",
    "Grid",
    "History",
    "ServerApp",
    "ServerAppComponents",
    "ServerConfig",
    "SimpleClientManager",
    "start_server",
    "strategy",
]
