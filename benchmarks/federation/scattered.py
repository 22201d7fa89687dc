"""Envoys in network namespaces of their own, each at the far end of a bad wire. Needs Linux and root.

What it makes has names that begin with "hx", and goes with the context.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.federation.wires import Line, Wire
from hansa.data.owners import Owner
from hansa.pki import Identity
from hansa.protocol.peer import Role
from hansa.runtime.leash import Leash
from hansa.runtime.local import DIRECTOR, LocalFederation

CENTRE = "10.77.0.1"
"""The Director's address at every wire."""


class Ground:
    """For each name a namespace at the end of a wire. Use it in a `with` block.

    Args:
        names: of the namespaces.
        line: how bad the wires are.

    Raises:
        OSError: there are no TUN devices here, or not for this user.
        subprocess.CalledProcessError: there are no network namespaces here.
    """

    def __init__(self, names: Collection[str], line: Line) -> None:
        self._numbers, self._line = {name: number for number, name in enumerate(names, 2)}, line
        self.wires: dict[str, Wire] = {}

    def __enter__(self) -> Self:
        self._clear()
        try:
            for name, number in self._numbers.items():
                self._lay(name, number)
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def space(self, name: str) -> str:
        """The namespace of a name."""
        return f"hx{self._numbers[name]}"

    def plug(self, *, into: bool) -> None:
        """Put all cables in, or take them out."""
        for wire in self.wires.values():
            wire.plugged = into

    def reset(self, name: str) -> None:
        """Break every connection of a name off at this end, as a router does that was started anew."""
        _do("ss", "-K", "dst", f"10.77.0.{self._numbers[name]}")

    def _lay(self, name: str, number: int) -> None:
        space, near, far, there = self.space(name), f"hxn{number}", f"hxf{number}", f"10.77.0.{number}"
        within = ("ip", "netns", "exec", space)
        _do("ip", "netns", "add", space)
        self.wires[name] = Wire(near, far, self._line, seed=number)
        _do("ip", "link", "set", far, "netns", space)
        _do("ip", "addr", "add", CENTRE, "peer", there, "dev", near)
        _do("ip", "link", "set", near, "up")
        _do(*within, "ip", "addr", "add", there, "peer", CENTRE, "dev", far)
        _do(*within, "ip", "link", "set", far, "up")
        _do(*within, "ip", "link", "set", "lo", "up")

    def _clear(self) -> None:
        for wire in self.wires.values():
            wire.close()
        self.wires.clear()
        for name in self._numbers:
            with contextlib.suppress(subprocess.CalledProcessError):
                _do("ip", "netns", "del", self.space(name))


class Scattered(LocalFederation):
    """A federation whose Envoys are in the namespaces of a ground.

    Args:
        folder: for all of its files.
        owners: the owners of data.
        ground: has a namespace for each of them.
        websocket: the Envoys dial over WebSocket, not gRPC.
        bandwidth: of each Envoy, as its file says it.
    """

    def __init__(
        self, folder: Path, owners: Sequence[Owner], ground: Ground, *, websocket: bool, bandwidth: str
    ) -> None:
        super().__init__(folder, owners, change_director=self._reached, change_envoy=self._dials)
        self._ground, self._websocket, self._bandwidth = ground, websocket, bandwidth
        self._tied = Leash()

    def start(self, name: str) -> None:
        if name == DIRECTOR:
            super().start(name)
            return
        within = ("ip", "netns", "exec", self._ground.space(name))
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*within, sys.executable, "-m", "hansa", "envoy", "start", str(self.folder / name)],
                stdin=self._tied.stdin,
                stdout=log,
                stderr=log,
                env=self._tied.environment(os.environ),
                start_new_session=True,
            )

    def down(self) -> None:
        super().down()
        self._tied.close()

    def identify(self, folder: Path, name: str, role: Role, hosts: Sequence[str] = ()) -> Identity:
        return super().identify(folder, name, role, (*hosts, CENTRE) if role is Role.DIRECTOR else hosts)

    @property
    def _port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def _reached(self, text: str) -> str:
        text = text.replace(f'address = "{self.address}"', f'address = "0.0.0.0:{self._port}"')
        text = text.replace('hosts = ["localhost", "127.0.0.1"]', f'hosts = ["localhost", "127.0.0.1", "{CENTRE}"]')
        text = text.replace('websocket = ""', f'websocket = "0.0.0.0:{self._port + 1}"') if self._websocket else text
        return text.replace('beat = "20 s"', 'beat = "10 s"')

    def _dials(self, text: str) -> str:
        there = f"wss://{CENTRE}:{self._port + 1}" if self._websocket else f"{CENTRE}:{self._port}"
        text = text.replace(f'director = "{self.address}"', f'director = "{there}"')
        return text.replace('bandwidth = "unlimited"', f'bandwidth = "{self._bandwidth}"')


def _do(*command: str) -> None:
    """One command as root, in silence.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    subprocess.run(command, check=True, capture_output=True)
