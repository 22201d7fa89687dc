"""From the first instruction of a child to the foreign function that it is for: warden, limits, packages, call.

Nothing foreign is imported before the limits stand, not even site-packages. This file must not know what the function does; it
says how it ended, by the exit status, and of an exception what may leave (`hansa.runtime.children.trace`).
"""

from __future__ import annotations

import json
import os
import sys

from .confine import confine
from .system import die_when_closed
from .warden import ORPHANED, die_with, split
from .wire import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

RESERVED = "hansa"
"""The key of messages that are not the foreign function's: `{"hansa": "ready" | "raised", ...}`."""
RAISED, OUT_OF_MEMORY, NOT_HELD = 70, 71, 72
"""Exit statuses: the function raised an exception; it had no memory left; a limit that must hold does not."""


def main(text: str) -> None:
    """Run a child, to its end.

    Args:
        text: JSON of: `parent`, its process id; `channel`, a descriptor, or null where it is to dial (see `_dialled`);
            `limits`; `must`, the names of those that must hold; `hansa`, the folder that the package hansa lies in;
            `folders`, the scratch one first, then those of the experiment; `path`, more entries of sys.path; `target`;
            `widen`.
    """
    settings: dict[str, Any] = json.loads(text)
    descriptor: int | None = settings["channel"]
    if descriptor is None:
        channel, leash = _dialled()
        held, refused = confine(settings["limits"])
        die_when_closed(leash, ORPHANED)
    else:
        warden = split(settings["parent"], descriptor)
        os.set_inheritable(descriptor, False)
        held, refused = confine(settings["limits"])
        die_with(warden)
        channel = Channel(descriptor)
    if not os.access(settings["folders"][0], os.W_OK | os.X_OK):
        refused["scratch"] = "the user that it runs as cannot write in its folder, or not reach it"
    channel.send({RESERVED: "ready", "held": held, "refused": refused})
    if any(name not in held for name in settings["must"]):
        os._exit(NOT_HELD)
    status = RAISED
    try:
        _open_packages(settings)
        status = _call(settings["target"], channel)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it ends here and is reported
        status = _report(error, channel, settings)
    finally:
        _flush()
        os._exit(status)  # at once: what foreign threads and exit handlers would do is not waited for


def _dialled() -> tuple[Channel, int]:
    """The channel where a descriptor cannot be handed down, and no warden watches; and what closes when the parent is gone.

    Standard input says in one line where the parent listens, on this machine, and a secret word that no other process knows.
    It stays open for as long as the parent lives.
    """
    from socket import create_connection

    said = b""
    while not said.endswith(b"\n"):
        if not (letter := os.read(0, 1)):
            os._exit(ORPHANED)
        said += letter
    port, word = said.split()
    leash, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    end = create_connection(("127.0.0.1", int(port)))
    end.sendall(word)
    return Channel.over(end), leash


def probe(text: str) -> None:
    """Lay limits upon this process and print, as JSON, what is held; for `limits.probe`."""
    held, refused = confine(json.loads(text))
    os.write(1, json.dumps([held, refused]).encode())


def _open_packages(settings: dict[str, Any]) -> None:
    sys.path.remove(sys.argv[1])  # the folder this package came from: nobody else's modules lie there
    sys.argv[:] = [settings["target"]]
    import site

    site.main()
    sys.meta_path.insert(0, _HansaOf(settings["hansa"]))
    sys.path[:0] = settings["path"]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # so a log tells what preceded a sudden end


class _HansaOf:
    """Finds the package hansa where the parent has it: the two speak one version, and no other package comes along."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - a finder's signature
        target: ModuleType | None = None,  # noqa: ARG002 - a finder's signature
    ) -> ModuleSpec | None:
        if name != "hansa":
            return None
        from importlib.machinery import PathFinder

        return PathFinder.find_spec(name, [self._folder])


def _call(target: str, channel: Channel) -> int:
    from importlib import import_module

    module, _, name = target.partition(":")
    try:
        getattr(import_module(module), name)(channel)
    except SystemExit as ending:
        if ending.code is None or isinstance(ending.code, int):
            return (ending.code or 0) & 0xFF
        sys.stderr.write(f"{ending.code}\n")
        return 1
    return 0


def _report(error: BaseException, channel: Channel, settings: dict[str, Any]) -> int:
    """All of it into the log, which stays here; what may leave to the parent."""
    try:
        memory = isinstance(error, MemoryError) or "can't allocate memory" in str(error)  # the latter is PyTorch's
    except BaseException:  # noqa: BLE001 - a foreign exception's text may do anything
        memory = False
    try:
        import traceback
        from pathlib import Path

        traceback.print_exception(error)
        from hansa.runtime.children.trace import what_leaves

        folders = [Path(each) for each in settings["folders"]]
        channel.send({RESERVED: "raised", "error": what_leaves(error, widen=settings["widen"], folders=folders)})
    except BaseException:  # noqa: BLE001 - no memory for it, no parent, or a hostile exception: the status says enough
        return OUT_OF_MEMORY if memory else RAISED
    return OUT_OF_MEMORY if memory else RAISED


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:  # noqa: BLE001, S112 - foreign code may have closed or replaced it
            continue
