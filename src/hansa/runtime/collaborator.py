"""The Collaborator: the child process of an Envoy that reads the owner's data and does what one run asks of its clients.

It runs the owner's `ShardDescriptor` and the scientist's experiment. It holds no key, no journal, no network: what it needs
lies in files that it is told of, and its answers it writes to files of its own folder.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hansa.core import tree
from hansa.core.gate import as_update
from hansa.core.population import ClientId
from hansa.core.work import ClientContext, settings_from_json, visit_key
from hansa.data.documents import schema_from_json
from hansa.data.schema import Schema, check
from hansa.data.shards import ShardDescriptor, beside, hosted
from hansa.errors import UnknownName
from hansa.experiment import load_experiment
from hansa.experiment.device import NoSuchDevice, chosen
from hansa.experiment.files import ExperimentFile
from hansa.experiment.reference import threads
from hansa.protocol import codec
from hansa.runtime.census import descriptor_of
from hansa.runtime.children.trace import what_leaves
from hansa.runtime.points import passes
from hansa.runtime.printed import printing
from hansa.transport.malloc import tune

if TYPE_CHECKING:
    from hansa.runtime.children.hansa_child.wire import Channel


TELL = 1.0
"""Seconds from one word about a work's progress to the next, at least."""


def main(channel: Channel) -> None:
    """Do what is asked, visit by visit, until the Envoy hangs up."""
    tune()
    start = channel.receive()
    if start is None:
        return
    entry, widen = Path(start["entry"]), bool(start["widen"])
    folders = [entry.parent, Path(start["shard"]["folder"])]
    with ExitStack() as stack:
        stack.enter_context(threads("reference", start["threads"]))
        stack.enter_context(beside(Path(start["shard"]["folder"])))
        try:
            loaded = load_experiment(entry)
            stack.enter_context(loaded.importing())
            work = _Work(loaded, start, _Progress(channel))
        except NoSuchDevice:  # its text holds words of the experiment's, so the Envoy says it in its own
            channel.send({"lacks": "device"})
            return
        except (Exception, SystemExit) as problem:  # noqa: BLE001 - foreign code may raise anything; it is told, and no more
            channel.send({"broken": what_leaves(problem, widen=widen, folders=folders)})
            return
        passes("collaborator: experiment loaded")
        channel.send({"ready": True})
        while (message := channel.receive()) is not None:
            passes("collaborator: asked")
            with printing(sys.stderr) as printed:
                try:
                    answer = work.visit(message)
                except (Exception, SystemExit) as problem:  # noqa: BLE001 - as above
                    answer = {"failed": what_leaves(problem, widen=widen, folders=folders)}
            if start["logs"]:
                answer["printed"] = printed.text
            passes("collaborator: update written")
            channel.send(answer)


class _Progress:
    """Tells the Envoy how far a work is, now and then."""

    def __init__(self, channel: Channel, clock: Callable[[], float] = time.monotonic) -> None:
        self._channel, self._clock, self._told = channel, clock, -math.inf

    def __call__(self, done: int, of: int) -> None:
        if (now := self._clock()) - self._told >= TELL:
            self._told = now
            self._channel.send({"progress": [int(done), int(of)]})


class _Work:
    """One run's works on one owner's data."""

    def __init__(self, loaded: ExperimentFile, start: Mapping[str, Any], progress: _Progress) -> None:
        self._progress = progress
        self._works, self._seed = loaded.experiment.plan.works, loaded.experiment.seed
        self._folder, self._numbers = Path(start["folder"]), count()
        self._device = chosen(loaded.experiment.device, start["devices"])
        self._schema = schema_from_json(start["schema"]) if start["schema"] else None
        self._clients = hosted(descriptor_of(start["shard"]), start["envoy"])
        self._data: dict[ClientId, Mapping[str, Any]] = {}

    def visit(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Do one work for one client, and say where its answer lies."""
        if asked["work"] not in self._works:
            raise UnknownName.among("work", asked["work"], self._works)
        broadcast = codec.read(Path(asked["broadcast"]))
        update = as_update(self._works[asked["work"]](broadcast, self._context(asked)))
        return {
            "worked": {
                "update": self._write(update.tree),
                "state": None if update.state is None else self._write(update.state),
                "weight": repr(float(update.weight)),  # as text: JSON has no number for NaN
                "metrics": json.dumps(update.metrics.to_json()),
            }
        }

    def _context(self, asked: Mapping[str, Any]) -> ClientContext:
        client = asked["client"]
        return ClientContext(
            id=client,
            data=self._shard(client),
            round=asked["round"],
            key=visit_key(self._seed, client, asked["round"], asked["work"], asked["occurrence"]),
            settings=settings_from_json(json.loads(asked["settings"])),
            inputs=codec.read(Path(asked["inputs"])) if asked["inputs"] else {},
            state=codec.read(Path(asked["state"])) if asked["state"] else {},
            device=self._device,
            progress=self._progress,
        )

    def _shard(self, client: ClientId) -> Mapping[str, Any]:
        """The client's data by split, read when it is first asked and checked against the schema."""
        if client not in self._data:
            if client not in self._clients:
                raise UnknownName.among("client", client, self._clients)
            self._data[client] = _splits(self._clients[client], self._schema, client)
        return self._data[client]

    def _write(self, leaves: tree.Tree) -> str:
        path = self._folder / f"{next(self._numbers)}.out"
        codec.write(leaves, path)
        return str(path)


def _splits(descriptor: ShardDescriptor, schema: Schema | None, client: ClientId) -> dict[str, Any]:
    held = {"train": descriptor.train(), "test": descriptor.test()}
    splits = {split: dataset for split, dataset in held.items() if dataset is not None and len(dataset)}
    for dataset in splits.values():
        if schema is not None:
            check(dataset, schema, client=client, origin="the federation's schema")
    return splits
