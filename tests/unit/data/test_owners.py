"""Owners as a file names them: for a simulation and for a local federation alike."""

from __future__ import annotations

from pathlib import Path

import pytest

import hansa
from hansa.testing import blobs

SHARDS = '''
import hansa
from hansa.testing import blobs


class Cloud(hansa.ShardDescriptor):
    """One cloud."""

    schema = {"x": hansa.Field((5,), "float32"), "y": hansa.Field((), "int64", classes=3)}

    def __init__(self, number, tests=True):
        self.number, self.tests = str(number), tests

    def train(self):
        return blobs()[self.number]

    def test(self):
        return blobs().test[self.number] if self.tests else None


class Two(Cloud):
    """Two clients."""

    def clients(self):
        return {"a": Cloud("1"), "b": Cloud("2", tests=False)}
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shards.py").write_text(SHARDS)
    return tmp_path


def named(folder: Path, text: str) -> list[hansa.Owner]:
    file = folder / "owners.toml"
    file.write_text(text)
    return hansa.load_owners(file)


def test_owners_give_the_clients_that_their_descriptors_host(folder: Path) -> None:
    bob = '[bob]\ndescriptor = "shards:Two"\nparameters = { number = 1 }\n'
    alice = '[alice]\ndescriptor = "shards:Cloud"\nparameters = { number = "0" }\n'
    owners = named(folder, bob + alice)
    assert [owner.name for owner in owners] == ["bob", "alice"]
    data = hansa.shards_of(owners)
    assert list(data.clients) == ["alice", "bob/a", "bob/b"], "in the order of a Director"
    assert len(data["bob/b"]) == len(blobs()["2"])
    assert set(data.test) == {"alice", "bob/a"}


def test_a_count_makes_as_many_owners_with_one_line(folder: Path) -> None:
    owners = named(folder, '[ward]\ndescriptor = "shards:Cloud"\ncount = 3\nparameters = { number = "{index}" }\n')
    assert [(owner.name, owner.parameters["number"]) for owner in owners] == [
        ("ward-1", 0),
        ("ward-2", 1),
        ("ward-3", 2),
    ]
    assert list(hansa.shards_of(owners).clients) == ["ward-1", "ward-2", "ward-3"]


def test_a_variable_of_the_environment_is_filled_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[a]\ndescriptor = "shards:Cloud"\nparameters = { number = "$CLOUD" }\n'
    monkeypatch.setenv("CLOUD", "2")
    assert named(folder, text)[0].parameters == {"number": "2"}
    monkeypatch.delenv("CLOUD")
    with pytest.raises(hansa.errors.ConfigError, match="not set in the environment"):
        named(folder, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no owner is named"),
        ("= 3", "no TOML"),
        ("[a]\n", "has a descriptor"),
        ("a = 3\n", "has a descriptor"),
        ('[a]\ndescriptor = "s:C"\nwhere = 3\n', "unknown: where"),
        ('[a]\ndescriptor = "s:C"\ncount = 0\n', "from 1, not 0"),
        ('[a]\ndescriptor = "s:C"\nparameters = 3\n', "parameters are a table"),
    ],
)
def test_a_file_that_says_what_cannot_be(folder: Path, text: str, said: str) -> None:
    with pytest.raises(hansa.errors.ConfigError, match=said):
        named(folder, text)


def test_a_file_that_is_not_there(folder: Path) -> None:
    with pytest.raises(hansa.errors.ConfigError, match="cannot be read"):
        hansa.load_owners(folder / "nobody.toml")


def test_what_one_owner_may_lack_any_may_lack_in_a_simulation(folder: Path) -> None:
    lacking = SHARDS.replace('"x": hansa.Field((5,), "float32")', '"x": hansa.Field((5,), "float32", missing=True)')
    lacking = lacking.replace("return blobs()[self.number]", "return with_hole(blobs()[self.number])").replace(
        "class Cloud",
        "def with_hole(data):\n    x = data['x'].copy()\n    x[0, 0] = float('nan')\n"
        "    return hansa.ClientDataset({'x': x, 'y': data['y']})\n\n\nclass Cloud",
    )
    (folder / "holes.py").write_text(lacking)
    text = '[a]\ndescriptor = "holes:Cloud"\nparameters = { number = "0" }\n'
    data = hansa.shards_of(named(folder, text + '[b]\ndescriptor = "shards:Cloud"\nparameters = { number = "1" }\n'))
    assert all(data.shard(client) for client in data.clients), "a NaN is no mistake where it was declared"
    assert data.schema["x"].missing
