"""What of an exception may leave the owner of the data it came from: its type, files, lines and functions; never a value.

Messages and arguments hold values ("could not convert 'Smith, 1962' to float"), also those of Hansa's own errors, so none
leaves unless the owner widened this. Files are named from the folder of the experiment or from the package they belong to,
because a path tells who works where. This file must not know who asks.

An exception as it leaves is `{"chain": [link, ...]}`: first the exception itself, then those behind it. A link is `{"why",
"type", "frames": [{"file", "line", "function"}, ...], "omitted"}`, and `"message"` where the owner widened it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any

from hansa.errors import ProtocolError

MOST_LINKS = 8
FIRST_FRAMES, LAST_FRAMES = 6, 24
"""Of a long traceback, such as that of an endless recursion, the two ends say it all."""
MOST_NAME, MOST_FILE, MOST_MESSAGE = 200, 300, 4000
GENERATED, ELSEWHERE = "<generated>", "<elsewhere>"
"""In place of a file: code that was made up while running; a file of no package and of no experiment."""

_WHY = {"raised": "", "cause": "caused by ", "context": "while handling ", "member": "one of them: "}
_NAME = re.compile(r"[\w.<>]+")
_FROZEN = re.compile(r"<frozen [\w.]+>")
_MOST_LINE = 10**7


def what_leaves(exception: BaseException, *, widen: bool = False, folders: Sequence[Path] = ()) -> dict[str, Any]:
    """The part of an exception that may leave.

    Args:
        exception: with its traceback, causes and members.
        widen: whether its message, cut at 4,000 characters, leaves too: only an owner's own file may say so.
        folders: of the experiment; files below are named relative to them.
    """
    known = [os.fspath(each) for each in folders] + sys.path
    roots = sorted({os.path.realpath(each) for each in known if os.path.isabs(each)}, key=len, reverse=True)
    return {"chain": [_link(why, each, roots, widen=widen) for why, each in _chain(exception)]}


def checked(data: object, *, widen: bool = False) -> dict[str, Any]:
    """What a child says has been raised, if it is such a thing; for a parent, who cannot trust the child.

    Args:
        data: as `what_leaves` makes it, after JSON.
        widen: as there: without it, messages are taken out here too.

    Raises:
        ProtocolError: it is something else, or more than `what_leaves` would make.
    """
    chain = data.get("chain") if isinstance(data, dict) else None
    if not isinstance(chain, list) or not 1 <= len(chain) <= MOST_LINKS:
        raise ProtocolError("a child described its exception in a way that nobody here understands")
    return {"chain": [_checked_link(each, widen=widen) for each in chain]}


def brief(trace: Mapping[str, Any]) -> str:
    """On one line: the type and the innermost frame."""
    link = trace["chain"][0]
    return _type(link) + (f" in {_place(link['frames'][-1])}" if link["frames"] else "")


def render(trace: Mapping[str, Any]) -> str:
    """For people, the exception first, innermost frames last as in Python's own.

    Args:
        trace: as `what_leaves` or `checked` gives it.
    """
    lines: list[str] = []
    told = False
    for link in trace["chain"]:
        lines.append(_WHY[link["why"]] + _type(link))
        for number, frame in enumerate(link["frames"]):
            if link["omitted"] and number == FIRST_FRAMES:
                lines.append(f"  ... {link['omitted']} more ...")
            lines.append(f"  {_place(frame)}")
        if "message" in link:
            told = True
            lines += [f"  says: {each}" for each in link["message"].splitlines()]
    if not told:
        lines.append("Its message and values stayed with the owner of the data, in the log there.")
    return "\n".join(lines)


def _chain(exception: BaseException) -> Iterator[tuple[str, BaseException]]:
    """Itself and those behind it, each once."""
    waiting: list[tuple[str, BaseException]] = [("raised", exception)]
    seen: set[int] = set()
    while waiting and len(seen) < MOST_LINKS:
        why, each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield why, each
        if each.__cause__ is not None:
            waiting.append(("cause", each.__cause__))
        elif each.__context__ is not None and not each.__suppress_context__:
            waiting.append(("context", each.__context__))
        if isinstance(each, BaseExceptionGroup):
            waiting += [("member", member) for member in each.exceptions[:MOST_LINKS]]


def _link(why: str, exception: BaseException, roots: Sequence[str], *, widen: bool) -> dict[str, Any]:
    frames, omitted = _ends(exception.__traceback__)
    kind = type(exception)
    link: dict[str, Any] = {
        "why": why,
        "type": _named(f"{kind.__module__}.{kind.__qualname__}"),
        "frames": [_frame(code, line, roots) for code, line in frames],
        "omitted": omitted,
    }
    if isinstance(exception, SyntaxError) and isinstance(exception.filename, str) and isinstance(exception.lineno, int):
        file = _file(exception.filename, roots)  # the place of the mistake itself is in no frame
        if file not in (GENERATED, ELSEWHERE):
            link["frames"].append({"file": file, "line": _line(exception.lineno), "function": "<syntax>"})
    if widen:
        link["message"] = _message(exception)
    return link


def _ends(traceback: TracebackType | None) -> tuple[list[tuple[CodeType, int | None]], int]:
    frames: list[tuple[CodeType, int | None]] = []
    omitted = 0
    while traceback is not None:
        frames.append((traceback.tb_frame.f_code, traceback.tb_lineno))
        if len(frames) > FIRST_FRAMES + LAST_FRAMES:
            del frames[FIRST_FRAMES]
            omitted += 1
        traceback = traceback.tb_next
    return frames, omitted


def _frame(code: CodeType, line: int | None, roots: Sequence[str]) -> dict[str, Any]:
    return {"file": _file(code.co_filename, roots), "line": _line(line), "function": _named(code.co_qualname)}


def _file(name: str, roots: Sequence[str]) -> str:
    """Relative to the nearest root; a name under which there is no file was made up, perhaps from data."""
    if _FROZEN.fullmatch(name):
        return name[:MOST_FILE]
    if not os.path.isabs(name) or not os.path.isfile(name):
        return GENERATED
    real = os.path.realpath(name)
    for root in roots:
        if real.startswith(root.rstrip("/") + "/") and root != "/":
            relative = os.path.relpath(real, root)
            return relative if len(relative) <= MOST_FILE and relative.isprintable() else ELSEWHERE
    return ELSEWHERE


def _named(name: str) -> str:
    return name[:MOST_NAME] if _NAME.fullmatch(name) else GENERATED


def _line(number: int | None) -> int:
    return number if number is not None and 0 <= number <= _MOST_LINE else 0


def _message(exception: BaseException) -> str:
    try:
        return str(exception).encode("utf-8", "replace").decode()[:MOST_MESSAGE]
    except Exception:  # noqa: BLE001 - a foreign exception's text may do anything
        return "(its message could not be made)"


def _type(link: Mapping[str, Any]) -> str:
    return str(link["type"]).removeprefix("builtins.")


def _place(frame: Mapping[str, Any]) -> str:
    return f"{frame['file']}, line {frame['line']}, in {frame['function']}"


def _checked_link(link: object, *, widen: bool) -> dict[str, Any]:
    match link:
        case {"why": str(why), "type": str(kind), "frames": list(frames), "omitted": int(omitted), **rest} if (
            why in _WHY
            and _name_fits(kind)
            and len(frames) <= FIRST_FRAMES + LAST_FRAMES + 1
            and 0 <= omitted <= _MOST_LINE
        ):
            found = {"why": why, "type": kind, "frames": [_checked_frame(each) for each in frames], "omitted": omitted}
            message = rest.get("message")
            return found | ({"message": message[:MOST_MESSAGE]} if widen and isinstance(message, str) else {})
    raise ProtocolError("a child described its exception in a way that nobody here understands")


def _checked_frame(frame: object) -> dict[str, Any]:
    match frame:
        case {"file": str(file), "line": int(line), "function": str(function)} if (
            len(file) <= MOST_FILE
            and file.isprintable()
            and not os.path.isabs(file)
            and ".." not in file.split("/")
            and 0 <= line <= _MOST_LINE
            and _name_fits(function)
        ):
            return {"file": file, "line": line, "function": function}
    raise ProtocolError("a child described its exception in a way that nobody here understands")


def _name_fits(name: str) -> bool:
    return len(name) <= MOST_NAME and _NAME.fullmatch(name) is not None
