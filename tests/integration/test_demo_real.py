"""`hansa demo` as a real federation: what is seen of it, and that nothing is left of it, however it ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.conftest import Shell


def processes_of(folder: Path) -> list[str]:
    """The command lines of all processes that name a folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if str(folder) in line:
            found.append(line)
    return found


def test_it_tells_what_it_starts_and_leaves_neither_processes_nor_files(shell: Shell, tmp_path: Path) -> None:
    ended = shell.hansa("demo", "--rounds", "1", TMPDIR=str(tmp_path))
    assert ended.code == 0, ended.err
    assert "a Director at 127.0.0.1:" in ended.out
    assert "4 Envoys are up" in ended.out
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_stops_every_process_of_it(shell: Shell, tmp_path: Path) -> None:
    ended = shell.interrupted("demo", "--rounds", "100000", once="   federated", TMPDIR=str(tmp_path))
    assert (ended.code, ended.err) == (130, "stopped\n")
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
