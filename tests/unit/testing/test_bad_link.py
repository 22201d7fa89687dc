"""The bad link is as bad as one asks, and counts what it carries."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from hansa.testing.links import BadLink, Quality

PATIENCE = 10.0


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that says what it hears."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                threading.Thread(target=answer, args=(client,), daemon=True).start()

    def answer(client: socket.socket) -> None:
        with client, suppress(OSError):
            while heard := client.recv(2**16):
                client.sendall(heard)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(PATIENCE)


def said(client: socket.socket, content: bytes) -> bytes:
    """What comes back of something; less where the link is cut."""
    heard = b""
    sending = threading.Thread(target=lambda: client.sendall(content))
    sending.start()
    with suppress(OSError):
        while len(heard) < len(content) and (piece := client.recv(2**16)):
            heard += piece
    sending.join(PATIENCE)
    return heard


def dialled(link: BadLink) -> socket.socket:
    return socket.create_connection(("127.0.0.1", link.port), timeout=PATIENCE)


@pytest.mark.parametrize("quality", [Quality(), Quality(rate=2e6), Quality(delay=0.01), Quality(rate=2e6, delay=0.01)])
def test_what_goes_in_comes_out_and_is_counted(echo: int, quality: Quality) -> None:
    content = bytes(range(256)) * 400
    with BadLink(echo, quality) as link, dialled(link) as client:
        assert said(client, content) == content
        assert link.up == len(content)
        assert link.connections == 1
    assert link.down == len(content)


def test_a_cut_ends_what_there_is_and_new_connections_are_made(echo: int) -> None:
    with BadLink(echo) as link:
        with dialled(link) as client:
            assert said(client, b"before") == b"before"
            assert link.cut() == 1
            assert said(client, b"") == b""
            with suppress(OSError):
                assert client.recv(1) == b""
        with dialled(link) as client:
            assert said(client, b"after") == b"after"


def test_while_it_is_parted_nobody_gets_through(echo: int) -> None:
    with BadLink(echo) as link:
        link.part()
        with dialled(link) as client, suppress(OSError):
            assert client.recv(1) == b""
        link.mend()
        with dialled(link) as client:
            assert said(client, b"mended") == b"mended"
        assert link.connections == 1
