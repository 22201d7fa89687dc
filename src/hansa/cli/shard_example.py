"""The example of a ShardDescriptor that `hansa envoy init` leaves where an owner has none yet. It runs as it is."""

from __future__ import annotations

import importlib.machinery
import keyword
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hansa.errors import ConfigError

_TEXT = '''\
"""Reads this owner's data. This is an EXAMPLE with made-up records: change it so that it reads yours.

Try it with:  hansa envoy check FOLDER
"""

from __future__ import annotations

import numpy as np

import hansa
from hansa.data.shards import ShardDescriptor


class {cls}(ShardDescriptor):
    """Made-up records: an example to be replaced."""  # this line is announced; say what your data are

    # What one record looks like: the shape without the number of records, the type, and for labels how many classes there
    # are. It must agree with the federation's; the Director says where it does not.
    schema = {{
        "x": hansa.Field((4,), "float32"),
        "y": hansa.Field((), "int64", classes=2),
    }}

    # Its parameters come from [shard.parameters] in envoy.toml: here a path would stand, so that it is not in the source.
    def __init__(self{parameters}) -> None:
{body}

    def train(self) -> hansa.ClientDataset:
        """The records to train on. Read them as they lie, from wherever they lie; nothing is copied."""
        return self._made_up(100, seed=1)

    def test(self) -> hansa.ClientDataset:
        """The records to measure on. Leave this method out if there are none."""
        return self._made_up(50, seed=2)

    def _made_up(self, count: int, seed: int) -> hansa.ClientDataset:
        random = np.random.default_rng(seed)
        x = random.normal(size=(count, 4)).astype(np.float32)
        return hansa.ClientDataset({{"x": x, "y": (x.sum(axis=1) > 0).astype(np.int64)}})
'''


def shard_example(reference: str, parameters: Mapping[str, Any]) -> str:
    """The source of a module for "module:Class", whose class takes these parameters.

    Raises:
        ConfigError: a parameter's name is none in Python.
    """
    for name in parameters:
        if not name.isidentifier() or keyword.iskeyword(name) or name == "self":
            raise ConfigError(f"{name!r} cannot be the name of a parameter", hint="use letters, digits and '_'")
    cls = reference.partition(":")[2]
    given = "".join(f", {name}: {type(value).__name__}" for name, value in parameters.items())
    body = "\n".join(f"        self.{name} = {name}" for name in parameters) or "        pass"
    return _TEXT.format(cls=cls, parameters=given, body=body)


def missing_module(reference: str, folder: Path) -> Path | None:
    """The file to write so that there is a module for "module:Class"; None where there is one, or where it is a package's."""
    module = reference.partition(":")[0]
    if "." in module or (folder / f"{module}.py").exists() or (folder / module).is_dir():
        return None
    # What lies where somebody happens to stand is not what the Envoy will find.
    installed = [each for each in sys.path if each not in ("", str(Path.cwd()))]
    if module in sys.builtin_module_names or importlib.machinery.PathFinder.find_spec(module, installed) is not None:
        return None
    return folder / f"{module}.py"
