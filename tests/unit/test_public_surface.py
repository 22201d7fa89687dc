"""What a user meets: the public names, what importing them costs, what a missing extra says, and the tree of errors."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hansa
from hansa import errors
from hansa.cli import app

HOME = Path(hansa.__file__).parent
FILES = {path.relative_to(HOME).as_posix(): path for path in sorted(HOME.rglob("*.py"))}

HEAVY = "torch", "jax", "tensorflow", "sklearn", "rich", "typer", "safetensors", "numpy"
"""What `import hansa` must not load."""

WITHOUT = """\
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
"""A process begins as if a package were not installed."""


def homes() -> dict[str, tuple[str, str]]:
    """Each public name of the stub with its module and the name that it has there."""
    stub = ast.parse((HOME / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name: (f"hansa.{node.module or ''}".rstrip("."), alias.name)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def said_after(module: str, name: str) -> str:
    """The string literal after the assignment of `name`, which documents what has no docstring of its own."""
    body = ast.parse(inspect.getsource(importlib.import_module(module))).body
    for statement, following in pairwise(body):
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            said = following.value if isinstance(following, ast.Expr) else None
            return said.value if isinstance(said, ast.Constant) and isinstance(said.value, str) else ""
    return ""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run in a fresh process."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, check=False)


# --- the names


def test_the_stub_and_the_module_list_the_same_names() -> None:
    assert sorted(hansa.__all__) == sorted(homes())
    assert set(hansa.__all__) <= set(dir(hansa))


@pytest.mark.parametrize("name", sorted(homes()))
def test_a_public_name_is_what_its_home_calls_so(name: str) -> None:
    module, inner = homes()[name]
    home = importlib.import_module(module)
    expected = getattr(home, inner) if hasattr(home, inner) else importlib.import_module(f"{module}.{inner}")
    assert getattr(hansa, name) is expected
    assert name == inner


@pytest.mark.parametrize("name", sorted(homes()))
def test_a_public_name_says_what_it_is(name: str) -> None:
    found = getattr(hansa, name)
    if isinstance(found, type | types.FunctionType | types.ModuleType):
        said = found.__doc__ or ""
        assert said.strip()
        assert not said.startswith(f"{name}(")  # what `dataclass` writes where nobody did
    else:
        assert said_after(*homes()[name])


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        hansa.no_such_name  # type: ignore[attr-defined]  # noqa: B018 - that is the point


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert hansa.__version__ == version("hansa")


Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def decorators(node: Documented) -> list[str]:
    return [ast.unparse(each) for each in node.decorator_list]


def public(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, Documented]]:
    """Public classes, functions and methods below a node, by their full names."""
    for each in node.body:
        if isinstance(each, Documented) and not each.name.startswith("_") and "overload" not in decorators(each):
            yield f"{prefix}{each.name}", each
            if isinstance(each, ast.ClassDef):
                yield from public(each, f"{prefix}{each.name}.")


def test_every_public_class_function_and_method_has_a_docstring() -> None:
    found = [pair for name, path in FILES.items() for pair in public(tree_of(path), f"{name}: ")]
    assert len(found) > 300
    assert [name for name, node in found if not ast.get_docstring(node)] == []


# --- what it costs, and what is missing


def test_importing_hansa_loads_nothing_heavy() -> None:
    ended = python("import sys, hansa; print(*(name for name in sys.argv[1:] if name in sys.modules))", *HEAVY)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "\n", "")


def test_listing_the_names_loads_nothing_heavy_either() -> None:
    code = "import sys, hansa; dir(hansa); print(*(name for name in sys.argv[1:] if name in sys.modules))"
    assert python(code, *HEAVY).stdout == "\n"


def test_no_learning_framework_is_loaded_before_a_model_asks_for_one() -> None:
    code = "import sys, hansa; hansa.FedAvg, hansa.Federation, hansa.NumpyMLP, hansa.load_dataset; import hansa.cli\n"
    ended = python(f"{code}print(*(name for name in sys.argv[1:] if name in sys.modules))", *HEAVY[:4])
    assert (ended.stdout, ended.stderr) == ("\n", "")


@pytest.mark.parametrize(
    ("package", "use", "said"),
    [
        ("torch", "hansa.TorchModel", 'pip install "hansa[torch]"'),
        ("sklearn", "hansa.load_dataset('digits')", 'pip install "hansa[sklearn]"'),
    ],
)
def test_what_needs_a_missing_extra_says_how_to_install_it(package: str, use: str, said: str) -> None:
    code = f"""{WITHOUT.format(package=package)}
import hansa
try:
    {use}
except ImportError as error:
    print(type(error).__name__, isinstance(error, hansa.errors.MissingExtra))
    print(error)
"""
    ended = python(code)
    assert ended.returncode == 0, ended.stderr
    kind, *message = ended.stdout.splitlines()
    assert kind == "MissingExtra True"
    assert "which is not installed" in message[0]
    assert message[-1] == f"  what to do: {said}"


@pytest.mark.parametrize("package", ["torch", "sklearn"])
def test_the_demo_without_an_extra_says_how_to_install_it(package: str) -> None:
    code = WITHOUT.format(package=package) + "from hansa.cli import main\nmain()"
    ended = python(code, "demo", "--rounds", "1")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert re.search(r'pip install "hansa\[\w+\]"', ended.stderr)


# --- the commands


def test_help_lists_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    commands = [command.callback.__name__ for command in app.registered_commands if command.callback]
    assert {"demo", "run"} <= set(commands)
    for command in commands:
        assert re.search(rf"^\W*{command}\s+\w", shown.output, re.MULTILINE), command


@pytest.mark.parametrize("command", ["demo", "run"])
def test_every_option_of_a_command_is_explained(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "160", "TERMINAL_WIDTH": "160"})
    assert shown.exit_code == 0
    options = re.findall(r"^\W*(--[a-z]+)(.*)$", shown.output, re.MULTILINE)
    assert {"--json", "--out"} <= {option for option, _ in options}
    for option, rest in options:
        assert re.search(r"[A-Z][\w,]* .*\.", rest), option


# --- the tree of errors


def drawn() -> dict[str, tuple[str, str | None]]:
    """Each class of the tree drawn in the docstring of `errors`: its parent's name, and what it also is."""
    found: dict[str, tuple[str, str | None]] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if not (match := re.match(r"^    ((?:[│ ]   )*(?:[├└]── )?)(\w+)(.*)$", line)):
            continue
        branch, name, rest = match.groups()
        depth = len(branch) // 4
        also = re.search(r"\(also an? (\w+)\)", rest)
        found[name] = (above[depth - 1] if depth else "Exception", also[1] if also else None)
        above[depth] = name
    return found


def defined() -> dict[str, type[errors.HansaError]]:
    return {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.HansaError)
    }


def test_every_error_is_in_the_drawn_tree_and_every_drawn_one_exists() -> None:
    assert sorted(drawn()) == sorted(defined())
    raised = {name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, BaseException)}
    assert raised == defined().keys()


@pytest.mark.parametrize("name", sorted(defined()))
def test_an_error_hangs_where_it_is_drawn(name: str) -> None:
    parent, also = drawn()[name]
    first, *others = defined()[name].__bases__
    assert first.__name__ == parent
    assert others == ([getattr(builtins, also)] if also else [])


@pytest.mark.parametrize("name", sorted(defined()))
def test_an_error_says_what_where_and_what_to_do(name: str) -> None:
    error = defined()[name]("the roof leaks", where="attic", hint="call a roofer")
    assert str(error) == "the roof leaks\n  where: attic\n  what to do: call a roofer"
    assert str(defined()[name]("the roof leaks")) == "the roof leaks"
