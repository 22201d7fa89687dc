"""Speeds as people write them, in the Envoy's file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from hansa.core.units import parse_rate
from hansa.errors import ConfigError, UnknownName
from hansa.runtime.config import EnvoyConfig, template_envoy
from hansa.runtime.config.bandwidth import Bandwidth, parse_bandwidth


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1 Mbit/s", 125_000.0),
        ("500kbit/s", 62_500.0),
        ("8 bit/s", 1.0),
        ("1.5 Gbit/s", 187.5e6),
        ("2 MB/s", 2e6),
        ("1 MiB/s", 2.0**20),
        ("unlimited", math.inf),
    ],
)
def test_speeds(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("value", "said", "hint"),
    [
        ("1 Mbit", "found '1 Mbit': there is no unit 'Mbit'", "Mbit/s"),
        ("1 mbit/s", "there is no unit 'mbit/s'", "did you mean 'Mbit/s'?"),
        ("0 Mbit/s", "found '0 Mbit/s'", "nothing would ever arrive"),
        ("-1 Mbit/s", "found '-1 Mbit/s'", "bit/s"),
        (1_000_000, "found 1000000", "bit/s"),
        (True, "found True", "bit/s"),
        ({"up": "fast"}, "up: expected a speed such as '1 Mbit/s', or 'unlimited', found 'fast'", "bit/s"),
    ],
)
def test_what_is_no_speed_is_refused(value: Any, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_bandwidth(value)
    assert said in caught.value.what
    assert hint in caught.value.hint


def test_a_way_that_there_is_not_is_refused() -> None:
    with pytest.raises(UnknownName, match="upp"):
        parse_bandwidth({"upp": "1 Mbit/s"})


@pytest.mark.parametrize(
    ("line", "bandwidth"),
    [
        ('bandwidth = "unlimited"', Bandwidth()),
        ('bandwidth = "1 Mbit/s"', Bandwidth(125e3, 125e3)),
        ('bandwidth = { up = "1 Mbit/s" }', Bandwidth(up=125e3)),
        ('bandwidth = { up = "1 Mbit/s", down = "8 Mbit/s" }', Bandwidth(125e3, 1e6)),
    ],
)
def test_the_file_says_one_speed_or_two(tmp_path: Path, line: str, bandwidth: Bandwidth) -> None:
    text = template_envoy("alice", "127.0.0.1:1", "shards:One")
    assert 'bandwidth = "unlimited"' in text
    assert 'stall = "10 min"' in text
    (tmp_path / "envoy.toml").write_text(text.replace('bandwidth = "unlimited"', line))
    config = EnvoyConfig.load(tmp_path / "envoy.toml")
    assert config.bandwidth == bandwidth
    assert config.limits.stall == 600.0
