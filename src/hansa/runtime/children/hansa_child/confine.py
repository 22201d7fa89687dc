"""The limits of a process, laid upon itself before any foreign line runs.

Most are Linux's; what a system refuses, or does not know, is reported, not raised.

Memory is limited by RLIMIT_DATA, which counts what a process may write and shares with nobody. RLIMIT_AS would count addresses:
PyTorch and CUDA reserve tens to thousands of GiB of them that they never touch, so that any useful number is either no limit or
ends honest work. What RLIMIT_DATA does not count is memory shared between processes, and each process of a child has the limit
for itself; therefore a child is also the first that the kernel ends when the whole machine runs out of memory.

This file must not know what runs under the limits, nor who asked for them.
"""

from __future__ import annotations

import ctypes
import mmap
import os

from .system import LIBC, LINUX, prctl, pwd, resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SET_DUMPABLE, _CAPBSET_DROP, _SET_NO_NEW_PRIVS, _CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL = 4, 24, 38, 47, 4
_NEWUSER, _NEWNET = 0x10000000, 0x40000000
_CAPABILITIES_V3 = 0x20080522
_KEPT_BY_ROOT = 1 << 0 | 1 << 1 | 1 << 3
"""CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER: a child of root reads and writes its owner's files as root does, and no more."""
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446
_SCOPE_SOCKETS_AND_SIGNALS = 3
_LANDLOCK_SCOPES_SINCE = 6
_MOST_DESCRIPTORS = 4096
_OF_LINUX = frozenset(
    ("first to go", "cpu", "network", "user", "privileges", "other processes", "memory dumps", "memory")
)


class Refused(Exception):
    """The system does not do this; says why."""


def size_text(count: int) -> str:
    """A number of bytes for people: 2 GiB, 1.5 MiB, 100 bytes."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << power:
            return f"{count / (1 << power):.4g} {unit}"
    return f"{count} bytes"


def confine(wanted: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Lay the limits upon this process, which must have one thread. There is no way back.

    Args:
        wanted: the fields of `hansa.runtime.children.limits.Limits`.

    Returns:
        What is held and what the system refused: the limit's name, and a sentence.
    """
    held: dict[str, str] = {}
    refused: dict[str, str] = {}

    def attempt(name: str, limit: Callable[[], str]) -> None:
        try:
            held[name] = limit() if LINUX or name not in _OF_LINUX else _only_on_linux()
        except (OSError, Refused, ValueError, AttributeError) as error:
            refused[name] = (error.strerror if isinstance(error, OSError) else None) or str(error)

    attempt("core", _no_core)
    attempt("descriptors", _descriptors)
    attempt("priority", lambda: _behind_the_parent(wanted["nice"]))
    attempt("first to go", _first_to_go)
    if wanted["files"] is not None:
        attempt("files", lambda: _files(wanted["files"]))
    if wanted["cpu"] is not None:
        attempt("cpu", lambda: _cpu(wanted["cpu"]))
    if not wanted["network"] and LINUX and os.geteuid() == 0:
        attempt("network", lambda: _no_network(with_user=False))
    if wanted["user"] is not None:
        attempt("user", lambda: _other_user(wanted["user"]))
    if not wanted["network"] and "network" not in held:
        refused.pop("network", None)  # a namespace of users may get what root, in a container, did not
        attempt("network", lambda: _no_network(with_user=True))
    attempt("privileges", _no_privileges)
    attempt("other processes", _no_other_processes)
    attempt("memory dumps", _not_dumpable)
    if wanted["memory"] is not None:
        attempt("memory", lambda: _memory(wanted["memory"]))
    return held, refused


def _only_on_linux() -> str:
    raise Refused("only Linux does this")


def _lower(name: str, value: int) -> int:
    """Set both limits, the soft and the hard one, to `value` or to the hard one that is there, if that is lower."""
    if resource is None:
        raise Refused("this system knows no such limit")
    which = getattr(resource, name)
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))
    return value


def _no_core() -> str:
    _lower("RLIMIT_CORE", 0)
    return "no core files, which would hold data"


def _descriptors() -> str:
    return f"{_lower('RLIMIT_NOFILE', _MOST_DESCRIPTORS)} open files at most"


def _files(most: int) -> str:
    return f"no file larger than {size_text(_lower('RLIMIT_FSIZE', most))}"


def _behind_the_parent(by: int) -> str:
    if not hasattr(os, "nice"):
        raise Refused("the parent sees to that here")
    os.nice(by)
    return f"yields the processor to its parent (nice +{by})" if by else "as urgent as its parent"


def _first_to_go() -> str:
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")
    return "the first to be ended when the machine runs out of memory"


def _cpu(threads: int) -> str:
    allowed = sorted(os.sched_getaffinity(0))
    start = os.getpid() % len(allowed)  # two children should not crowd onto the same ones
    chosen = (allowed + allowed)[start : start + min(threads, len(allowed))]
    os.sched_setaffinity(0, chosen)
    return f"{len(chosen)} of {len(allowed)} processors"


def _memory(most: int) -> str:
    most = _lower("RLIMIT_DATA", most)
    try:
        mmap.mmap(-1, most + mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        return f"{size_text(most)} for each process (RLIMIT_DATA)"
    raise Refused("this kernel takes RLIMIT_DATA but does not keep to it")


def _no_network(*, with_user: bool) -> str:
    uid, gid = os.geteuid(), os.getegid()
    if with_user:
        prctl(_SET_DUMPABLE, 1)  # a change of user cleared it, and with it the right to write one's own map
    _call("unshare", (_NEWUSER if with_user else 0) | _NEWNET)
    if with_user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    return "no network: in a network of its own without any connection"


def _other_user(name: str) -> str:
    if pwd is None or os.geteuid() != 0:
        raise Refused("only root can run a child as another user")
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise Refused(f"there is no user {name!r} here") from None
    groups, gid = os.getgroups(), os.getgid()
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    try:
        os.seteuid(entry.pw_uid)
        with open(os.__file__, "rb"):
            pass
    except PermissionError:
        os.seteuid(0)
        os.setresgid(gid, gid, gid)
        os.setgroups(groups)
        raise Refused(
            f"{name} may not read the Python that children run with, {os.path.dirname(os.__file__)}"
        ) from None
    os.seteuid(0)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    return f"runs as {name} (uid {entry.pw_uid})"


def _no_privileges() -> str:
    """No new privileges from any program, and none of root's but those for files: they could undo every limit here."""
    if not prctl(_SET_NO_NEW_PRIVS, 1):
        raise Refused("the kernel knows no PR_SET_NO_NEW_PRIVS")
    capability = 0
    while prctl(_CAPBSET_DROP, capability):  # until the kernel knows no more, or this process may not
        capability += 1
    prctl(_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    data = (ctypes.c_uint32 * 6)()  # two words each of 32: effective, permitted, inheritable
    _call("capget", header, data)
    keep = _KEPT_BY_ROOT if os.geteuid() == 0 else 0
    _call("capset", header, (ctypes.c_uint32 * 6)(data[0] & keep, data[1] & keep, 0, 0, 0, 0))
    return "gains no privileges, and has given up those it had"


def _no_other_processes() -> str:
    """No signal to a process outside, and no look into its memory: neither the parent's nor another child's."""
    if LIBC.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1)) < _LANDLOCK_SCOPES_SINCE:
        raise Refused("needs Landlock of Linux 6.12 or newer; running children as another user does the same")
    rules = (ctypes.c_uint64 * 3)(0, 0, _SCOPE_SOCKETS_AND_SIGNALS)  # files, network, scopes
    descriptor = _call("syscall", _LANDLOCK_CREATE, rules, ctypes.c_size_t(24), ctypes.c_uint(0))
    try:
        _call("syscall", _LANDLOCK_RESTRICT, descriptor, ctypes.c_uint(0))
    finally:
        os.close(descriptor)
    return "can neither signal nor inspect a process outside"


def _not_dumpable() -> str:
    if not prctl(_SET_DUMPABLE, 0):
        raise Refused("the kernel refused PR_SET_DUMPABLE")
    return "other processes of the same user cannot read its memory"


def _call(function: str, *arguments: Any) -> int:
    """A function of the C library.

    Raises:
        OSError: it failed.
    """
    result: int = getattr(LIBC, function)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
