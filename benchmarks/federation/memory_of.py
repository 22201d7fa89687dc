"""Memory of processes that share files, such as an Envoy and its children, as it would be were they alone. Linux only.

The kernel's proportional set size (PSS) divides a page by all who map it, so that on a machine where others run the same
libraries it is too small: the parts that are files are counted whole here, once for all of the processes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_MAPPING = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ \S+ ([0-9a-f]+) (\S+) ([0-9]+) ")


def alone(pids: Iterable[int]) -> int:
    """Bytes that these processes take together.

    Raises:
        OSError: one has just ended.
    """
    own, files = 0, dict[tuple[bytes, ...], int]()
    for pid in pids:
        place: tuple[bytes, ...] = ()
        resident = 0
        for line in Path(f"/proc/{pid}/smaps").read_bytes().splitlines():
            name, _, rest = line.partition(b":")
            if match := _MAPPING.match(line):
                place = match.groups()
            elif name == b"Rss":
                resident = int(rest.split()[0])
            elif name == b"Anonymous":
                held = resident - int(rest.split()[0])
                if place[2] != b"0":
                    files[place] = max(files.get(place, 0), held)
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        own += int(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss_Anon:")))
    return 1024 * (own + sum(files.values()))


def proportional(pids: Iterable[int]) -> int:
    """Their proportional set size, in bytes, as the kernel counts it.

    Raises:
        OSError: one has just ended.
    """
    rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() for pid in pids)
    return 1024 * sum(int(line.split()[1]) for lines in rollups for line in lines if line.startswith("Pss:"))
