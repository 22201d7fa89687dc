"""The transport for networks that let through the web only: WebSocket over mutual TLS, many calls on one connection.

Who serves and who calls is independent of who dials: `WebSocketConnection` dials a `WebSocketListener`; or the service is a
`WebSocketDialler`, and dials a `WebSocketWorker`. How calls share a connection: `hansa.transport.websocket.framing`.
"""

from hansa.transport.websocket.calling import WebSocketCaller
from hansa.transport.websocket.client import WebSocketConnection
from hansa.transport.websocket.dialler import WebSocketDialler
from hansa.transport.websocket.listener import WebSocketListener
from hansa.transport.websocket.worker import WebSocketWorker

__all__ = ["WebSocketCaller", "WebSocketConnection", "WebSocketDialler", "WebSocketListener", "WebSocketWorker"]
