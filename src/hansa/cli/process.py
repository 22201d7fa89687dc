"""What the long-lived commands have in common: logs, and starting and stopping in order."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hansa.errors import FederationError, HansaError, NotAllowed
from hansa.runtime.leash import follow
from hansa.runtime.loop import run

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

LOOK = 0.05
"""Seconds between two looks whether a process has stopped."""


class LogFormat(StrEnum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


LogFormatOption = Annotated[
    LogFormat, typer.Option("--log-format", help="Log lines for people, or one JSON object on each line.")
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Without certificates, for trying things out; on this machine only.")
]
Patience = Annotated[float, typer.Option("--seconds", min=0.1, help="How long to wait until it has stopped.")]


class JsonLines(logging.Formatter):
    """Log records as JSON objects: time, level, logger, message, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, on one line."""
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def run_until_stopped(
    serve: Callable[[asyncio.Event], Coroutine[Any, Any, None]], level: str, log_format: LogFormat = LogFormat.TEXT
) -> None:
    """Run a long-lived process; Ctrl-C and SIGTERM let it end in order, a second one at once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format is LogFormat.JSON else logging.Formatter(FORMAT))
    logging.basicConfig(handlers=[handler], level=level.upper())
    if level.upper() != "DEBUG":
        logging.getLogger("websockets").setLevel(logging.WARNING)  # it tells of every connection that opens and closes
    try:
        run(_run(serve))
    except HansaError as problem:
        if log_format is LogFormat.TEXT:
            raise
        # Whoever reads the log as JSON reads its last line so, too.
        logging.getLogger("hansa").critical("%s", problem.line)
        raise typer.Exit(1) from problem


async def _run(serve: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def ask() -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):  # not by the loop's own handlers: on Windows it has none
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(ask))
    follow(ask)
    await serve(stop)


def stop_holder(store: Path, who: str, seconds: float) -> int | None:
    """Let the process that works in a store end in order, and wait for it.

    Args:
        store: the Director's or the Envoy's.
        who: what it is, for messages.
        seconds: how long to wait.

    Returns:
        Its number; None where there was none.

    Raises:
        NotAllowed: it belongs to another user of this machine.
        FederationError: it has not ended in time.
    """
    from hansa.runtime.holder import holder

    pid = holder(store)
    if pid is None:
        return None
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError as problem:
        raise NotAllowed(f"the {who} belongs to another user of this machine (process {pid})") from problem
    until = time.monotonic() + seconds
    while holder(store) == pid:
        if time.monotonic() > until:
            raise FederationError(
                f"the {who} (process {pid}) was asked to stop, and has not stopped within {seconds:g} s",
                hint="its log says what it waits for; wait longer with --seconds",
            )
        time.sleep(LOOK)
    return pid


def stopped(folder: Path, store: Path, who: str, seconds: float, as_json: bool) -> None:
    """The command `stop`: stop it, and say so."""
    from hansa.cli.screen import document, screen

    pid = stop_holder(store, who, seconds)
    if as_json:
        document({"folder": str(folder), "was_running": pid is not None, "pid": pid})
    else:
        done = f"no {who} was running in {folder}" if pid is None else f"the {who} (process {pid}) has stopped"
        screen().print(done, soft_wrap=True)
