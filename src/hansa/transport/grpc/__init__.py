"""The transport for networks: gRPC over mutual TLS, raw bytes in it. Needs the extra "federation".

gRPC is loaded when a server or a connection is made, not before.
"""

from hansa.transport.grpc.client import GrpcConnection
from hansa.transport.grpc.server import GrpcListener

__all__ = ["GrpcConnection", "GrpcListener"]
