"""A dict that forgets: what was found out of the last clients, however many there are.

This file must not know what is remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

Name = TypeVar("Name")
Found = TypeVar("Found")

MOST = 16_384
"""So much is remembered: more than a round's clients, and a few megabytes."""


class Recent(OrderedDict[Name, Found]):
    """The last `most` entries that were set."""

    def __init__(self, most: int = MOST) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, name: Name, found: Found) -> None:
        super().__setitem__(name, found)
        if len(self) > self._most:
            self.popitem(last=False)
