"""A worker process seen from its parent: started, spoken with, and ended.

This file must not know what letters say, or how many workers there are.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType

from hansa.errors import NotConnected
from hansa.experiment.reference import ONE_THREAD
from hansa.simulation.processes.child import Orders
from hansa.simulation.processes.ended import in_words
from hansa.simulation.processes.memory import Shared
from hansa.simulation.processes.post import Parcel, received
from hansa.simulation.processes.printed import Printed
from hansa.simulation.processes.progress import SIZE, At, Progress

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        **ONE_THREAD,
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"),
        # The C library keeps what is freed: training allocates the same large arrays again and again.
        "MALLOC_MMAP_THRESHOLD_": "1073741824",
        "MALLOC_TRIM_THRESHOLD_": "1073741824",
        "MALLOC_TOP_PAD_": "67108864",
    }
)
"""What every worker finds in its environment, besides this process' own."""

_BEGIN = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1])['path']; "
    "from hansa.simulation.processes.child import main; main()"
)
_PATIENCE = 2.0


class Process:
    """One worker process; to be ended by `kill`.

    Args:
        orders: what it is told; its descriptors are filled in here.
        environment: variables in addition to those of `ENVIRONMENT`.

    Attributes:
        known: the keys of what it was lent.
        ready: whether it has loaded the works.
        why: why it was ended, where its parent did that.
    """

    def __init__(self, orders: Orders, environment: Mapping[str, str]) -> None:
        self.known: set[int] = set()
        self.ready, self.why = False, ""
        with contextlib.ExitStack() as given:
            self._end, theirs = socket.socketpair()
            given.enter_context(theirs)
            lifeline, ours = os.pipe()
            given.callback(os.close, lifeline)
            self._open = [ours]
            shared = Shared.new(SIZE)
            given.callback(shared.close)
            self._progress = Progress(shared.mapped(writable=False))
            descriptors = {"end": theirs.fileno(), "lifeline": lifeline, "progress": shared.descriptor}
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and our own code
                [sys.executable, "-P", "-c", _BEGIN, orders.text(**descriptors)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **ENVIRONMENT, **environment},
                pass_fds=list(descriptors.values()),
                process_group=0,
            )
        assert self._process.stdout is not None and self._process.stderr is not None  # noqa: S101, PT018 - pipes, as asked for
        self._printed = Printed(self._process.stdout, self._process.stderr)
        self._watch = [os.pidfd_open(self._process.pid)] if hasattr(os, "pidfd_open") else []
        self._open += self._watch

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def descriptors(self) -> list[int]:
        """What becomes readable when it says something, or ends."""
        return [self._end.fileno(), *self._watch]

    @property
    def at(self) -> At:
        """How far it is, also when it is dead."""
        return self._progress.at

    @property
    def last_words(self) -> str:
        """The end of what it wrote to its standard error."""
        self._printed.finish(_PATIENCE)
        return self._printed.last.strip()

    def send(self, sealed: Parcel) -> None:
        """Send a letter; where it is dead, that is seen when one waits for it."""
        with contextlib.suppress(OSError):
            sealed.send(self._end)

    def receive(self) -> memoryview | None:
        """The next letter, or None where it has ended."""
        try:
            return received(self._end, writable=True)
        except (NotConnected, OSError):
            return None

    def has_ended(self) -> bool:
        """Whether it has, and nothing that it said is left to be read."""
        if self._process.poll() is None:
            return False
        try:
            return not self._end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:  # a process that inherited the socket holds it open
            return True
        except OSError:
            return True

    def kill(self, why: str = "") -> str:
        """End it, with all that it has started, if it has not ended. Returns how it ended, in words."""
        self.why = self.why or why
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        status = self._process.wait()
        self._end.close()
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()
        return self.why or f"its worker process {in_words(status)}"

    def finish(self) -> None:
        """After `kill`: let what it printed come out."""
        self._printed.finish(_PATIENCE)
