"""The calls over a WebSocket: one thread reads and sorts what comes by its stream, the others wait for theirs."""

from __future__ import annotations

import contextlib
import queue
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect
from websockets.sync.connection import Connection
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from .calls import Finished, Gone, Refused
from .framing import PIECE, WINDOW, decode, encode

CALLS, SERVES = Subprotocol("hansa.v1"), Subprotocol("hansa.v1.serves")
"""What who dials is going to do: an Envoy calls, a Director serves."""

OPTIONS: Mapping[str, Any] = {"compression": None, "max_size": 5 + PIECE}

PATIENCE = 60.0
"""Seconds to wait for the Director's part of a call."""


class WebSocketStream:
    """One call."""

    def __init__(self, link: WebSocketLink, number: int) -> None:
        self._link, self._number = link, number
        self._came: queue.Queue[tuple[str, bytes, int]] = queue.Queue()
        self._credit, self._read, self._room = WINDOW, 0, threading.Condition()
        self._part, self._cost = bytearray(), 0
        self.over = False

    def send(self, frame: bytes) -> None:
        """A frame in parts, each as soon as there is credit for it."""
        parts = [frame[place : place + PIECE] for place in range(0, len(frame), PIECE)] or [b""]
        for number, part in enumerate(parts, 1):
            with self._room:
                if not self._room.wait_for(lambda: self._credit > 0 or self.over, PATIENCE):
                    raise Gone("the Director reads nothing")
                self._credit -= 5 + len(part)
            if not self.over:
                self._link.write(encode("DATA" if number == len(parts) else "PART", self._number, part))

    def end(self) -> None:
        """The caller's END."""
        if not self.over:
            self._link.write(encode("END", self._number))

    def receive(self, seconds: float) -> bytes | None:
        """The next frame; None where none came. Raises Gone where the call has ended."""
        try:
            kind, content, cost = self._came.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        if kind == "FAILED":
            raise Refused(content)
        if kind == "END":
            raise Finished("the end")
        if kind == "GONE":
            raise Gone(content.decode())
        self._read += cost
        if self._read >= WINDOW // 4 and not self.over:
            self._link.write(encode("CREDIT", self._number, self._read.to_bytes(4, "big")))
            self._read = 0
        return content

    def all(self) -> Iterator[bytes]:
        """Every frame up to the end."""
        with contextlib.suppress(Finished):
            while (frame := self.receive(PATIENCE)) is not None:
                yield frame
            raise Gone("the Director does not answer")

    def cancel(self) -> None:
        """The caller's CANCEL, unless it is over."""
        if not self.over:
            self.over = True
            self._link.write(encode("CANCEL", self._number))

    def came(self, kind: str, content: bytes) -> None:
        """What the reader found for this stream."""
        cost = 0
        if kind == "CREDIT":
            with self._room:
                self._credit += int.from_bytes(content, "big")
                self._room.notify_all()
            return
        if kind in ("PART", "DATA"):
            self._part += content
            self._cost += 5 + len(content)
            if kind == "PART":
                return
            content, cost = bytes(self._part), self._cost
            self._part, self._cost = bytearray(), 0
        self._came.put((kind, content, cost))
        if kind != "DATA":
            self.over = True
            with self._room:
                self._room.notify_all()


class WebSocketLink:
    """A connection that is open; who dialled does not matter."""

    def __init__(self, socket: Connection) -> None:
        self._socket = socket
        self._streams: dict[int, WebSocketStream] = {}
        self._writing, self._last, self._over = threading.Lock(), 0, ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def session(self) -> WebSocketStream:
        """A session."""
        return self._open("session")

    def call(self, frame: bytes) -> bytes:
        """A call."""
        stream = self._open("call")
        stream.send(frame)
        (answer,) = stream.all()
        return answer

    def upload(self, head: bytes, chunks: Iterable[bytes]) -> bytes:
        """An upload."""
        stream = self._open("upload")
        try:
            stream.send(head)
            for chunk in chunks:
                stream.send(chunk)
            stream.end()
            (answer,) = stream.all()
        finally:
            with contextlib.suppress(Gone):
                stream.cancel()
        return answer

    def download(self, head: bytes) -> Iterator[bytes]:
        """A download."""
        stream = self._open("download")
        stream.send(head)
        return stream.all()

    def close(self) -> None:
        """Close the connection, whatever is under way."""
        self._socket.close()
        self.wait()

    def wait(self) -> None:
        """Until it is over."""
        self._reader.join()

    def write(self, message: bytes) -> None:
        """One WebSocket message."""
        try:
            with self._writing:
                self._socket.send(message)
        except ConnectionClosed as problem:
            raise Gone(str(problem)) from None

    def _open(self, method: str) -> WebSocketStream:
        if self._over:
            raise Gone(self._over)
        self._last += 1
        stream = self._streams[self._last] = WebSocketStream(self, self._last)
        self.write(encode("OPEN", self._last, method=method))
        return stream

    def _read(self) -> None:
        try:
            for message in self._socket:
                kind, number, content, _ = decode(message if isinstance(message, bytes) else b"")
                stream = self._streams.get(number)
                if stream is not None:
                    stream.came(kind, content)
                    if stream.over:
                        del self._streams[number]
        except ConnectionClosed as problem:
            self._over = str(problem)
        finally:
            self._over = self._over or "the connection was closed"
            for stream in list(self._streams.values()):
                stream.came("GONE", self._over.encode())


def dialled(address: str, tls: ssl.SSLContext | None, name: str) -> WebSocketLink:
    """A connection to a Director that listens: `wss://host:port` with certificates, or `ws://127.0.0.1:port` and a name."""
    header = {} if tls else {"hansa-peer": f"envoy/{name}"}
    try:
        with contextlib.ExitStack() as stack:
            dialling = connect(address, ssl=tls, subprotocols=[CALLS], additional_headers=header, proxy=None, **OPTIONS)
            socket = stack.enter_context(dialling)
            stack.pop_all()  # it is the link's to close
    except (OSError, InvalidHandshake, EOFError, ConnectionClosed) as problem:
        raise Gone(f"cannot connect: {problem}") from None
    return WebSocketLink(socket)


class Door:
    """Listens, with certificates, until it is closed: who comes in with a Director's certificate is a connection."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        self._came: queue.Queue[WebSocketLink] = queue.Queue()
        self._server = serve(self._comes, host, port, ssl=tls, subprotocols=[SERVES], **OPTIONS)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def next(self) -> WebSocketLink:
        """Wait for the next connection."""
        return self._came.get()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()

    def _comes(self, socket: ServerConnection) -> None:
        if not isinstance(socket.socket, ssl.SSLSocket) or not is_director(socket.socket.getpeercert() or {}):
            return
        link = WebSocketLink(socket)
        self._came.put(link)
        link.wait()


def is_director(certificate: Mapping[str, Any]) -> bool:
    """Whether a certificate that TLS has checked is a Director's."""
    return any(kind == "URI" and name.startswith("hansa:director/") for kind, name in certificate["subjectAltName"])
