"""The small pieces of transports: addresses, frames, credentials, delays, malloc."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import random
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.errors import ConfigError, ProtocolError
from hansa.transport import Credentials, delays, tune
from hansa.transport.address import Address, unusable
from hansa.transport.backoff import FIRST, LONGEST
from hansa.transport.frames import checked


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0, True),
        ("127.3.4.5:70", "127.3.4.5", 70, True),
        ("localhost:7000", "localhost", 7000, True),
        ("[::1]:7000", "::1", 7000, True),
        ("[::]:7000", "::", 7000, False),
        ("0.0.0.0:65535", "0.0.0.0", 65535, False),  # noqa: S104 - only looked at
        ("director.example.org:7000", "director.example.org", 7000, False),
        ("localhost.example.org:7000", "localhost.example.org", 7000, False),
    ],
)
def test_an_address_is_read_and_written(text: str, host: str, port: int, loopback: bool) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, address.loopback, str(address)) == (host, port, loopback, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        ":70",
        "host:",
        "host:seven",
        "host:70000",
        "host:-1",
        "::1:70",
        "[::1]70",
        "unix:/a:70",
        "a b:70",
        "h:７",
    ],
)
def test_what_is_no_address_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        Address.parse(text)


@given(st.text(max_size=20))
def test_any_text_is_an_address_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert Address.parse(text).port < 2**16


def test_why_an_address_cannot_be_listened_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = unusable(Address("127.0.0.1", port))
        assert taken.what == f"port {port} is in use already"
        assert "choose another" in taken.hint
    assert "has no address 192.0.2.1" in unusable(Address("192.0.2.1", 0)).what
    assert "'no.such.host.invalid' is not known" in unusable(Address("no.such.host.invalid", 0)).what
    assert "certificate and key" in unusable(Address("127.0.0.1", 0)).what


def test_a_frame_is_bytes_of_limited_size() -> None:
    assert checked(b"1234", 4) == b"1234"
    with pytest.raises(ProtocolError, match="5 bytes is too large: at most 4"):
        checked(b"12345", 4)
    with pytest.raises(ProtocolError, match="not str"):
        checked("text")  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="not bytearray"):
        checked(bytearray(b"it may change on its way"))  # type: ignore[arg-type]


def test_a_key_is_never_shown() -> None:
    assert "secret" not in repr(Credentials(b"certificate", b"secret", b"authority"))


def test_delays_double_and_are_spread_over_all_that_they_may_be() -> None:
    class Highest(random.Random):
        def uniform(self, a: float, b: float) -> float:  # noqa: ARG002
            return b

    bounds = list(itertools.islice(delays(Highest()), 12))
    assert bounds == [min(FIRST * 2**number, LONGEST) for number in range(12)]
    drawn = [list(itertools.islice(delays(random.Random(seed)), 12)) for seed in range(300)]  # noqa: S311
    for number, bound in enumerate(bounds):
        column = [each[number] for each in drawn]
        assert min(column) < 0.1 * bound
        assert 0.9 * bound < max(column) <= bound
    assert drawn[0] == list(itertools.islice(delays(random.Random(0)), 12))  # noqa: S311


def test_malloc_is_tuned_where_it_is_glibc_s() -> None:
    glibc = subprocess.run([sys.executable, "-c", "import ctypes; ctypes.CDLL(None).gnu_get_libc_version"], check=False)
    code = "from hansa.transport.malloc import tune; print(tune(), tune(), len(bytes(2**22)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    took = glibc.returncode == 0
    assert ended.stdout.split() == [str(took), str(took), str(2**22)]


@pytest.mark.parametrize("library", [object(), OSError("no such library"), TypeError("no name")])
def test_elsewhere_malloc_is_left_alone(monkeypatch: pytest.MonkeyPatch, library: object) -> None:
    def load(_: object) -> object:
        if isinstance(library, Exception):
            raise library
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert not tune()


def test_grpc_is_loaded_late_and_its_absence_says_what_to_install() -> None:
    code = """
import sys
import hansa.transport.grpc
assert "grpc" not in sys.modules and "cryptography" not in sys.modules
sys.modules["grpc"] = None
from hansa.transport.grpc import GrpcConnection, GrpcListener
for make in (lambda: GrpcListener(None, "127.0.0.1:0", insecure=True), lambda: GrpcConnection("127.0.0.1:1")):
    try:
        make()
    except ImportError as error:
        print(type(error).__name__, error.hint)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert ended.stdout == 'MissingExtra pip install "hansa[federation]"\n' * 2
