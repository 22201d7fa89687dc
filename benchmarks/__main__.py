"""`python -m benchmarks [--json] [NAME ...]`: run benchmarks and print tables for each."""

from __future__ import annotations

import argparse
import importlib
import json
from typing import Any

NAMES = ("imports", "light", "sums", "latency", "transfer", "idle", "memory", "disk")
TRAINED = ("emnist-cnn", "mlp-100", "mlp-1000", "cifar10-10", "cifar10-100", "shakespeare")
SIMULATED = (*TRAINED, "overhead", "broadcast", "scaling", "start", "soak")
BY_NAME = ("flower",)
"""Those that need something which is not installed here: they run only where they are named."""
ALL = NAMES + SIMULATED


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"which ones, of: {', '.join(ALL + BY_NAME)}; unless given, all but {', '.join(BY_NAME)}",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--turns", type=int, default=7, help="counted rounds of a simulation; 7 unless given")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - {*ALL, *BY_NAME}:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; choose of: {', '.join(ALL + BY_NAME)}")
    found: dict[str, Any] = {}
    for name in arguments.names or ALL:
        found[name], tables = run(name, arguments.turns)
        if not arguments.json:
            print(f"### {name}\n\n" + "\n\n".join(map(table, tables)) + "\n", flush=True)
    if arguments.json:
        print(json.dumps(found, indent=1))


def run(name: str, turns: int) -> tuple[Any, list[list[dict[str, Any]]]]:
    """(what there is to tell of a benchmark in JSON, its tables)."""
    if name in (*TRAINED, "overhead", "broadcast", "scaling"):
        measured = importlib.import_module("benchmarks.simulation.measure").run(name, turns)
        return measured.to_json(), measured.tables()
    module = f"simulation.{name}" if name in SIMULATED else name
    rows = importlib.import_module(f"benchmarks.{module}").run()
    return rows, [rows]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row[column]) for column in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
