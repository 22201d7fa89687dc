"""The floor of a transfer: grpc.aio over mutual TLS, raw bytes in chunks of a mebibyte, nothing kept.

`python -m benchmarks.federation.bare serve FOLDER SIZE` is the server; with `client FOLDER PORT SIZE` a process for each client
moves bytes when it is told so. Both sides tune malloc as a Director and an Envoy do.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from benchmarks.federation.movers import obeying
from hansa.transport.malloc import tune

CHUNK = 1 << 20
METHOD = "/bare/{}"
OPTIONS = [("grpc.max_receive_message_length", 4 * CHUNK), ("grpc.max_send_message_length", 4 * CHUNK)]


async def serve(folder: Path, size: int) -> None:
    """Give `size` bytes to whoever downloads, and take what is uploaded, until the input ends."""
    piece = bytes(CHUNK)

    async def download(_: bytes, context: Any) -> None:
        for at in range(0, size, CHUNK):
            await context.write(piece if at + CHUNK <= size else piece[: size - at])

    async def upload(chunks: AsyncIterator[bytes], _: Any) -> bytes:
        async for _chunk in chunks:
            pass
        return b""

    server = grpc.aio.server(options=OPTIONS)
    handlers = {
        "Download": grpc.unary_stream_rpc_method_handler(download),
        "Upload": grpc.stream_unary_rpc_method_handler(upload),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare", handlers),))
    key, certificate, authority = _proof(folder)
    proof = grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", proof)
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


async def client(folder: Path, port: int, size: int) -> None:
    """Move `size` bytes whenever the parent says "down" or "up"."""
    piece = bytes(CHUNK)
    key, certificate, authority = _proof(folder)
    proof = grpc.ssl_channel_credentials(authority, key, certificate)
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", proof, options=OPTIONS) as channel:
        download, upload = (
            channel.unary_stream(METHOD.format("Download")),
            channel.stream_unary(METHOD.format("Upload")),
        )

        async def down() -> None:
            call = download(b"")
            while (await call.read()) is not grpc.aio.EOF:
                pass

        async def up() -> None:
            call = upload()
            for at in range(0, size, CHUNK):
                await call.write(piece if at + CHUNK <= size else piece[: size - at])
            await call.done_writing()
            await call

        await obeying({"down": down, "up": up})


def _proof(folder: Path) -> tuple[bytes, bytes, bytes]:
    """Key, certificate, authority, in PEM."""
    return (folder / "key").read_bytes(), (folder / "certificate").read_bytes(), (folder / "authority").read_bytes()


if __name__ == "__main__":
    tune()
    what, where, *numbers = sys.argv[1:]
    asyncio.run((serve if what == "serve" else client)(Path(where), *map(int, numbers)))
