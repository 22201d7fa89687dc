"""Shared memory that has no name: it is handed on as a descriptor, and gone with the last process that holds it, however ended.

This file must not know what lies in it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import tempfile
from dataclasses import dataclass
from typing import Self


def give_back_heap() -> None:
    """Give the system what this process has freed, which glibc's malloc was told to keep; costs its next allocations."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "malloc_trim"):
            library.malloc_trim(0)


@dataclass(frozen=True)
class Shared:
    """A piece of shared memory.

    Attributes:
        descriptor: an open one; whoever made or received it closes it. Mappings outlive it.
        size: bytes, at least 1.
    """

    descriptor: int
    size: int

    @classmethod
    def new(cls, size: int) -> Self:
        """Zeros."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("hansa")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        try:
            os.ftruncate(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor, size)

    def mapped(self, *, writable: bool) -> memoryview:
        """It as memory of this process, for as long as the view is referred to."""
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        return memoryview(mmap.mmap(self.descriptor, self.size, access=access))

    def close(self) -> None:
        """Give the descriptor up."""
        os.close(self.descriptor)
