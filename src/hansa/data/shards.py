"""Shards: what an owner of data writes so that their data can be trained on where they lie, and what is announced of them.

An owner writes a `ShardDescriptor`. It is loaded at the owner's, and checked against their real examples before anything is
said of it to others. What is said then are `ShardFacts`: the schema and how many examples there are, never a value.

This file must not know who the facts are sent to, how, or what is trained.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hansa.core.population import ClientId
from hansa.data.dataset import ClientDataset
from hansa.data.documents import count_of, object_of, schema_from_json, schema_to_json, wrong
from hansa.data.schema import Field, Schema, check
from hansa.errors import ConfigError, DataError, HansaError, InputError

SPLITS = ("train", "test")
"""The methods of a descriptor that give examples, and the names of the splits that they give."""

LONGEST = 4_000
"""How many characters a description may have."""

_CLIENT = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_HOME = os.path.join(Path(__file__).parents[1], "")


class ShardDescriptor:
    """Reads an owner's data as they lie. Subclass it, set `schema`, and write `train()`, `test()` or both.

    Nothing is converted ahead of time and no copy is kept: the methods are called whenever the data are needed. What they
    return is all that an experiment gets to see, so this is the place for the owner's own preprocessing and for local
    differential privacy. Here every label is kept with probability 1/2 and else drawn anew: ε = ln 3 for the label (of two
    classes), nothing for `x`. The draws follow from a secret, because noise that is new on every reading averages out.

    >>> import hashlib, numpy as np
    >>> class Ward(ShardDescriptor):
    ...     schema = {"x": Field((2,), "float32"), "y": Field((), "int64", classes=2)}
    ...     def __init__(self, secret: str):
    ...         self.secret = secret.encode()
    ...     def train(self):
    ...         x, y = np.array([[3, 0], [0, 9]], np.float32), np.array([0, 1])  # read a file here
    ...         bits = np.frombuffer(hashlib.shake_256(self.secret).digest(len(y)), np.uint8)
    ...         return ClientDataset({"x": np.clip(x, 0, 5), "y": np.where(bits & 1, y, bits >> 1 & 1)})
    >>> announce(Ward("a long random text"), "hospital-a").clients
    {'hospital-a': {'train': 2}}

    Attributes:
        schema: what an example looks like in every batch of `train()` and `test()`. A class attribute, a property, or
            set in `__init__`.
    """

    schema: Schema

    def describe(self) -> str:
        """What these data are, for people; at most 4,000 characters. The first line of the class's docstring unless written."""
        return (type(self).__doc__ or type(self).__name__).strip().partition("\n")[0]

    def train(self) -> ClientDataset | None:
        """The examples to train on, or None where there are none."""
        return None

    def test(self) -> ClientDataset | None:
        """The examples to measure on, or None where there are none."""
        return None

    def clients(self) -> Mapping[str, ShardDescriptor]:
        """For an owner that hosts several clients, each one's descriptor by name; empty: the shard itself is the one client.

        All have this descriptor's schema and description. Only `train()` and `test()` of theirs are called.
        """
        return {}


@dataclass(frozen=True)
class ShardFacts:
    """What an owner announces: never a value, only what an example looks like and how many there are.

    Attributes:
        name: the Envoy's.
        description: for people.
        schema: the fields of every client's examples.
        clients: for each client's id (`name`, or `name/client`) how many examples it holds in each split that it has.
    """

    name: str
    description: str
    schema: Schema
    clients: Mapping[ClientId, Mapping[str, int]]

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `from_json` makes equal facts."""
        said = {"name": self.name, "description": self.description, "schema": schema_to_json(self.schema)}
        return said | {"clients": {client: dict(examples) for client, examples in self.clients.items()}}

    @classmethod
    def from_json(cls, document: object) -> ShardFacts:
        """The facts in a document that anybody may have sent.

        Raises:
            DataError: a key is missing or unknown, a value is of the wrong type or beyond the bounds, or a client is not
                the announcing Envoy's own.
        """
        facts = object_of(document, "the announcement", ("name", "description", "schema", "clients"))
        name, description = facts["name"], facts["description"]
        if not _named(name):
            raise wrong("name", "a name", name)
        plain = isinstance(description, str) and re.sub(r"[\n\t]", "", description).isprintable()
        if not plain or len(description) > LONGEST:
            raise wrong("description", f"plain text of at most {LONGEST} characters", description)
        clients = {}
        for client, examples in object_of(facts["clients"], "clients").items():
            envoy, slash, part = client.partition("/")
            if envoy != name or (slash and not _named(part)):
                raise wrong("clients", f"{name!r} or an id such as '{name}/ward-1'", client)
            where = f"clients.{client}"
            clients[client] = {s: count_of(n, where, 1) for s, n in object_of(examples, where, (), SPLITS).items()}
        if not clients:
            raise wrong("clients", "at least one client", clients)
        return cls(name, description, schema_from_json(facts["schema"]), clients)


def hosted(descriptor: ShardDescriptor, name: str) -> dict[ClientId, ShardDescriptor]:
    """The clients that the Envoy `name` hosts, by id, each with the descriptor that reads its data.

    Raises:
        DataError: `clients()` raises, or gives something else than descriptors by name.
    """
    with _owners_code("clients()", DataError):
        clients: Any = descriptor.clients()
    if not isinstance(clients, Mapping):
        raise wrong("clients()", "a mapping of name to ShardDescriptor", type(clients))
    for client, shard in clients.items():
        if not _named(client):
            raise wrong("clients()", "a name of small letters, digits, '.', '_' and '-', at most 63 of them", client)
        if not isinstance(shard, ShardDescriptor):
            raise wrong(f"clients(), {client!r}", "a ShardDescriptor", type(shard))
    return {f"{name}/{client}": shard for client, shard in clients.items()} if clients else {name: descriptor}


def announce(
    descriptor: ShardDescriptor, name: str, expected: Schema | None = None, *, checked: bool = True
) -> ShardFacts:
    """The facts of a shard, once its real examples have been found to be as its schema says.

    Reads all examples, in memory that does not grow with them (`hansa.data.schema.check`). Its errors are the owner's to
    read: one about a label out of range names the label. The text of what the owner's code raised is in no error.

    Args:
        descriptor: whose data are announced.
        name: the Envoy's; its clients' ids begin with it.
        expected: the federation's schema, where it is known already.
        checked: without it the examples are only counted, and a few of them read.

    Raises:
        DataError: a method raised (which, what, and the line); the schema is none, or not the one expected; there are no
            examples; or examples are not as the schema says (the client, the field, the expected and the found).
    """
    with _owners_code("schema", DataError):
        schema: Any = descriptor.schema
    if not isinstance(schema, Mapping) or not all(isinstance(each, Field) for each in schema.values()):
        what = "a mapping of name to Field, such as {'y': Field((), 'int64', classes=10)}"
        raise wrong(f"{type(descriptor).__name__}.schema", what, type(schema))
    # Read back, so that nobody announces what nobody would accept.
    schema = schema_from_json(schema_to_json(schema))
    if expected is not None:
        compare(expected, schema)
    with _owners_code("describe()", DataError):
        description = descriptor.describe()
    ids, looked_at = hosted(descriptor, name), schema if checked else {}
    clients = {client: _examples(shard, client, looked_at) for client, shard in ids.items()}
    return ShardFacts.from_json(ShardFacts(name, description, schema, clients).to_json())


def compare(expected: Schema, found: Schema) -> None:
    """Raises unless every field of `expected` is in `found` and the same there; `found` may have more.

    Raises:
        DataError: says the first such field, the expected and the found.
    """
    for name, field in expected.items():
        where = f"field {name!r}"
        if name not in found:
            what = f"the field is missing; expected {_said(field)}, found the fields {', '.join(found) or '(none)'}"
            raise DataError(what, where=where, hint="add the field, or rename yours")
        other = found[name]
        alike = (tuple(field.shape), field.dtype) == (tuple(other.shape), other.dtype)
        if not alike or field.classes not in (None, other.classes):
            what = f"expected {_said(field)}, found {_said(other)}"
            raise DataError(what, where=where, hint="convert it in the shard descriptor, and declare it in its schema")


def load_descriptor(reference: str, parameters: Mapping[str, Any] = {}, folder: Path | None = None) -> ShardDescriptor:
    """An owner's descriptor, made with the parameters of their file.

    Args:
        reference: "module:Class"; the module lies in `folder`, or in an installed package.
        parameters: the keyword arguments of its `__init__`.
        folder: searched first; the module's neighbours in it can be imported while it loads, later only `beside` it.

    Raises:
        ConfigError: it is no such reference; the module or the class is missing, or something that the module imports;
            the class takes other parameters, or it raised; its text is not in the error.
    """
    if not _CLASS.fullmatch(reference):
        raise ConfigError(f"expected module:Class, found {reference!r:.80}", hint="write ward:Ward for Ward in ward.py")
    module_name, _, class_name = reference.partition(":")
    with beside(folder) if folder else nullcontext():
        try:
            with _owners_code(f"importing {module_name}", ConfigError):
                module = importlib.import_module(module_name)
        except ConfigError as error:
            problem = error.__cause__
            if not isinstance(problem, ModuleNotFoundError) or not problem.name:
                raise
            itself = f"{module_name}.".startswith(f"{problem.name}.")
            what = f"there is no module {problem.name!r}" + ("" if itself else f", which {module_name} imports")
            hint = "check the name, put its file into that folder, or install its package"
            raise ConfigError(what, where=str(folder or "") if itself else error.where, hint=hint) from problem
        cls: type[ShardDescriptor] = getattr(module, class_name, ShardDescriptor)
        if not _is_descriptor(cls):
            there = ", ".join(name for name, each in vars(module).items() if _is_descriptor(each)) or "(none)"
            found = "it is no ShardDescriptor" if hasattr(module, class_name) else "there is no such class"
            hint = "name one of them, or derive the class from hansa.data.shards.ShardDescriptor"
            raise ConfigError(f"{reference}: {found}; the module's descriptors: {there}", where=module_name, hint=hint)
        _check_parameters(cls, parameters, reference)
        with _owners_code(f"{class_name}()", ConfigError):
            return cls(**parameters)


@contextmanager
def beside(folder: Path) -> Iterator[None]:
    """Let an owner's code import what lies in `folder`, as `python FILE.py` lets FILE. Not for two threads at once."""
    home = str(folder.resolve())
    # Listed once: this is entered for every reading of a client's data, and there are thousands of modules.
    own = {each.name.removesuffix(".py") for each in folder.glob("*")}
    for name in [name for name in sys.modules if name.partition(".")[0] in own and _is_anothers(name, Path(home))]:
        del sys.modules[name]
    importlib.invalidate_caches()
    sys.path.insert(0, home)
    try:
        yield
    finally:
        if home in sys.path:
            sys.path.remove(home)


# --- how the owner's code is called


def _examples(shard: ShardDescriptor, client: ClientId, schema: Schema) -> dict[str, int]:
    examples = {}
    for split in SPLITS:
        with _owners_code(f"{split}()", DataError, client):
            dataset = getattr(shard, split)()
        if dataset is not None and not isinstance(dataset, ClientDataset):
            raise wrong(f"{split}() of client {client!r}", "a ClientDataset or None", type(dataset))
        if dataset is not None and len(dataset):
            with _owners_code(f"a transform of {split}()", DataError, client, but=HansaError):
                check(dataset, schema, client=client, origin="the descriptor's own schema")
            examples[split] = len(dataset)
    if not examples:
        what = "neither train() nor test() gave any examples"
        raise DataError(what, where=f"client {client!r}", hint="check what they read")
    return examples


@contextmanager
def _owners_code(
    what: str, error: type[InputError], client: str = "", but: type[HansaError] | tuple[()] = ()
) -> Iterator[None]:
    """Say which of the owner's methods raised, what and where; not with which text, which may hold values of their data."""
    try:
        yield
    except but:
        raise
    except (Exception, SystemExit) as problem:
        steps = [(step.filename, step.lineno) for step in traceback.extract_tb(problem.__traceback__)]
        if isinstance(problem, SyntaxError) and problem.filename:
            steps = [(problem.filename, problem.lineno)]
        theirs = [step for step in steps if not step[0].startswith((_HOME, "<frozen", importlib.__file__))]
        line = next((f"{Path(file).name}, line {n}" for file, n in reversed(theirs) if file == theirs[0][0]), "")
        raise error(
            f"{what} raised {type(problem).__name__}",
            where=", ".join(filter(None, (client and f"client {client!r}", line))),
            hint="mend the shard descriptor; its traceback, at the owner's, says more",
        ) from problem


def _check_parameters(cls: type[ShardDescriptor], parameters: Mapping[str, Any], reference: str) -> None:
    takes = inspect.signature(cls).parameters.values()
    named = {each.name: each for each in takes if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
    anything = any(each.kind is each.VAR_KEYWORD for each in takes)
    unknown = [f"does not take {name}" for name in parameters if name not in named and not anything]
    missing = [f"needs {name}" for name, each in named.items() if each.default is each.empty and name not in parameters]
    if unknown or missing:
        hint = f"it takes: {', '.join(named) or 'nothing'}"
        raise ConfigError(f"{reference} {', '.join(unknown + missing)}", where="its parameters", hint=hint)


def _is_descriptor(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, ShardDescriptor) and value is not ShardDescriptor


def _is_anothers(name: str, folder: Path) -> bool:
    """Whether a module was left loaded from another owner's folder, under a name that this folder has too."""
    top = name.partition(".")[0]
    origin = getattr(sys.modules.get(top) or sys.modules[name], "__file__", None)
    if not origin or not ((folder / f"{top}.py").is_file() or (folder / top).is_dir()):
        return False
    file = Path(origin)
    home = file.parent.parent if file.name == "__init__.py" else file.parent
    return str(home) not in sys.path and home.resolve() != folder


def _named(value: object) -> bool:
    """Whether it can be an Envoy's name or a client's: as `hansa.protocol.peer.checked_name`, which is above this room."""
    return isinstance(value, str) and bool(_CLIENT.fullmatch(value)) and ".." not in value


def _said(field: Field) -> str:
    return f"{field.dtype} of shape {tuple(field.shape)}" + (f" in {field.classes} classes" if field.classes else "")
