"""What is shipped of an experiment's folder: everything that it imports, nothing that lies outside, and only readable text."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hansa.errors import Damaged, ExperimentFileError, InputError, StoreError
from hansa.experiment.installed import Installed, own_distributions
from hansa.experiment.manifest import FILE_LIMIT, InitialModel
from hansa.experiment.package import Package, pack, unpack

INITIAL = InitialModel("cd" * 32, 1000)
MODULES = {
    "numpy": ("numpy",),
    "torch": ("torch",),
    "sklearn": ("scikit-learn",),
    "google": ("protobuf", "google-auth"),
}
VERSIONS = {"torch": "2.13.0+cpu", "scikit-learn": "1.9.1"}
HERE = Installed(
    modules=MODULES,
    importable=lambda module: module in {"loose", *MODULES},
    version=VERSIONS.get,
    own=frozenset({"hansa", "numpy"}),
    also=lambda requirement: ["torch"] if requirement.extras else [],
)


def written(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / "experiment.py"


def shipped(folder: Path, files: Mapping[str, str | bytes], **settings: Any) -> set[str]:
    package = pack(written(folder, files), initial=INITIAL, **({"installed": HERE} | settings))
    assert {file.sha256 for file in package.manifest.files} == package.contents.keys()
    for file in package.manifest.files:
        assert package.contents[file.sha256] == (folder / file.path).read_bytes()
    return {file.path for file in package.manifest.files}


TREE: dict[str, str | bytes] = {
    "a.py": "",
    "b.py": "import a",
    "pkg/__init__.py": "",
    "pkg/one.py": "from . import two",
    "pkg/two.py": "from .sub import deep",
    "pkg/sub/__init__.py": "",
    "pkg/sub/deep.py": "from ..three import x",
    "pkg/three.py": "x = 1",
    "pkg/unused.py": "import nothing_at_all",
    "space/inner.py": "",
    "unused.py": "import nothing_at_all",
    "notes.txt": "",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("import a", ["a.py"]),
        ("import a as z, b", ["a.py", "b.py"]),
        ("import b", ["a.py", "b.py"]),
        ("from a import anything", ["a.py"]),
        ("import pkg", ["pkg/__init__.py"]),
        ("import pkg.three", ["pkg/__init__.py", "pkg/three.py"]),
        ("from pkg import three", ["pkg/__init__.py", "pkg/three.py"]),
        ("from pkg import no_module", ["pkg/__init__.py"]),
        ("from pkg.three import x", ["pkg/__init__.py", "pkg/three.py"]),
        ("from pkg.sub import deep", ["pkg/__init__.py", "pkg/sub/__init__.py", "pkg/sub/deep.py", "pkg/three.py"]),
        (
            "import pkg.one",
            ["pkg/__init__.py", "pkg/one.py", "pkg/two.py", "pkg/sub/__init__.py", "pkg/sub/deep.py", "pkg/three.py"],
        ),
        ("def f():\n    class C:\n        import a", ["a.py"]),
        ("async def f():\n    with x:\n        for y in z:\n            import a", ["a.py"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a", ["a.py"]),
        ("import typing\nif typing.TYPE_CHECKING:\n    import nothing_at_all\nelse:\n    import a", ["a.py"]),
        ("try:\n    import a\nexcept ImportError:\n    a = None", ["a.py"]),
        ("match x:\n    case 1:\n        import a", ["a.py"]),
        ("import space.inner", ["space/inner.py"]),
        ("from space import inner", ["space/inner.py"]),
        ("import os.path, sys, numpy.linalg, hansa", []),
        ("from __future__ import annotations", []),
        ("if __name__ == '__main__':\n    import matplotlib.pyplot", []),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from _typeshed import X", []),
        ("try:\n    import nothing_at_all\nexcept (ValueError, ImportError):\n    pass", []),
        ("try:\n    import nothing_at_all\nexcept Exception:\n    import a", ["a.py"]),
        ("'\\d'\nimport a  # a doubtful escape", ["a.py"]),
    ],
)
def test_what_is_imported_is_shipped_and_nothing_else(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert shipped(tmp_path, {**TREE, "experiment.py": text}) == {"experiment.py", *expected}


def test_a_star_takes_the_modules_that_a_package_lists(tmp_path: Path) -> None:
    files = {
        "experiment.py": "from pkg import *",
        "pkg/__init__.py": "__all__ = ['m', 'x']\nx = 1",
        "pkg/m.py": "",
        "pkg/n.py": "",
    }
    assert shipped(tmp_path, files) == {"experiment.py", "pkg/__init__.py", "pkg/m.py"}


def test_modules_that_import_each_other_come_to_an_end(tmp_path: Path) -> None:
    assert shipped(tmp_path, {"experiment.py": "import a", "a.py": "import b", "b.py": "import a, experiment"}) == {
        "experiment.py",
        "a.py",
        "b.py",
    }


def test_what_is_included_by_hand_is_shipped_with_what_it_imports(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        **TREE,
        "experiment.py": "",
        "configs/x.json": "{}",
        "configs/deep/y.toml": "",
        ".git/config.txt": "",
        "__pycache__/a.pyc": b"\0",
    }
    found = shipped(tmp_path, files, include=["configs/**/*", "notes.txt", "pkg/two.py"])
    modules = {"pkg/__init__.py", "pkg/two.py", "pkg/sub/__init__.py", "pkg/sub/deep.py", "pkg/three.py"}
    assert found == {"experiment.py", "configs/x.json", "configs/deep/y.toml", "notes.txt", *modules}
    hidden = shipped(tmp_path, {}, include=["*.txt", "**/*.toml"])
    assert hidden == {"experiment.py", "notes.txt", "configs/deep/y.toml"}


def test_a_folder_without_init_gives_way_to_what_is_installed(tmp_path: Path) -> None:
    files = {"experiment.py": "import torch", "torch/notes.py": ""}
    assert shipped(tmp_path, files, requirements=["torch"]) == {"experiment.py"}


@pytest.mark.parametrize(
    ("files", "said", "where", "hint"),
    [
        ({"experiment.py": "\nimport nothing"}, "no module nothing: not beside", "experiment.py:2", "check its name"),
        ({"experiment.py": "import a", "a.py": "def f():\n  import zz.y"}, "no module zz.y", "a.py:2", "install"),
        ({"experiment.py": "import torch.nn"}, "torch.nn comes from torch, which", "experiment.py:1", '"torch>=2.13"'),
        ({"experiment.py": "from sklearn import svm"}, "comes from scikit-learn", ":1", '"scikit-learn>=1.9"'),
        (
            {"experiment.py": "import google.x"},
            "comes from google-auth or protobuf",
            ":1",
            '"google-auth" or "protobuf"',
        ),
        ({"experiment.py": "try:\n  import torch\nexcept ImportError:\n  pass"}, "comes from torch", ":2", "torch"),
        ({"experiment.py": "try:\n  import zz\nexcept ImportError:\n  raise"}, "no module zz", ":2", "install"),
        ({"experiment.py": "try:\n  import zz\nexcept KeyError:\n  pass"}, "no module zz", ":2", "install"),
        ({"experiment.py": "import loose"}, "no installed distribution brings it", ":1", "beside the experiment file"),
        ({"experiment.py": "import a.b", "a.py": ""}, "no module a.b beside", ":1", "check"),
        ({"experiment.py": "import A", "a.py": ""}, "no module A", ":1", "check"),
        ({"experiment.py": "import pkg.no", "pkg/__init__.py": ""}, "no module pkg.no", ":1", "check"),
        ({"experiment.py": "from . import a", "a.py": ""}, "relative import of .", ":1", "plain name"),
        (
            {"experiment.py": "import p.m", "p/__init__.py": "", "p/m.py": "from ... import a"},
            "of ...",
            "p/m.py:1",
            "plain",
        ),
        ({"experiment.py": "import random", "random.py": ""}, "name of a standard module", ":1", "rename"),
        ({"experiment.py": "import hansa", "hansa/__init__.py": ""}, "name of Hansa itself", ":1", "rename"),
        ({"experiment.py": "import c", "c.pyc": b"\0"}, "c.pyc is compiled", ":1", "source"),
        ({"experiment.py": "import c", "c.abi3.so": b"\0"}, "c.abi3.so is compiled", ":1", "source"),
        ({"experiment.py": "def (:"}, "this is no Python", "experiment.py:1", "correct"),
        ({"experiment.py": "import a", "a.py": "x = (\n"}, "this is no Python", "a.py:1", "correct"),
        ({"other.py": ""}, "no such experiment file", "experiment.py", "path"),
    ],
)
def test_an_import_that_would_fail_at_an_owner_is_named_before_anything_is_sent(
    tmp_path: Path, files: dict[str, str | bytes], said: str, where: str, hint: str
) -> None:
    with pytest.raises(ExperimentFileError) as caught:
        pack(written(tmp_path, files), initial=INITIAL, installed=HERE)
    assert said in caught.value.what
    assert where in caught.value.where
    assert hint in caught.value.hint


def test_all_of_them_are_told_at_once(tmp_path: Path) -> None:
    entry = written(tmp_path, {"experiment.py": "import zz\nimport torch\nimport zz"})
    with pytest.raises(ExperimentFileError, match=r"3 imports would fail at an owner") as caught:
        pack(entry, initial=INITIAL, installed=HERE)
    assert "experiment.py:2: torch comes from torch" in str(caught.value)


@pytest.mark.parametrize("declared", ["torch", "Torch>=2", "hansa[torch]", 'torch; sys_platform == "linux"'])
def test_a_declared_requirement_may_be_imported(tmp_path: Path, declared: str) -> None:
    assert shipped(tmp_path, {"experiment.py": "import torch.nn"}, requirements=[declared]) == {"experiment.py"}


def test_an_undistributed_module_may_be_declared_by_its_own_name(tmp_path: Path) -> None:
    assert shipped(tmp_path, {"experiment.py": "import loose"}, requirements=["loose>=1"]) == {"experiment.py"}


def test_on_this_machine_too(tmp_path: Path) -> None:
    text = "import numpy, hansa.training, json, ml_dtypes\n"
    assert {"hansa", "numpy", "safetensors"} <= own_distributions()
    assert "torch" not in own_distributions()
    assert shipped(tmp_path, {"experiment.py": text}, installed=None) == {"experiment.py"}
    with pytest.raises(ExperimentFileError, match="pytest comes from pytest") as caught:
        shipped(tmp_path, {"experiment.py": text + "import pytest"}, installed=None)
    assert "pytest>=" in caught.value.hint
    with pytest.raises(ExperimentFileError, match="no module hansa_has_no_such"):
        shipped(tmp_path, {"experiment.py": "import hansa_has_no_such"}, installed=None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x = '\xff'", "is not UTF-8"),
        (b"x = 1\n\0", r"U\+0000 in line 2"),
        (b"x = 1 # \x1b[8m", r"U\+001B"),
        ("x = 1 # \u202e".encode(), r"U\+202E"),
        (b"x = 1\rimport os", r"U\+000D"),
        (b"# coding: latin-1\n", "read it as 'iso-8859-1'"),
        (b"# coding: utf-7\n", "read it as 'utf-7'"),
        (b"# coding: no-such\n", "an encoding that Python does not have"),
        (b"#" * (FILE_LIMIT + 1), "ship source, not data"),
    ],
)
def test_a_file_that_an_owner_could_not_read_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        pack(written(tmp_path, {"experiment.py": "import a", "a.py": content}), initial=INITIAL, installed=HERE)
    assert "a.py" in caught.value.what


def test_windows_line_ends_a_byte_order_mark_and_umlauts_are_fine(tmp_path: Path) -> None:
    assert shipped(tmp_path, {"experiment.py": "\ufeff# -*- coding: utf-8 -*-\r\nx = 'ü'\t\f\r\n"}) == {"experiment.py"}


@pytest.mark.parametrize(
    ("include", "said"),
    [
        ("model.pkl", r"'model.pkl' cannot be shipped: '.pkl'"),
        ("*.pyc", r"'old.pyc' cannot be shipped"),
        ("noend", "'no suffix'"),
        ("image.txt", "is not UTF-8"),
        ("none*.txt", "matches no file"),
        ("../*.txt", "leads out of the experiment's folder"),
        ("/etc/*.txt", "leads out of the experiment's folder"),
        ("a/../../x.txt", "leads out"),
        ("", "leads out"),
        ("link.txt", "is a link that leads out"),
        ("far/*.txt", "is a link that leads out"),
    ],
)
def test_what_must_not_be_included_is_named(tmp_path: Path, include: str, said: str) -> None:
    home = tmp_path / "home"
    files: dict[str, str | bytes] = {
        "experiment.py": "",
        "model.pkl": b"\x80",
        "old.pyc": b"\0",
        "noend": "",
        "image.txt": b"\x89PNG",
    }
    entry = written(home, files)
    written(tmp_path / "elsewhere", {"secret.txt": "secret"})
    (home / "link.txt").symlink_to(tmp_path / "elsewhere" / "secret.txt")
    (home / "far").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=said):
        pack(entry, initial=INITIAL, include=[include], installed=HERE)


def test_a_neighbour_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    entry = written(tmp_path / "home", {"experiment.py": "import a"})
    written(tmp_path, {"a.py": ""})
    (tmp_path / "home" / "a.py").symlink_to(tmp_path / "a.py")
    with pytest.raises(InputError, match=r"a.py is a link that leads out"):
        pack(entry, initial=INITIAL, installed=HERE)


def test_the_manifest_says_what_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, {"mine.py": ""})
    monkeypatch.chdir(tmp_path)
    settings: dict[str, Any] = {"envoys": ["b", "a"], "labels": {"x": "y"}, "at_least": 2, "seed": 3, "rounds": 4}
    manifest = pack(Path("mine.py"), initial=("cd" * 32, 5), requirements=["B >= 1", "a", "a"], **settings).manifest
    assert (manifest.entry, manifest.name, manifest.requirements) == ("mine.py", "mine", ("B>=1", "a"))
    assert (manifest.envoys, manifest.labels, manifest.at_least) == (("a", "b"), {"x": "y"}, 2)
    assert (manifest.seed, manifest.rounds, manifest.initial) == (3, 4, InitialModel("cd" * 32, 5))
    assert pack(tmp_path / "mine.py", initial=INITIAL, name="N").manifest.name == "N"


def test_the_same_sources_give_the_same_hash_wherever_they_lie(tmp_path: Path) -> None:
    hashes = {
        pack(written(tmp_path / str(n), {"experiment.py": "import a", "a.py": ""}), initial=INITIAL).manifest.hash
        for n in (1, 2)
    }
    assert len(hashes) == 1


@pytest.fixture(name="package")
def _package(tmp_path: Path) -> Package:
    files = {
        "experiment.py": "import pkg.sub.m, same",
        "pkg/__init__.py": "",
        "pkg/sub/__init__.py": "",
        "pkg/sub/m.py": "x = 1",
        "same.py": "x = 1",
    }
    return pack(written(tmp_path / "source", files), initial=INITIAL, installed=HERE)


def laid_out(folder: Path) -> dict[str, bytes]:
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_it_is_laid_out_as_it_was_packed_for_nobody_else_to_see(tmp_path: Path, package: Package) -> None:
    folder = tmp_path / "runs" / "1"
    before = os.umask(0)
    try:
        unpack(package.manifest, package.contents.__getitem__, folder)
    finally:
        os.umask(before)
    assert laid_out(folder) == laid_out(tmp_path / "source")
    assert {each.stat().st_mode & 0o777 for each in folder.rglob("*") if each.is_file()} == {0o600}
    assert {each.stat().st_mode & 0o777 for each in [folder, *folder.rglob("*")] if each.is_dir()} == {0o700}
    assert [each.name for each in folder.parent.iterdir()] == ["1"]


def test_laying_it_out_again_reads_nothing_and_changes_nothing(tmp_path: Path, package: Package) -> None:
    folder = tmp_path / "run"
    unpack(package.manifest, package.contents.__getitem__, folder)
    (folder / "pkg" / "__pycache__").mkdir()
    (folder / "pkg" / "__pycache__" / "m.pyc").write_bytes(b"\0")
    stamps = {each: each.stat().st_mtime_ns for each in folder.rglob("*")}
    unpack(package.manifest, dict[str, bytes]().__getitem__, folder)
    assert {each: each.stat().st_mtime_ns for each in folder.rglob("*")} == stamps


def test_an_empty_folder_is_filled(tmp_path: Path, package: Package) -> None:
    (tmp_path / "run").mkdir()
    unpack(package.manifest, package.contents.__getitem__, tmp_path / "run")
    assert laid_out(tmp_path / "run") == laid_out(tmp_path / "source")


@pytest.mark.parametrize("change", ["text", "more", "less", "link"])
def test_a_folder_that_was_changed_is_told_and_left_alone(tmp_path: Path, package: Package, change: str) -> None:
    folder = tmp_path / "run"
    unpack(package.manifest, package.contents.__getitem__, folder)
    target = folder / "pkg" / "sub" / "m.py"
    if change == "text":
        target.write_text("x = 2")
    elif change == "more":
        (folder / "more.py").write_text("")
    else:
        target.unlink()
        if change == "link":
            target.symlink_to(tmp_path / "source" / "pkg" / "sub" / "m.py")
    before = laid_out(folder)
    with pytest.raises(Damaged, match=r"m\.py|more\.py"):
        unpack(package.manifest, package.contents.__getitem__, folder)
    assert laid_out(folder) == before


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"x = 2", Damaged),
        (b"x = 11", Damaged),
        (b"", Damaged),
        (KeyError("gone"), KeyError),
        (OSError(5, "bad disk"), StoreError),
    ],
)
def test_a_crash_half_way_leaves_nothing(
    tmp_path: Path, package: Package, content: bytes | Exception, error: type[Exception]
) -> None:
    bad = hashlib.sha256(b"x = 1").hexdigest()

    def read(sha256: str) -> bytes:
        if sha256 == bad and isinstance(content, Exception):
            raise content
        return content if sha256 == bad and isinstance(content, bytes) else package.contents[sha256]

    with pytest.raises(error):
        unpack(package.manifest, read, tmp_path / "runs" / "1")
    assert list((tmp_path / "runs").iterdir()) == []
    unpack(package.manifest, package.contents.__getitem__, tmp_path / "runs" / "1")


def test_two_that_lay_it_out_at_once_end_with_one(tmp_path: Path, package: Package) -> None:
    folder, reads = tmp_path / "run", list[str]()

    def read(sha256: str) -> bytes:
        if not reads:  # another process is quicker
            reads.append(sha256)
            unpack(package.manifest, package.contents.__getitem__, folder)
        return package.contents[sha256]

    unpack(package.manifest, read, folder)
    assert laid_out(folder) == laid_out(tmp_path / "source")
    assert {each.name for each in tmp_path.iterdir()} == {"run", "source"}


def test_a_package_is_whole_or_is_none(package: Package) -> None:
    sha256 = hashlib.sha256(b"x = 1").hexdigest()
    with pytest.raises(Damaged, match=r"pkg/sub/m.py has 5 bytes"):
        Package(package.manifest, {**package.contents, sha256: b"x = 2"})
    with pytest.raises(Damaged, match=r"the content of pkg/sub/m.py is missing"):
        Package(package.manifest, {each: content for each, content in package.contents.items() if each != sha256})
