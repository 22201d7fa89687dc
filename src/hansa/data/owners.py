"""Owners on one machine: who reads which data, as a TOML file says it. For examples, tests, and trying things out.

The same file serves a simulation, whose clients are what the owners' ShardDescriptors give, and a real federation of processes
on this machine. This file must not know how either is run.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hansa.core.population import ClientId
from hansa.data.dataset import ClientDataset
from hansa.data.federated import FederatedData
from hansa.data.schema import Field, Schema
from hansa.data.shards import ShardDescriptor, beside, hosted, load_descriptor
from hansa.errors import ConfigError

INDEX = "{index}"
"""Stands in a parameter for the number of an owner among several alike: 0, 1, ..."""

_KEYS = {"descriptor", "parameters", "count"}


@dataclass(frozen=True)
class Owner:
    """One owner of data.

    Attributes:
        name: of its Envoy.
        descriptor: the class that reads its data, "module:Class".
        parameters: what the class is given.
        folder: where the module lies, if it is not installed.
    """

    name: str
    descriptor: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None


def load_owners(path: Path | str) -> list[Owner]:
    """The owners that a TOML file names: a table for each, with its `descriptor` and `parameters`.

    With `count = 20` a table `[ward]` stands for ward-1 to ward-20, and `{index}` in a parameter for 0 to 19. `$NAME` in a
    parameter is the environment's variable. Modules are looked for beside the file.

    Raises:
        ConfigError: there is no such file, or it says something that cannot be.
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigError(f"the owners' file cannot be read: {problem.strerror}", where=str(path)) from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError(f"this is no TOML: {problem}", where=str(path)) from problem
    owners = [owner for name, table in tables.items() for owner in _owners(name, table, path)]
    if not owners:
        raise ConfigError(
            "no owner is named", where=str(path), hint='write [alice] and below it descriptor = "shards:Ward"'
        )
    return owners


def shards_of(owners: Sequence[Owner]) -> FederatedData:
    """What owners hold, for a simulation: the clients that their descriptors host, read when they are needed.

    Raises:
        ConfigError: a descriptor cannot be loaded.
    """
    shards: dict[ClientId, tuple[ShardDescriptor, Path | None]] = {}
    declared: list[Schema | None] = []
    for owner in owners:
        descriptor = load_descriptor(owner.descriptor, owner.parameters, owner.folder)
        declared.append(getattr(descriptor, "schema", None))
        shards |= {client: (shard, owner.folder) for client, shard in hosted(descriptor, owner.name).items()}
    ordered = {client: shards[client] for client in sorted(shards)}  # as a Director counts them
    return FederatedData(_Split(ordered, "train"), _Split(ordered, "test"), schema=_common(declared))


def _common(declared: Sequence[Schema | None]) -> Schema | None:
    """What the first owner declares; as a Director, it does not mind that others' values are missing or range wider."""
    schemas = [each for each in declared if each is not None]
    if len(schemas) < len(declared) or not schemas:
        return None
    return {name: _widened(field, [each.get(name, field) for each in schemas]) for name, field in schemas[0].items()}


def _widened(field: Field, others: Sequence[Field]) -> Field:
    alike = all(other.range == field.range for other in others)
    return replace(field, range=field.range if alike else None, missing=any(other.missing for other in others))


class _Split(Mapping[ClientId, ClientDataset]):
    """One split of all clients that hold any of it."""

    def __init__(self, shards: Mapping[ClientId, tuple[ShardDescriptor, Path | None]], split: str) -> None:
        self._read = {client: (shard, folder, split) for client, (shard, folder) in shards.items()}
        self._holders = [client for client in self._read if self._examples(client) is not None]

    def __getitem__(self, client: ClientId) -> ClientDataset:
        examples = self._examples(client)
        if examples is None:
            raise KeyError(client)
        return examples

    def __iter__(self) -> Iterator[ClientId]:
        return iter(self._holders)

    def __len__(self) -> int:
        return len(self._holders)

    def _examples(self, client: ClientId) -> ClientDataset | None:
        shard, folder, split = self._read[client]
        with beside(folder) if folder is not None else nullcontext():
            examples: ClientDataset | None = getattr(shard, split)()
        return examples if examples is not None and len(examples) else None


def _owners(name: str, table: Any, path: Path) -> Iterator[Owner]:
    where = f"[{name}] of {path}"
    if not isinstance(table, dict) or not isinstance(table.get("descriptor"), str):
        raise ConfigError("an owner has a descriptor", where=where, hint='write descriptor = "module:Class"')
    if unknown := table.keys() - _KEYS:
        raise ConfigError(
            f"unknown: {', '.join(sorted(unknown))}", where=where, hint=f"known: {', '.join(sorted(_KEYS))}"
        )
    parameters, count = table.get("parameters", {}), table.get("count")
    if not isinstance(parameters, dict):
        raise ConfigError("parameters are a table", where=where, hint='write parameters = { file = "ward.csv" }')
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        raise ConfigError(f"count is a whole number from 1, not {count!r}", where=where)
    for index in range(1 if count is None else count):
        filled = {key: _filled(value, index, f"{key} in {where}") for key, value in parameters.items()}
        yield Owner(name if count is None else f"{name}-{index + 1}", table["descriptor"], filled, path.parent)


def _filled(value: Any, index: int, where: str) -> Any:
    if not isinstance(value, str):
        return value
    if value == INDEX:
        return index
    filled = os.path.expandvars(value.replace(INDEX, str(index)))
    if "$" in filled:
        raise ConfigError(
            f"a variable is not set in the environment: {filled}", where=where, hint="set it, or write the value"
        )
    return filled
