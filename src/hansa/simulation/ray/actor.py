"""What runs in an actor: a worker's core, letters in, letters out. Ray carries the letters' memory.

This file must not know of Ray.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hansa.core.tree import ALIGNMENT, Array, aligned_copy
from hansa.errors import InputError
from hansa.experiment.reference import ONE_THREAD
from hansa.simulation.heap import keep_heap
from hansa.simulation.processes.failures import told
from hansa.simulation.processes.letters import Letter, Letters, Written
from hansa.simulation.processes.origin import Found, Origin
from hansa.simulation.processes.port import Manning
from hansa.simulation.processes.progress import SIZE, Progress
from hansa.simulation.processes.worker import Worker
from hansa.simulation.station import FusedStation


class Actor:
    """One worker.

    Args:
        target: of the origin of the works; the name of the experiment file, where `contents` has it.
        contents: the experiment file and its neighbours by path; empty where works are imported.
        path: entries for sys.path.
        manning: how the crew is manned.
    """

    def __init__(
        self, target: str, contents: Mapping[str, bytes], path: Sequence[str], manning: Mapping[str, Any]
    ) -> None:
        os.environ.update({**ONE_THREAD, "OMP_NUM_THREADS": "1"})
        keep_heap()
        sys.path[:0] = [each for each in path if each not in sys.path]
        self._found = contextlib.ExitStack()
        self._worker: Worker | None = None
        self._origin: Origin | None = None
        self._letters = Letters({})
        try:
            self._origin = Origin.unpacked(target, contents) if contents else Origin.attribute(target)
            self._begin(self._found.enter_context(self._origin.found()), Manning(**manning))
        except (Exception, SystemExit) as problem:  # noqa: BLE001 - whatever it is, the parent tells it
            self._first = memory_of(self._letters.written(Letter("failed", {"told": told(problem)})))
        else:
            self._first = memory_of(self._letters.written(Letter("ready", {"once": ""})))

    def begun(self) -> list[Array]:
        """The letter that says whether the works could be loaded."""
        return [self._first]

    def read(self, memory: Array) -> list[Array]:
        """Answer a letter."""
        assert self._worker is not None  # noqa: S101 - who could not load the works is sent nothing
        try:
            letter = self._letters.read(readable(memory))
        except InputError as problem:
            return [memory_of(self._worker.refused(problem.line))]
        try:
            return [memory_of(reply) for reply in self._worker.replies(letter)]
        except Exception as problem:  # noqa: BLE001 - a rule that cannot sum here: the parent lets it, and tells what it says
            return [memory_of(self._worker.refused(f"{type(problem).__name__}: {problem}"))]

    def leave(self) -> None:
        """Before the end: remove the files that were laid out."""
        self._worker = None
        self._found.close()
        self._origin = None

    def _begin(self, found: Found, manning: Manning) -> None:
        self._letters = Letters(found.names)
        station = FusedStation(found.works, manning.mode, manning.device, manning.engine)
        progress = Progress(memoryview(bytearray(SIZE)))  # which nobody else sees
        self._worker = Worker(found.works, found.names, self._letters, station, manning.mode, progress)


def memory_of(written: Written) -> Array:
    """A letter as an array of bytes, uint8."""
    memory = aligned_copy(np.zeros(written.size, np.uint8))
    written.put(memory.data)
    return memory


def readable(memory: Array, *, writable: bool = False) -> memoryview:
    """An array of bytes as a letter is read from: where it lies, if it lies well, and else copied."""
    well = memory.ctypes.data % ALIGNMENT == 0 and (memory.flags.writeable or not writable)
    return (memory if well else aligned_copy(memory)).data
