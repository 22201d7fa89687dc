"""The census: the child process of an Envoy that looks at the owner's data once, when the Envoy starts.

It runs the owner's own code only, and loads no more than that needs: an Envoy is not in session before it has ended.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hansa.data.documents import schema_from_json
from hansa.data.shards import ShardDescriptor, announce, beside, load_descriptor
from hansa.errors import HansaError

if TYPE_CHECKING:
    from hansa.runtime.children.hansa_child.wire import Channel


def census(channel: Channel) -> None:
    """Look at the owner's data once, and tell what may be announced of them: sizes and shapes, no values.

    What it says stays with the Envoy.
    """
    start = channel.receive()
    if start is None:
        return
    try:
        folder = Path(start["shard"]["folder"])
        with beside(folder):
            descriptor = descriptor_of(start["shard"])
            expected = schema_from_json(start["schema"]) if start["schema"] else None
            facts = announce(descriptor, start["envoy"], expected, checked=start["shard"]["check"])
        channel.send({"facts": facts.to_json()})
    except HansaError as problem:
        if problem.__cause__ is not None:  # the owner's own code raised: where, and with which text, goes to their log
            traceback.print_exception(problem.__cause__)
        channel.send({"refused": {"what": problem.what, "where": problem.where, "hint": problem.hint}})


def descriptor_of(shard: Mapping[str, Any]) -> ShardDescriptor:
    """The owner's descriptor, as an Envoy names it to its children."""
    return load_descriptor(shard["descriptor"], shard["parameters"], Path(shard["folder"]))
