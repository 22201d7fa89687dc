"""Which Envoys a run asks to take part, and of those that it leaves out, why. Pure functions of what is wanted and announced.

This file must not know whether an Envoy is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from hansa.protocol.messages import Hello


class Wanted(Protocol):
    """What a submission, or its manifest, says of who should take part."""

    @property
    def envoys(self) -> tuple[str, ...]:
        """By name; none: any."""

    @property
    def labels(self) -> Mapping[str, str]:
        """That an Envoy must carry."""

    @property
    def cores(self) -> int:
        """That it must offer."""

    @property
    def memory(self) -> int:
        """Bytes that it must offer."""

    @property
    def device(self) -> str:
        """That it must offer; empty for none."""


def left_out(wanted: Wanted, envoy: str, hello: Hello) -> str:
    """Why an Envoy is not asked, for people; empty where it is.

    Args:
        wanted: what is asked for.
        envoy: the name of one.
        hello: what it announces.
    """
    if wanted.envoys and envoy not in wanted.envoys:
        return "not chosen by name"
    if lacks := sorted(wanted.labels.items() - hello.labels.items()):
        return "lacks " + ", ".join(f"{label}={value}" for label, value in lacks)
    if hello.cores < wanted.cores:
        cores = f"{hello.cores} core{'' if hello.cores == 1 else 's'}" if hello.cores else "does not say how many cores"
        return f"{'has ' if hello.cores else ''}{cores}, {wanted.cores} are required"
    if hello.memory < wanted.memory:
        memory = f"has {size(hello.memory)} of memory" if hello.memory else "does not say how much memory"
        return f"{memory}, {size(wanted.memory)} are required"
    if wanted.device and not offers(hello.devices, wanted.device):
        offered = ", ".join(hello.devices) or "no device"
        return f"offers {offered}, and {wanted.device} is required"
    return ""


def offers(devices: Iterable[str], wanted: str) -> bool:
    """Whether a device is among those offered: "cuda" is where "cuda:0" is, "cuda:1" only where it is itself."""
    return any(wanted in (device, device.partition(":")[0]) for device in devices)


def size(count: int) -> str:
    """A number of bytes as people read it, rounded to three digits: "512 MB"."""
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= length:
            return f"{count / length:.3g} {unit}"
    return f"{count} bytes"
