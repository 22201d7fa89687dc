"""What Flower's `flwr.client` has: the base classes of clients, `ClientApp`, and clients as processes of their own."""

from hansa.interop.flower.client.client import Client, NumPyClient
from hansa.interop.flower.clientapp import ClientApp
from hansa.interop.flower.processes import start_client, start_numpy_client

__all__ = ["Client", "ClientApp", "NumPyClient", "start_client", "start_numpy_client"]
