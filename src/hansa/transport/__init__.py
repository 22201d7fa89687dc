"""Transports: they carry frames between a Director and those who dial it, and know nothing of what a frame means.

The adapter for networks is `hansa.transport.grpc`, which needs the extra "federation".
"""

from hansa.transport.backoff import delays
from hansa.transport.credentials import Credentials
from hansa.transport.malloc import tune
from hansa.transport.memory import MemoryConnection, MemoryListener
from hansa.transport.port import CHUNK, FRAME_LIMIT, HEAD_LIMIT, Connection, Listener, Service

__all__ = [
    "CHUNK",
    "FRAME_LIMIT",
    "HEAD_LIMIT",
    "Connection",
    "Credentials",
    "Listener",
    "MemoryConnection",
    "MemoryListener",
    "Service",
    "delays",
    "tune",
]
