"""The warden: the first process of a child, which forks the one that runs foreign code and outlives it by a moment.

It runs no foreign code and holds no channel. It is there because only a living process can clean up after another:
- when the worker ends, in whatever way, it ends every descendant, also one that left the process group, and reaps it;
- when the parent ends, in whatever way, the kernel tells it, and it does the same;
- it then ends as the worker ended, so that the parent sees one process.

Where the system lets a hostile worker kill its warden (no Landlock, no user of its own), the worker ends with it and so does
the process group, but a descendant that left the group stays. The parent asks the warden to end all with SIGTERM. Linux only.
This file must not know what the worker does.
"""

from __future__ import annotations

import os
import signal

from .system import prctl, resource

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
ORPHANED = 73
"""Exit status of a child whose parent was gone before it had begun; where there is no warden, also later."""


def split(parent: int, channel: int) -> int:
    """Become two processes; returns in the worker only.

    Args:
        parent: the process that must be there for this one to live.
        channel: the descriptor that is the worker's alone.

    Returns:
        The warden's process id, for `die_with`.
    """
    prctl(_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, as some parents leave it, nobody would see the worker end
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGCHLD, signal.SIGTERM})
    assert resource is not None  # noqa: S101 - Linux has it; for the type checker
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it ends as the worker does, and perhaps by a signal that dumps
    die_with(parent, signal.SIGTERM)
    warden = os.getpid()
    worker = os.fork()
    if worker == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        return warden
    try:
        os.close(channel)
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        _end_as(_watch(worker))
    finally:
        os._exit(ORPHANED)


def die_with(other: int, by: int = 9) -> None:
    """Let the kernel send this process a signal (9 is SIGKILL) when its parent, which must be `other`, ends; exits if it has.

    To be called after any change of user or of capabilities, because the kernel forgets it then.
    """
    prctl(_SET_PDEATHSIG, by)
    if os.getppid() != other:
        os._exit(ORPHANED)


def _watch(worker: int) -> int:
    """The worker's wait status, once it and all descendants have ended."""
    while True:
        if signal.sigwait({signal.SIGCHLD, signal.SIGTERM}) == signal.SIGTERM:
            os.kill(worker, signal.SIGKILL)
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended == worker:
                _end_the_others()
                return status
            if ended == 0:
                break


def _end_the_others() -> None:
    """Descendants become children of this process as their own parents end: until there are none, kill and reap."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                for each in _children():
                    os.kill(each, signal.SIGKILL)
                os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    after_name = file.read().rpartition(b")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            if int(after_name[1]) == os.getpid():
                found.append(int(name))
    return found


def _end_as(status: int) -> None:
    """End as the worker did: with its exit status, or by its signal."""
    if not os.WIFSIGNALED(status):
        os._exit(os.WEXITSTATUS(status))
    number = os.WTERMSIG(status)
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    os.kill(os.getpid(), number)
    os._exit(128 + number)
