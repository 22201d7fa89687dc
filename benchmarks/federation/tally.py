"""A TCP proxy that counts the bytes in either direction: exact, whatever they are."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self

_PIECE = 1 << 18


class Tally:
    """Listens on loopback, and passes every connection on.

    Args:
        port: of the server on this machine.

    Attributes:
        port: where to dial instead.
        up: bytes to the server, so far.
        down: bytes from it.
    """

    def __init__(self, port: int) -> None:
        self._server, self._listening = port, socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.up = self.down = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                return
            for pair in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        try:
            while piece := source.recv(_PIECE):
                with self._lock:
                    self.up, self.down = self.up + up * len(piece), self.down + (not up) * len(piece)
                sink.sendall(piece)
        except OSError:
            pass  # the other direction has ended it
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
