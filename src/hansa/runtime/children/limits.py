"""What a child may take of its machine, and which of that this system holds. It must not know what runs in the child.

How each limit is laid down is in `hansa_child.confine`; here are the values that a Director, an Envoy and `hansa doctor` see.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hansa.errors import ChildDied, ConfigError, ProtocolError
from hansa.runtime.children.hansa_child import confine

NICEST = 19
"""The most that Unix lets a process yield."""
LEAST_MEMORY = 64 * 2**20
"""Bytes: with less, Python does not get as far as its first error."""
FOLDER = Path(__file__).parent
"""Where a child finds the package `hansa_child`."""
FLAGS = ("-I", "-S", "-B", "-X", "utf8", "-X", "faulthandler")
"""Of a child's interpreter: no variable, folder or package changes how it starts; it writes no bytecode, speaks UTF-8, and
leaves the stack of a native crash in its log."""
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "SYSTEMROOT")
"""The last is what Windows needs for a socket."""
PATIENCE = 60.0
"""Seconds that a child may take for its first word."""
_PROBE = "import sys; sys.path.insert(0, sys.argv[1]); from hansa_child.main import probe; probe(sys.argv[2])"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may take.

    Attributes:
        memory: bytes that each of its processes may write, not counting what they share (64 MiB at least); None: all there is.
        cpu: processors that its threads run on; None: all there are.
        network: whether it may speak to anybody but its parent.
        user: the name of the user that it runs as, if another than its parent's, which then must be root.
        files: bytes of the largest file that it may write; None: any.
        seconds: from its start until it is ended, by the clock on the wall; None: never.
        nice: by how much it yields the processor to others, 0 to 19, as Unix counts it.

    Raises:
        ConfigError: a number that makes no sense.
    """

    memory: int | None = None
    cpu: int | None = None
    network: bool = False
    user: str | None = None
    files: int | None = None
    seconds: float | None = None
    nice: int = 5

    def __post_init__(self) -> None:
        if self.memory is not None and self.memory < LEAST_MEMORY:
            raise ConfigError(
                f"a child cannot run in {confine.size_text(self.memory)} of memory",
                hint=f"allow {confine.size_text(LEAST_MEMORY)} or more",
            )
        if self.cpu is not None and self.cpu < 1:
            raise ConfigError(f"a child cannot run on {self.cpu} processors", hint="allow 1 or more")
        if self.files is not None and self.files < 0:
            raise ConfigError(f"a file cannot have {self.files} bytes", hint="allow 0 or more")
        if self.seconds is not None and not self.seconds > 0:
            raise ConfigError(f"a child cannot run for {self.seconds} s", hint="allow more than 0")
        if not 0 <= self.nice <= NICEST:
            raise ConfigError(f"a child cannot yield by {self.nice}", hint=f"choose 0 to {NICEST}")
        if self.user == "":
            raise ConfigError("a user without a name", hint="name a user of this machine, or leave it out")


@dataclass(frozen=True, slots=True)
class Held:
    """What came of limits on this system.

    Attributes:
        held: what is held; by the limit's name, a sentence for people.
        refused: what the system refused, and why. The names are the same: `memory`, `cpu`, `network`, `user`, `files`, and, for
            every child, `core`, `descriptors`, `priority`, `first to go`, `privileges`, `other processes`, `memory dumps`;
            `scratch` is refused to a child whose user cannot write in its folder.
    """

    held: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, held: object, refused: object) -> Held:
        """From what a child reported.

        Raises:
            ProtocolError: these are not two tables of text.
        """
        return cls(_table(held), _table(refused))


def apply(limits: Limits) -> Held:
    """Lay limits upon this process, for good. It must have one thread. `seconds` is not laid down: a parent holds that."""
    held, refused = confine.confine(asdict(limits))
    return Held(held, refused)


def probe(limits: Limits | None = None, *, python: Path = Path(sys.executable)) -> Held:
    """What this system holds, tried in a child that ends at once.

    Args:
        limits: what to try; if left out, every limit but another user.
        python: the interpreter of the children.

    Raises:
        ChildDied: the interpreter did not run, or not to the end.
        ProtocolError: it answered something else.
    """
    wanted = limits or Limits(memory=2**30, cpu=1, files=2**30)
    try:
        ended = subprocess.run(  # noqa: S603 - the interpreter that the owner chose, and our own code
            [python, *FLAGS, "-c", _PROBE, FOLDER, json.dumps(asdict(wanted))],
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ChildDied(f"cannot try what this system holds: {error}", where=str(python)) from error
    if ended.returncode:
        said = ended.stderr.decode("utf-8", "replace").strip()
        raise ChildDied(f"cannot try what this system holds: {said[-1000:]}", where=str(python))
    try:
        held, refused = json.loads(ended.stdout)
    except ValueError as error:
        raise ProtocolError("a child that should say what is held said something else", where=str(python)) from error
    return Held.of(held, refused)


def environment() -> dict[str, str]:
    """The variables of this process that a child may see."""
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}


def _table(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ProtocolError(f"a child should say what is held in a table, not in a {type(value).__name__}")
    return {str(name)[:100]: str(sentence)[:1000] for name, sentence in value.items()}
