"""What an experiment requires of the machine of an owner who is to be asked: cores, memory, a device.

This file must not know who has them (`hansa.protocol.choosing`), nor what is required of an owner's packages (`requirements`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hansa.core.units import parse_size
from hansa.errors import ConfigError

MOST_CORES, MOST_MEMORY = 1 << 20, 1 << 60
"""More than any machine has: a requirement beyond is a mistake."""

_DEVICE = re.compile(r"[a-z]{1,30}(:[0-9]{1,4})?")


@dataclass(frozen=True)
class Requires:
    """What an owner must let an experiment use; whoever offers less is not asked, and the preview and the status say why.

    What counts is what owners offer in their Envoys' files, not what their machines have: `threads` and `memory` under
    `[limits]`, and `devices`. A simulation has one machine for all clients, and leaves this out of account.

    >>> Requires(cores=2, memory="1 GB")
    Requires(cores=2, memory=1000000000, device='')

    Attributes:
        cores: that its works may compute on.
        memory: bytes that its works may take, or a text such as "1 GB" or "512 MiB", which is turned into bytes.
        device: in the learning framework's own words, such as "cuda", "cuda:1" or "mps"; empty for none in particular.

    Raises:
        ConfigError: it is no number of cores, no size, or no device.
    """

    cores: int = 0
    memory: int | str = 0
    device: str = ""

    def __post_init__(self) -> None:
        if type(self.cores) is not int or not 0 <= self.cores <= MOST_CORES:
            raise ConfigError(
                f"cores are a whole number from 0 to {MOST_CORES}, not {self.cores!r:.40}", hint="such as 2"
            )
        object.__setattr__(self, "memory", parse_size(self.memory))
        if self.bytes > MOST_MEMORY:
            raise ConfigError(f"no machine has {self.bytes} bytes of memory", hint='say it as "4 GB"')
        if self.device and not _DEVICE.fullmatch(str(self.device)):
            raise ConfigError(f"no device: {self.device!r:.40}", hint='such as "cuda", "cuda:1" or "mps"')

    @property
    def bytes(self) -> int:
        """The memory, in bytes."""
        assert isinstance(self.memory, int)  # noqa: S101 - made so above; for the type checker
        return self.memory


NOTHING = Requires()
"""Every owner will do."""
