"""Settings as fields of frozen dataclasses: one declaration gives the type, the default, the check and the explanation.

A table of a TOML file is a dataclass, a key in it a field. `read_file` makes the dataclass of a file, strictly; `template`
writes the commented file that says the same. Environment variables are not looked at: a file says what holds.

This file must not know which settings there are.
"""

from __future__ import annotations

import dataclasses
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hansa.errors import ConfigError, InputError, UnknownName
from hansa.runtime.config.kinds import Kind, described

T = TypeVar("T")

REQUIRED = object()
"""In place of a default: the file must say it."""

_KEY = "hansa setting"
_WIDTH = 110


@dataclass(frozen=True)
class Setting:
    """How one field is read and explained.

    Attributes:
        read: its kind; for a table of settings, the dataclass.
        raw: the default as a file would say it, or REQUIRED.
        says: what it means, for the person who edits the file.
        example: the lines of a table that has no entries unless somebody writes them; shown as comments.
    """

    read: Kind[Any] | type
    raw: Any
    says: str
    example: tuple[str, ...] = ()

    @property
    def is_table(self) -> bool:
        """Whether it is written as a table of its own."""
        return isinstance(self.read, type) or bool(self.example)


def setting(kind: Kind[T], raw: Any, says: str, example: tuple[str, ...] = ()) -> T:
    """A field with a default, given as a file would say it: `memory: int = setting(size(), "4 GiB", "...")`."""
    declared = {_KEY: Setting(kind, raw, says, example)}
    made: T = dataclasses.field(default_factory=lambda: kind(raw), metadata=declared)
    return made


def section(table: type[T], says: str) -> T:
    """A field that is a table of settings, all of which have defaults."""
    made: T = dataclasses.field(default_factory=table, metadata=required(table, says))
    return made


def required(kind: Kind[Any] | type, says: str) -> Mapping[str, Any]:
    """The metadata of a field without a default: `name: str = field(metadata=required(name, "..."))`."""
    return {_KEY: Setting(kind, REQUIRED, says)}


def settings_of(table: type) -> dict[str, Setting]:
    """The settings that a dataclass declares, by key."""
    return {field.name: field.metadata[_KEY] for field in dataclasses.fields(table)}


def read_file(table: type[T], file: Path, hint: str) -> T:
    """What a file says, with defaults for what it leaves out.

    Args:
        table: the dataclass of its settings.
        file: in TOML; its folder is what relative paths are relative to.
        hint: what to do where there is no such file.

    Raises:
        ConfigError: the file cannot be read, is no TOML, lacks a setting, or says something that cannot be: the key, the
            expected and the found, the file and the table.
        UnknownName: a key that there is not, with near ones.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError("there is no such file", where=str(file), hint=hint) from error
    except OSError as error:
        raise ConfigError(
            f"the file cannot be read: {error.strerror}", where=str(file), hint="check its permissions"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"the file is no TOML: {error}", where=str(file), hint="text is written in quotes: key = 'text'"
        ) from error
    return _read(table, values, table, file, "")


def _read(table: type[T], values: Mapping[str, Any], whole: type, file: Path, prefix: str) -> T:
    where = f"{file}, table [{prefix}]" if prefix else str(file)
    known, found = settings_of(table), {}
    for key in values:
        if key not in known:
            error = UnknownName.among("setting", key, known)
            homes = [home for home, each in _homes(whole) if each == key]
            if homes:
                error.hint = "it belongs into " + " or ".join(
                    f"the table [{home}]" if home else "the top of the file, before the first table" for home in homes
                )
            error.where = where
            raise error
    for key, each in known.items():
        raw = values.get(key, {} if isinstance(each.read, type) else each.raw)
        if raw is REQUIRED:
            raise ConfigError(f"{key} is missing", where=where, hint=each.says)
        try:
            if not isinstance(each.read, type):
                value = each.read(raw)
                found[key] = file.parent.absolute() / value if isinstance(value, Path) else value
            elif not isinstance(raw, dict):
                raise ConfigError(f"expected a table, found {described(raw)}", hint=f"write [{key}] above its settings")
        except InputError as problem:
            place = f"{where}, {problem.where}" if problem.where else where
            raise ConfigError(f"{key}: {problem.what}", where=place, hint=problem.hint) from problem
        if isinstance(each.read, type):
            found[key] = _read(each.read, raw, whole, file, f"{prefix}.{key}".strip("."))
    try:
        return table(**found)
    except ConfigError as problem:
        problem.where = where
        raise


def checked(table: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Some settings of a table, each given as a file would say it, by key.

    Raises:
        ConfigError: one cannot be.
    """
    known, found = settings_of(table), {}
    for key, raw in values.items():
        try:
            found[key] = known[key].read(raw)
        except InputError as problem:
            raise ConfigError(f"{key}: {problem.what}", where=problem.where, hint=problem.hint) from problem
    return found


def _homes(table: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting of a file: the table that it is in, and its key."""
    for key, each in settings_of(table).items():
        yield prefix, key
        if isinstance(each.read, type):
            yield from _homes(each.read, f"{prefix}.{key}".strip("."))


# --- writing


def template(table: type, title: str, values: Mapping[str, Any]) -> str:
    """The commented file that says the defaults, and `values` where they are given.

    Args:
        table: the dataclass of its settings.
        title: what the file is, as its first comment.
        values: what else than the default to say, as a file would say it, by dotted key such as "shard.descriptor".

    Raises:
        ConfigError: a value cannot be, or a setting that must be said is not among them.
    """
    lines = [_comment(title), "", *_written(table, values, "")]
    return "\n".join(lines).rstrip() + "\n"


def _written(table: type, values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    known = settings_of(table)
    # In TOML every key after a table's header is that table's.
    for key, each in sorted(known.items(), key=lambda item: item[1].is_table):
        dotted = f"{prefix}.{key}".strip(".")
        raw = values.get(dotted, each.raw)
        yield _comment(each.says)
        if isinstance(each.read, type):
            yield from (f"[{dotted}]", "", *_written(each.read, values, dotted))
            continue
        if raw is REQUIRED:
            raise ConfigError(f"{dotted} is missing", hint=each.says)
        try:
            each.read(raw)
        except InputError as problem:
            raise ConfigError(f"{dotted}: {problem.what}", where=problem.where, hint=problem.hint) from problem
        if not each.is_table:
            yield f"{key} = {toml_value(raw)}"
        elif raw:
            yield from (f"[{dotted}]", *(f"{_key(name)} = {toml_value(entry)}" for name, entry in raw.items()))
        else:
            yield from (["#"] if each.example[0].startswith("#") else [])
            yield from each.example
        yield ""


def toml_value(value: Any) -> str:
    """A value as TOML writes it: text, numbers, true and false, lists and tables of them.

    Raises:
        ConfigError: it is something else.
    """
    match value:
        case bool():
            return str(value).lower()
        case str():  # JSON's escapes are TOML's too; it leaves alone one character that TOML does not allow
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() | float():
            return repr(value)
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case dict():
            return f"{{{', '.join(f'{_key(name)} = {toml_value(each)}' for name, each in value.items())}}}"
    raise ConfigError(f"a {type(value).__name__} cannot be written into a file of settings", hint="use text or numbers")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def _comment(text: str) -> str:
    return "\n".join(f"# {line}" for line in textwrap.wrap(text, _WIDTH))
