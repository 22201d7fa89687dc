"""A client as a process: an Envoy whose Collaborator, with the client's code in it, is a thread of the same process.

The session, its messages, what is kept and sent again are the Envoy's own. No code comes from the server.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, cast

from hansa.core.gate import as_update
from hansa.core.tree import Tree, read_only
from hansa.core.work import ClientContext, Settings, Work, settings_from_json, visit_key
from hansa.data import Field
from hansa.data.shards import ShardFacts
from hansa.errors import ConfigError, NotConnected
from hansa.experiment.approval import Policy
from hansa.experiment.manifest import Manifest
from hansa.interop.flower.processes.address import reachable
from hansa.interop.flower.simulation import UNTOLD
from hansa.interop.flower.works import EvaluateWork, FitWork, GetParametersWork, Nodes
from hansa.pki import Identity
from hansa.protocol import codec
from hansa.protocol.messages import Assign, Blob
from hansa.runtime.children import trace
from hansa.runtime.config import EnvoyConfig
from hansa.runtime.config.envoy import EnvoyApproval, ShardConfig
from hansa.runtime.envoy import serve as envoy
from hansa.runtime.envoy.collaborators import Collaborators, Done, FailedAtWork
from hansa.runtime.files import now


def serve(
    address: str,
    client_fn: Callable[[Any], Any] | None,
    client: Any,
    certificates: Path | str | None,
    insecure: bool | None,
    max_wait_time: float | None,
    name: str | None,
    run_config: Settings,
) -> None:
    """See `hansa.interop.flower.processes.start_client`."""
    if (client is None) is (client_fn is None):
        raise ConfigError(
            "either a client or a client_fn is needed", hint="start_client(server_address=..., client=...)"
        )
    if bool(insecure) is (certificates is not None) and insecure is not None:
        raise ConfigError("certificates and insecure contradict each other", hint="give root_certificates, or neither")
    nodes = Nodes(client_fn if client_fn is not None else lambda _: client, run_config=run_config)
    with tempfile.TemporaryDirectory(prefix="hansa-client-") as folder:
        config = _config(reachable(address, certificates), certificates, name, Path(folder))
        asyncio.run(_serve(config, nodes, certificates is None, max_wait_time))


def _config(address: str, certificates: Path | str | None, name: str | None, folder: Path) -> EnvoyConfig:
    """An Envoy's settings: what asks it has no code, so every run may."""
    identity = folder if certificates is None else Path(certificates)
    if name is None:
        name = (
            f"client-{secrets.token_hex(4)}" if certificates is None else Identity.load(identity, now=now()).peer.name
        )
    return EnvoyConfig(
        name=name,
        director=address,
        identity=identity,
        store=folder / "store",
        keep_free=0,
        shard=ShardConfig(descriptor="untold:Untold"),
        approval=EnvoyApproval(policy=Policy.AUTO),
    )


async def _serve(config: EnvoyConfig, nodes: Nodes, insecure: bool, max_wait_time: float | None) -> None:
    stop, there = asyncio.Event(), asyncio.Event()
    inside = InsideCollaborators(config, nodes, stop.set)
    serving = asyncio.create_task(
        envoy.serve(
            config,
            insecure=insecure,
            ready=lambda _: there.set(),
            stop=stop,
            collaborators=cast("Collaborators", inside),
        )
    )
    meeting = asyncio.create_task(there.wait())
    try:
        await asyncio.wait([serving, meeting], timeout=max_wait_time, return_when=asyncio.FIRST_COMPLETED)
        if not there.is_set() and not serving.done():
            raise NotConnected(
                f"no server within {max_wait_time:g} s", where=config.director, hint="start it, or wait longer"
            )
        await serving
    finally:
        for task in (serving, meeting):
            task.cancel()
        await asyncio.gather(serving, meeting, return_exceptions=True)


class InsideCollaborators:
    """Does an Envoy's work in this process, one visit at a time, always in the same thread.

    Args:
        config: the Envoy's.
        nodes: makes clients.
        over: is called when a run is over.
    """

    progress: Mapping[tuple[str, int, str], tuple[int, int]] = {}

    def __init__(self, config: EnvoyConfig, nodes: Nodes, over: Callable[[], None]) -> None:
        self._config, self._over, self._numbers = config, over, count()
        self._works: Mapping[str, Work] = {
            "get_parameters": GetParametersWork(nodes),
            "fit": FitWork(nodes),
            "evaluate": EvaluateWork(nodes),
        }
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hansa-client")

    async def census(self, scratch: Path) -> Mapping[str, Any]:  # noqa: ARG002 - nobody's data are looked at
        """What is announced: nothing is known of the client's data, not even how many they are."""
        name, schema = self._config.name, {"untold": Field((), "uint8")}
        return ShardFacts(name, "a client of a Flower program", schema, {name: {"train": UNTOLD}}).to_json()

    async def prepare(self, run: str, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
        """Nothing is needed: no code comes with the run."""

    async def work(self, asked: Assign, paths: Mapping[Blob, Path], state: Blob | None) -> Done:
        """Do one visit.

        Raises:
            FailedAtWork: the client's code raised; says where, and leaves the text to the client's own log.
        """
        read = {name: None if blob is None else paths[blob] for name, blob in _blobs(asked, state).items()}
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._visit, asked, read)
        except Exception as problem:
            traceback.print_exception(problem)
            told = trace.checked(trace.what_leaves(problem, widen=False, folders=[]), widen=False)
            raise FailedAtWork(trace.render(told)) from problem

    async def stop(self, run: str) -> None:
        """The next work needs nothing new."""

    async def forget(self, run: str) -> None:  # noqa: ARG002 - there is one
        """The run is over."""
        self._over()

    async def stop_all(self) -> None:
        """Begin no more work."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _visit(self, asked: Assign, read: Mapping[str, Path | None]) -> Done:
        """One visit, in the client's thread."""
        trees = {name: {} if path is None else read_only(codec.read(path)) for name, path in read.items()}
        context = ClientContext(
            id=asked.client,
            data={},
            round=asked.round,
            key=visit_key(0, asked.client, asked.round, asked.work, asked.occurrence),
            settings=settings_from_json(json.loads(asked.settings)),
            inputs=trees["inputs"],
            state=trees["state"],
        )
        update = as_update(self._works[asked.work](trees["broadcast"], context))
        kept = None if update.state is None else self._written(update.state)
        metrics = json.dumps(update.metrics.to_json())
        return Done(self._written(update.tree), kept, float(update.weight), metrics)

    def _written(self, tree: Tree) -> Path:
        path = self._config.store / f"{next(self._numbers)}.out"
        codec.write(tree, path)
        return path


def _blobs(asked: Assign, state: Blob | None) -> dict[str, Blob | None]:
    return {"broadcast": asked.broadcast, "inputs": asked.inputs, "state": state}
