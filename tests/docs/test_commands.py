"""docs/commands.md says of every command what `--help` says. After a change of the command line: `make commands`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from hansa.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
HEAD = """# The command line

Every command explains itself with `--help`; this page is the same, in one place. With `--json` a command prints one JSON
document on standard output and nothing else. The exit status is 0 for success, 1 for an error that was explained, 2 for wrong
usage and 130 after Ctrl-C.
"""


def commands(group: Any, path: str = "hansa") -> Iterator[tuple[str, Any]]:
    """Every command below a group, with its full name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        elif not command.hidden:
            yield f"{path} {name}", command


def shown(argument: Any) -> str:
    """An argument as a usage line has it."""
    if argument.metavar:
        return str(argument.metavar)
    return argument.name.upper() if argument.required else f"[{argument.name.upper()}]"


def section(name: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    usage = " ".join([name, *map(shown, arguments), *(["[OPTIONS]"] if options else [])])
    rows = [(shown(each), each.help) for each in arguments]
    rows += [(", ".join([*each.opts, *each.secondary_opts]), each.help) for each in options]
    lines = [f"## {name}", "", f"    {usage}", "", inspect.cleandoc(command.help or ""), ""]
    if rows:
        lines += ["| | |", "|---|---|"]
        lines += [f"| `{what}` | {' '.join((text or '').split())} |".replace(" | `", " | `") for what, text in rows]
        lines += [""]
    return "\n".join(lines)


def page() -> str:
    group = typer.main.get_command(app)
    return "\n".join([HEAD, *(section(name, command) for name, command in commands(group))])


def test_the_page_says_of_every_command_what_its_help_says() -> None:
    if os.environ.get("HANSA_WRITE"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make commands`"


def test_every_command_and_every_option_is_explained() -> None:
    for name, command in commands(typer.main.get_command(app)):
        assert command.help, name
        for each in command.params:
            assert each.help, f"{name} {each.name}"
