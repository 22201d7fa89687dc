"""The next client's data, read while the present client is at work. For data that are read when they are asked for.

This file must not know what is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from hansa.core.work import ClientContext
from hansa.data.ahead import ahead
from hansa.simulation.shard import Shard

SLOW = 1e-3
"""Seconds of reading that are worth a thread."""

DEPTH = 2
"""So many clients' data wait, at most."""


def prepared(contexts: Iterator[ClientContext]) -> Iterator[ClientContext]:
    """The same contexts; once a work has looked at data that took a while to read, those of the next clients are read ahead.

    What reading raises is raised where a work looks.
    """
    first = next(contexts, None)
    if first is None:
        return
    yield first
    if isinstance(first.data, Shard) and first.data.seconds > SLOW:
        with closing(ahead(map(_read, contexts), DEPTH)) as ready:
            yield from ready
    else:
        yield from contexts


def _read(context: ClientContext) -> ClientContext:
    if isinstance(context.data, Shard):
        context.data.read()
    return context
