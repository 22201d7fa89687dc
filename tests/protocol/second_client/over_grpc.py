"""The calls over gRPC, with messages of raw bytes: no generated code, and no protobuf."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc

from .calls import Finished, Gone, Refused

SERVICE, FAULT = "hansa.v1.Federation", "hansa-fault-bin"
OPTIONS = [("grpc.max_receive_message_length", 4 * 2**20 + 1), ("grpc.max_send_message_length", 4 * 2**20 + 1)]
PATIENCE = 60.0


class GrpcSession:
    """A session: what is sent goes through a queue, and what comes is put into another by a thread."""

    def __init__(self, method: Callable[..., Any], metadata: Any) -> None:
        self._outgoing: queue.Queue[bytes] = queue.Queue()
        self._incoming: queue.Queue[bytes | Exception] = queue.Queue()
        self._call = method(iter(self._outgoing.get, None), metadata=metadata)
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, frame: bytes) -> None:
        """A zero byte, and the frame."""
        self._outgoing.put(b"\0" + frame)

    def receive(self, seconds: float) -> bytes | None:
        """The next frame; None where none came."""
        try:
            came = self._incoming.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        if isinstance(came, Exception):
            raise came
        return came

    def _read(self) -> None:
        end: Exception = Gone("the stream broke")
        try:
            for message in self._call:
                if message[:1] != b"\0":
                    end = Refused(message[1:]) if message else Finished("the end")
                    break
                self._incoming.put(message[1:])
        except grpc.RpcError as problem:
            end = told(problem)
        self._call.cancel()
        self._incoming.put(end)


class GrpcLink:
    """A connection: with certificates, or to this machine with a name."""

    def __init__(self, address: str, identity: Path | None, name: str) -> None:
        self._who: Any = ()
        if identity is None:
            self._who = (("hansa-peer", f"envoy/{name}"),)
            self._channel = grpc.insecure_channel(address, options=OPTIONS)
        else:
            ca, key, certificate = ((identity / f"{each}.pem").read_bytes() for each in ("ca", "key", "cert"))
            proof = grpc.ssl_channel_credentials(ca, key, certificate)
            self._channel = grpc.secure_channel(address, proof, options=OPTIONS)
        path = f"/{SERVICE}/"
        self._session = self._channel.stream_stream(path + "Session")
        self._call = self._channel.unary_unary(path + "Call")
        self._upload = self._channel.stream_stream(path + "Upload")
        self._download = self._channel.unary_stream(path + "Download")

    def session(self) -> GrpcSession:
        """A session."""
        return GrpcSession(self._session, self._who)

    def call(self, frame: bytes) -> bytes:
        """A call."""
        try:
            answer: bytes = self._call(frame, metadata=self._who, timeout=PATIENCE)
        except grpc.RpcError as problem:
            raise told(problem) from None
        return answer

    def upload(self, head: bytes, chunks: Iterable[bytes]) -> bytes:
        """An upload, its end marked."""

        def messages() -> Iterator[bytes]:
            yield head
            yield from filter(None, chunks)
            yield b""

        call = self._upload(messages(), metadata=self._who)
        try:
            message: bytes = next(call)
        except grpc.RpcError as problem:
            raise told(problem) from None
        finally:
            call.cancel()
        if message[:1] != b"\0":
            raise Refused(message[1:])
        return message[1:]

    def download(self, head: bytes) -> Iterator[bytes]:
        """A download."""
        call = self._download(head, metadata=self._who)
        try:
            yield from call
        except grpc.RpcError as problem:
            raise told(problem) from None
        finally:
            call.cancel()

    def close(self) -> None:
        """Close the connection, whatever is under way."""
        with contextlib.suppress(ValueError):
            self._channel.close()


def told(problem: Any) -> Exception:
    """The error in a call's trailing metadata, if there is one."""
    trailing = dict(problem.trailing_metadata() or ()) if hasattr(problem, "trailing_metadata") else {}
    return Refused(trailing[FAULT]) if FAULT in trailing else Gone(str(problem.details()))
