"""Documents about data that anybody may have sent: read field by field, with an error that names what is wrong.

A schema as JSON, and as the TOML tables of a Director's or an owner's file say it. This file must not know who sends them.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from hansa.data.columns import MASK
from hansa.data.schema import Field, Schema
from hansa.errors import DataError

MOST, LARGEST = 10_000, 2**53
"""Bounds on a document: names in an object, any number in it."""

_DTYPE = re.compile(
    r"bool|u?int(8|16|32|64)|b?float16|float(32|64)|float8_\w{1,20}|complex(64|128)|(str|bytes|datetime)\d{0,9}(\[\w{1,4}\])?",
    re.ASCII,
)


def schema_to_json(schema: Schema) -> dict[str, Any]:
    """A schema as a JSON object, and as its TOML tables say it: `{"y": {"shape": [], "dtype": "int64", "classes": 10}}`."""
    document: dict[str, Any] = {}
    for name, field in schema.items():
        shape: Any = field.shape
        document[name] = {"shape": list(shape) if isinstance(shape, tuple) else shape, "dtype": field.dtype}
        if field.classes is not None:
            document[name]["classes"] = field.classes
        if field.range is not None:
            document[name]["range"] = list(field.range)
        if field.missing:
            document[name]["missing"] = True
    return document


def schema_from_json(document: object) -> Schema:
    """The schema that `schema_to_json` wrote, or that a file says in `[schema.x]` tables.

    Raises:
        DataError: names the field with a key that is missing or unknown, or with a value that cannot be.
    """
    schema: dict[str, Field] = {}
    for name, each in object_of(document, "schema").items():
        where = f"schema.{name}"
        if not 0 < len(name) <= 200 or not name.isprintable() or name == MASK:
            raise wrong("schema", "a field's name", name)
        field = object_of(each, where, ("shape", "dtype"), ("classes", "range", "missing"))
        if not isinstance(field["shape"], list) or len(field["shape"]) > 32:
            raise wrong(f"{where}.shape", "a list of at most 32 whole numbers, such as [1, 28, 28]", field["shape"])
        shape = tuple(count_of(size, f"{where}.shape") for size in field["shape"])
        if not isinstance(field["dtype"], str) or not _DTYPE.fullmatch(field["dtype"]):
            raise wrong(f"{where}.dtype", "NumPy's name of a dtype, such as 'float32'", field["dtype"])
        classes = count_of(field["classes"], f"{where}.classes", 1) if "classes" in field else None
        limits = _range_of(field["range"], f"{where}.range") if "range" in field else None
        if not isinstance(missing := field.get("missing", False), bool):
            raise wrong(f"{where}.missing", "true or false", missing)
        schema[name] = Field(shape, field["dtype"], classes, limits, missing)
    if not schema:
        raise wrong("schema", "at least one field", document)
    return schema


def object_of(value: object, where: str, needed: tuple[str, ...] = (), may: tuple[str, ...] = ()) -> dict[str, Any]:
    """`value`, if it is an object with the keys needed and none besides but those that may be; any, where no key is named."""
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value) or len(value) > MOST:
        raise wrong(where, f"an object with at most {MOST} names", value)
    known = (*needed, *may)
    for key in [*needed, *value] if known else ():
        if key not in value or key not in known:
            what = "unknown key" if key in value else "there is no"
            raise DataError(f"{what} {key!r:.80}", where=where, hint=f"the keys are {', '.join(known)}")
    return value


def _range_of(value: object, where: str) -> tuple[float, float]:
    numbers = value if isinstance(value, list | tuple) else []
    plain = len(numbers) == 2 and all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
    if not plain or not -float("inf") < numbers[0] <= numbers[1] < float("inf"):
        raise wrong(where, "two finite numbers, the lowest and the highest value", value)
    return float(numbers[0]), float(numbers[1])


def count_of(value: object, where: str, least: int = 0) -> int:
    """`value`, if it is a whole number that is neither too small nor too large."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= LARGEST:
        raise wrong(where, f"a whole number from {least} to 2**53", value)
    return int(value)


def wrong(where: str, expected: str, found: object) -> DataError:
    """The error for what should be something else; of texts and numbers it shows the value."""
    kind = found if isinstance(found, type) else type(found)
    shown = f"{found!r:.80}" if isinstance(found, str | int | float) else kind.__name__
    return DataError(f"expected {expected}, found {shown}", where=where, hint="correct it and try again")
