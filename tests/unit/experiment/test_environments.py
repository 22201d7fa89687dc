"""Where a child runs: what is installed here, or an environment that is made once for what is required."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import hansa
from hansa.errors import ChildDied, DiskFull, InputError, StoreError
from hansa.experiment import disk, environments, installer
from hansa.experiment.environments import Environment, inherit, isolated, lacking
from hansa.experiment.requirements import normal, requirement

REFUSED = [
    "",
    "-r requirements.txt",
    "--index-url=https://example.org",
    "-e .",
    ".",
    "./numpy",
    "/home/numpy.whl",
    "../numpy",
    "numpy @ https://example.org/numpy.whl",
    "numpy@file:///tmp/numpy.whl",
    "https://example.org/numpy.whl",
    "git+https://example.org/numpy",
    "numpy --pre",
    "numpy>=2 --hash=sha256:00",
    "numpy\n-r other.txt",
    "numpy\\",
    "numpy===2",
    "numpy ; no_such_marker == '1'",
    "a" * 301,
    "numpy # comment",
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_names_no_distribution_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        requirement(text)
    with pytest.raises(InputError):
        inherit([text])
    with pytest.raises(InputError):
        isolated([text], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_requirements_have_one_spelling() -> None:
    assert normal(["b >= 1", "a", "b>=1", "a [ x ]"]) == ("a", "a[x]", "b>=1")


def test_the_environment_that_runs_here_is_inherited() -> None:
    environment = inherit(["numpy>=2", "NumPy", "ml.dtypes", 'absent; python_version < "3"', "numpy"])
    assert (environment.python, environment.kind) == (Path(sys.executable), "inherited")
    assert environment.versions["numpy"] == np.__version__
    assert list(environment.versions) == ["ml-dtypes", "numpy"]
    assert inherit().versions == {}


def test_all_that_lacks_here_is_named() -> None:
    wanted = ["numpy>=999", "hansa-lacks-this>=1", 'hansa-lacks-that; python_version >= "3"', "numpy<999"]
    assert lacking(wanted) == (
        f"numpy>=999, but numpy {np.__version__} is installed",
        "hansa-lacks-this>=1, which is not installed",
        'hansa-lacks-that; python_version >= "3", which is not installed',
    )
    with pytest.raises(InputError, match=r"lacks what the experiment requires: .*hansa-lacks-that") as caught:
        inherit(wanted)
    assert caught.value.where == sys.prefix
    assert "isolated" in caught.value.hint


def test_an_older_python_is_refused(tmp_path: Path) -> None:
    assert inherit(python="3.11.0").kind == "inherited"
    makes: list[Callable[[str], Environment]] = [
        lambda version: inherit(python=version),
        lambda version: isolated([], tmp_path, python=version),
    ]
    for make in makes:
        with pytest.raises(InputError, match=r"needs Python 3.999 or newer, and this is 3"):
            make("3.999")
        with pytest.raises(InputError, match="no version of Python"):
            make("three")
    assert list(tmp_path.iterdir()) == []


def installed(folder: Path, name: str, version: str, *requires: str) -> str:
    """A distribution as pip leaves it, in a folder of its own."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    extras = sorted({text.partition("extra == ")[2].strip("'\"") for text in requires} - {""})
    lines = ["Metadata-Version: 2.1", f"Name: {name}"] + ([f"Version: {version}"] if version != "x" else [])
    lines += [f"Provides-Extra: {extra}" for extra in extras] + [f"Requires-Dist: {text}" for text in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    return str(folder)


def test_what_extras_need_is_looked_for_as_well_and_only_that(tmp_path: Path) -> None:
    path = [
        installed(tmp_path, "top", "1.0", "base-of-top", "mid[more]>=2; extra == 'x'", "never; extra == 'y'"),
        installed(tmp_path, "mid", "2.5", "deep; extra == 'more'", "top[x]; extra == 'more'"),
    ]
    assert lacking(["top"], path) == ()
    assert lacking(["top[x]"], path) == ('deep; extra == "more" (for top[x]), which is not installed',)
    installed(tmp_path, "deep", "0.1")
    assert lacking(["top[x]", "top[unknown]"], path) == ()
    assert lacking(["absent[x]"], path) == ("absent[x], which is not installed",)


def test_a_pre_release_that_is_installed_will_do_and_a_broken_one_will_not(tmp_path: Path) -> None:
    path = [
        installed(tmp_path, "early", "2.0rc1"),
        installed(tmp_path, "odd", "not-a-version"),
        installed(tmp_path, "half", "x"),
    ]
    assert lacking(["early>=1", "early"], path) == ()
    assert lacking(["odd>=1", "half"], path) == (
        "odd>=1, but odd not-a-version is installed",
        "half, which is not installed",
    )


def run(environment: Environment, code: str) -> str:
    command = [str(environment.python), "-I", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout.strip()


@pytest.fixture(scope="module", name="cache")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache") / "environments"


def test_an_isolated_environment_is_made_once_and_has_hansa(cache: Path) -> None:
    said: list[str] = []
    environment = isolated([], cache, progress=said.append)
    assert said == ["making a virtual environment"]
    assert environment.kind == "isolated"
    code = "import hansa, numpy, safetensors, sys; print(hansa.__file__, numpy.__version__, sys.prefix, sep='|')"
    place, version, prefix = run(environment, code).split("|")
    assert (place, version) == (hansa.__file__, np.__version__)
    assert Path(prefix) == environment.python.parent.parent
    assert Path(prefix).parent == cache
    assert cache.stat().st_mode & 0o777 == 0o700
    (mark := Path(prefix) / "mark").touch()
    assert isolated([], cache, progress=said.append) == environment
    assert len(said) == 1
    assert mark.exists(), "it was not made again"
    assert not [each for each in cache.iterdir() if each.suffix == ".making"]


def test_half_of_one_that_a_crash_left_is_made_anew(cache: Path) -> None:
    folder = isolated([], cache).python.parent.parent
    (folder / "mark").touch()
    (folder / "bin" / "python").unlink()
    (draft := folder.with_suffix(".making")).mkdir()
    (draft / "old").touch()
    environment = isolated([], cache)
    assert run(environment, "import hansa; print('whole')") == "whole"
    assert not (folder / "mark").exists()
    assert not draft.exists()


def test_requirements_python_and_hansa_make_the_name(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = environments._links()
    plain = environments._name(("a",), links, True)
    assert plain == environments._name(normal(["a", "a"]), links, True)
    others = [environments._name(*of) for of in ((("b",), links, True), (("a",), [], True), (("a",), links, False))]
    monkeypatch.setattr(hansa, "__version__", "999")
    others.append(environments._name(("a",), links, True))
    monkeypatch.setattr(sys, "version", "3.999")
    others.append(environments._name(("a",), links, True))
    assert len({plain, *others}) == 6


def test_what_is_satisfied_by_a_link_is_seen(cache: Path) -> None:
    assert [place for place in environments._links() if Path(place, "hansa").is_dir()]
    assert lacking(["numpy>=2", "safetensors", "typer"], environments._links()) == ()


def wheel(folder: Path, name: str, version: str) -> None:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {
        path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        for path, text in files.items()
    }
    record = "".join(f"{path},sha256={digests[path]},{len(text)}\n" for path, text in files.items())
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)


@pytest.fixture(name="offline")
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip finds what lies in a folder, and nothing else."""
    (folder := tmp_path / "wheels").mkdir()
    for name, value in (
        ("NO_INDEX", "1"),
        ("FIND_LINKS", str(folder)),
        ("CONFIG_FILE", os.devnull),
        ("NO_CACHE_DIR", "1"),
    ):
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


@pytest.mark.skipif(not installer.is_ready(), reason="this Python has no pip that installs elsewhere")
def test_what_is_required_is_installed(tmp_path: Path, offline: Path) -> None:
    wheel(offline, "hansatoy", "1.5")
    said: list[str] = []
    environment = isolated(["hansatoy>=1"], tmp_path / "cache", progress=said.append)
    assert environment.versions == {"hansatoy": "1.5"}
    assert run(environment, "import hansatoy, hansa, numpy; print(hansatoy.VERSION)") == "1.5"
    assert any("Successfully installed hansatoy-1.5" in line for line in said)
    assert lacking(["hansatoy"]) != (), "nothing was installed here"
    assert isolated(["hansatoy >= 1"], tmp_path / "cache") == environment


@pytest.mark.skipif(not installer.is_ready(), reason="this Python has no pip that installs elsewhere")
def test_what_cannot_be_installed_is_told_and_leaves_nothing(tmp_path: Path, offline: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be installed:\n  ERROR: .*hansa-lacks-this") as caught:
        isolated(["hansa-lacks-this>=1"], tmp_path / "cache")
    assert caught.value.where == "hansa-lacks-this>=1"
    assert [each.suffix for each in (tmp_path / "cache").iterdir()] == [".lock"]


def test_pip_is_asked_for_wheels_only_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[str]] = []
    status = 0

    def run(command: Sequence[str], *_: Any) -> tuple[int, deque[str]]:
        asked.append(command)
        return status, deque()

    monkeypatch.setattr(installer, "run", run)
    for only_binary, ready in ((True, True), (False, False)):
        installer.install(Path("/v/python"), ["a", "b"], only_binary, print, threading.Event(), ready=ready)
    first, second = asked
    assert first[:6] == [sys.executable, "-I", "-m", "pip", "--python", "/v/python"]
    assert "--only-binary=:all:" in first
    assert second[:4] == ["/v/python", "-I", "-m", "pip"]
    assert not any("only-binary" in each for each in second)
    assert first[-3:] == second[-3:] == ["--", "a", "b"]
    status = -9
    with pytest.raises(ChildDied, match="signal 9"):
        installer.install(Path("/v/python"), ["a"], True, print, threading.Event(), ready=True)


def test_what_is_cancelled_before_it_begins_leaves_nothing(tmp_path: Path) -> None:
    (cancelled := threading.Event()).set()
    with pytest.raises(ChildDied, match="cancelled"):
        isolated([], tmp_path, cancelled=cancelled)
    assert [each.suffix for each in tmp_path.iterdir()] == [".lock"]


FOREVER = [sys.executable, "-c", "import signal; print('ready', flush=True); signal.pause()"]


def test_a_child_that_is_cancelled_is_killed() -> None:
    cancelled, said = threading.Event(), list[str]()

    def tell(line: str) -> None:
        said.append(line)
        cancelled.set()

    with pytest.raises(ChildDied, match="cancelled"):
        installer.run(FOREVER, tell, cancelled)
    assert said == ["ready"]


def test_a_child_whose_listener_raises_is_killed() -> None:
    def tell(line: str) -> None:
        raise KeyError(line)

    with pytest.raises(KeyError, match="ready"):
        installer.run(FOREVER, tell, threading.Event())


def test_what_a_child_says_is_cleaned_and_its_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    code = "import os; print('\\x1b[31mred', 'PYTHONPATH' in os.environ); raise SystemExit(3)"
    said: list[str] = []
    status, last = installer.run([sys.executable, "-c", code], said.append, threading.Event())
    assert (status, said, list(last)) == (3, [" [31mred False"], [" [31mred False"])


def test_one_waits_for_another_that_makes_the_same_and_can_be_cancelled(cache: Path) -> None:
    cancelled, said = threading.Event(), list[str]()
    folder = isolated([], cache).python.parent.parent

    def tell(line: str) -> None:
        said.append(line)
        cancelled.set()

    with environments._locked(folder.with_suffix(".lock"), print, threading.Event()), pytest.raises(ChildDied):
        isolated([], cache, progress=tell, cancelled=cancelled)
    assert said == ["another process makes the same environment; waiting for it"]


def test_a_disk_that_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="the environment cannot be made"):
        isolated([], tmp_path / "file" / "cache")
    full = SimpleNamespace(EnvBuilder=lambda **_: SimpleNamespace(create=_no_room))
    monkeypatch.setattr(environments, "venv", full)
    with pytest.raises(DiskFull, match="No space left"):
        isolated([], tmp_path / "cache")


def _no_room(folder: Path) -> None:
    folder.mkdir()
    raise OSError(28, os.strerror(28))


def test_a_private_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    disk.replace(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda _: _no_room(tmp_path / "x"))
    with pytest.raises(OSError, match="No space"):
        disk.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert {each.name for each in tmp_path.iterdir()} == {"file", "x"}


def test_another_build_of_the_same_package_serves(tmp_path: Path) -> None:
    info = tmp_path / "xgboost_cpu-3.2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: xgboost-cpu\nVersion: 3.2.0\n")
    assert lacking(["xgboost>=3"], [str(tmp_path)]) == ()
    (told,) = lacking(["xgboost>=4"], [str(tmp_path)])
    assert "xgboost 3.2.0 is installed" in told
    (told,) = lacking(["tensorflow"], [str(tmp_path)])
    assert "not installed" in told
