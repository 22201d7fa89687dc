"""The memory of a process and all that it has started, as the kernel shares it out: proportional set size. Linux only."""

from __future__ import annotations

from pathlib import Path

from benchmarks.federation.processes import descendants


def pss(pid: int) -> int:
    """Bytes of a process: its own pages, and its part of those that it shares; 0 once it has gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def family(pid: int) -> list[int]:
    """A process and its descendants; empty once it has gone."""
    try:
        return [pid, *descendants(pid)]
    except OSError:
        return []


def together(pid: int) -> int:
    """Bytes of a process and its descendants."""
    return sum(map(pss, family(pid)))
