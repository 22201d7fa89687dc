"""Sizes, durations and addresses as people write them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.core.units import DURATIONS, SIZES
from hansa.errors import ConfigError
from hansa.runtime.config import (
    is_loopback,
    parse_address,
    parse_dialled,
    parse_duration,
    parse_host,
    parse_size,
    parse_url,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512 MiB", 512 * 2**20),
        ("4GiB", 2**32),
        ("1.5 KiB", 1536),
        ("2 TB", 2 * 10**12),
        (" 7 B ", 7),
        ("0 B", 0),
        ("0.3 B", 0),
        (7, 7),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5 min", 300.0), ("1.5 h", 5400.0), ("250ms", 0.25), ("2 d", 172800.0), ("20 s", 20.0), (20, 20.0), (0.5, 0.5)],
)
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@given(st.integers(0, 10**15 - 1), st.sampled_from([*SIZES]))
def test_whole_sizes_are_exact(number: int, unit: str) -> None:
    assert parse_size(f"{number} {unit}") == number * SIZES[unit]


@given(st.integers(0, 10**6), st.sampled_from([*DURATIONS]))
def test_durations_are_the_nearest_float(number: int, unit: str) -> None:
    assert parse_duration(f"{number} {unit}") == float(number * DURATIONS[unit])


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("4", "the unit is missing", "B, kB, MB"),
        ("4 gib", "there is no unit 'gib'", "did you mean 'GiB'"),
        ("4 GBit", "there is no unit 'GBit'", "KiB"),
        ("-4 GiB", "found '-4 GiB'", "KiB"),
        ("4,5 GiB", "found '4,5 GiB'", "KiB"),
        ("1e9 B", "found '1e9 B'", "KiB"),
        ("", "found ''", "KiB"),
        ("9" * 5000 + " B", "found '999", "KiB"),
        ("٣ GiB", "found '٣ GiB'", "KiB"),
        (-1, "found -1", "KiB"),
        (True, "found True", "KiB"),
        (1.5, "found 1.5", "KiB"),
        (2**63, "found 9223372036854775808", "KiB"),
    ],
)
def test_what_is_no_size(text: Any, said: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"a size such as '512 MiB', .*{said}") as caught:
        parse_size(text)
    assert hint in caught.value.hint
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["5", "5 minutes", "5 Min", "-1 s", "1 h 30 min", math.nan, math.inf, -1, True, None])
def test_what_is_no_duration(text: Any) -> None:
    with pytest.raises(ConfigError, match="a duration such as '5 min'") as caught:
        parse_duration(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8470", ("127.0.0.1", 8470)),
        ("director.example.org:1", ("director.example.org", 1)),
        ("my_service:65535", ("my_service", 65535)),
        ("[::1]:8470", ("::1", 8470)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


def test_addresses_of_websockets() -> None:
    assert parse_url("wss://alice.example.org:8777") == ("wss", "alice.example.org", 8777)
    assert parse_url("ws://[::1]:0", listening=True) == ("ws", "::1", 0)
    assert parse_dialled("wss://a:1/") == ("wss", "a", 1)
    assert parse_dialled("a:1") == ("", "a", 1)


@pytest.mark.parametrize("text", ["a:1", "http://a:1", "wss://a", "wss://a:0", "ws://a:1", "wss://a:1/b", "://a:1", ""])
def test_what_is_no_address_of_a_websocket(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(text)
    assert caught.value.hint


def test_a_port_of_0_is_for_listening_only() -> None:
    assert parse_address("127.0.0.1:0", listening=True) == ("127.0.0.1", 0)
    with pytest.raises(ConfigError, match="a port from 1 to 65535, found 0"):
        parse_address("127.0.0.1:0")


@pytest.mark.parametrize(
    "text",
    [
        "localhost",
        ":8470",
        "localhost:",
        "localhost:99999",
        "localhost:http",
        "https://localhost:8470",
        "::1:8470",
        "[127.0.0.1]:8470",
        "[::1",
        "a b:1",
        "-a:1",
        "a..b:1",
        "300.1.1.1:8470",
        f"{'a' * 254}:1",
        "é.org:1",
        "a:1\n",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(text)
    assert caught.value.hint


@given(st.text(max_size=30))
def test_no_text_raises_anything_else(text: str) -> None:
    for read in (parse_size, parse_duration, parse_address, parse_host):
        try:
            read(text)
        except ConfigError:
            continue


def test_loopback() -> None:
    assert [is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1")] == [True] * 4
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.0.2.7", "example.org"))  # noqa: S104  # looked at only
