"""One function dials whatever an address names; and loads nothing else for it."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from hansa.errors import ConfigError
from hansa.protocol.peer import Peer, Role
from hansa.testing.stages import Scripted
from hansa.transport.address import Address, parted
from hansa.transport.dial import dialled
from hansa.transport.grpc import GrpcConnection, GrpcListener
from hansa.transport.websocket import WebSocketConnection, WebSocketListener

ALPHA = Peer("alpha", Role.ENVOY)


@pytest.mark.parametrize(
    ("text", "scheme", "address"),
    [
        ("wss://director.example.org:443", "wss", Address("director.example.org", 443)),
        ("wss://director.example.org:443/", "wss", Address("director.example.org", 443)),
        ("ws://[::1]:0", "ws", Address("::1", 0)),
        ("127.0.0.1:7000", "", Address("127.0.0.1", 7000)),
    ],
)
def test_an_address_is_parted(text: str, scheme: str, address: Address) -> None:
    assert parted(text) == (scheme, address)


@pytest.mark.parametrize(
    "text",
    [
        "https://a:1",
        "grpc://a:1",
        "://a:1",
        "wss://a",
        "wss://a:1/path",
        "wss://a:1//",
        "wss://u@a:1",
        "WSS://a:1",
        "a:1/",
    ],
)
def test_what_is_no_address_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        parted(text)


def test_an_address_chooses_its_transport() -> None:
    async def run() -> None:
        for listener, kind in (
            (GrpcListener(Scripted(), "127.0.0.1:0", insecure=True), GrpcConnection),
            (WebSocketListener(Scripted(), "127.0.0.1:0", insecure=True), WebSocketConnection),
        ):
            async with dialled(await listener.start(), insecure=ALPHA) as connection:
                assert isinstance(connection, kind)
                assert await connection.call(b"x") == b"x"
            await listener.stop()
        with pytest.raises(ConfigError, match="needs credentials"):
            dialled("wss://127.0.0.1:1")

    asyncio.run(run())


def test_grpc_is_not_loaded_for_websocket_nor_websocket_for_grpc() -> None:
    code = """
import asyncio, sys
from hansa.protocol.peer import Peer, Role
from hansa.transport.dial import dialled
assert "grpc" not in sys.modules and "websockets" not in sys.modules
async def main():
    dialled("ws://127.0.0.1:1", insecure=Peer("a", Role.ENVOY))
    print("grpc" in sys.modules, "websockets" in sys.modules, "cryptography" in sys.modules)
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert ended.stdout == "False True False\n"
