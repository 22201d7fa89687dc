"""`python -m benchmarks [--json] [NAME ...]`: run benchmarks and print a table for each."""

from __future__ import annotations

import argparse
import importlib
import json
from typing import Any

NAMES = ("imports", "sums", "latency", "transfer", "idle", "memory", "disk")
BY_NAME = ("flower",)
"""Those that need something which is not installed here: they run only where they are named."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"which ones, of: {', '.join(NAMES + BY_NAME)}; unless given, all but {', '.join(BY_NAME)}",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - {*NAMES, *BY_NAME}:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; choose of: {', '.join(NAMES + BY_NAME)}")
    results = {name: importlib.import_module(f"benchmarks.{name}").run() for name in arguments.names or NAMES}
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        for name, rows in results.items():
            print(f"### {name}\n\n{table(rows)}\n")


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row[column]) for column in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
