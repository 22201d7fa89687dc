"""What Flower's `flwr.serverapp` has: `ServerApp`, the Grid that it sends messages through, and strategies of messages."""

from hansa.interop.flower.serverapp import strategy
from hansa.interop.flower.serverapp.grid import Grid
from hansa.interop.flower.serverapp.server_app import ServerApp

__all__ = ["Grid", "ServerApp", "strategy"]
