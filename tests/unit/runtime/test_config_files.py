"""The Director's and the Envoy's file: what they say, what is wrong with them, and the templates that explain every key."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.data import Field
from hansa.errors import ConfigError, InputError, UnknownName
from hansa.experiment.approval import Policy
from hansa.runtime.config import (
    DirectorConfig,
    Environment,
    EnvoyApproval,
    EnvoyConfig,
    LogLevel,
    ShardConfig,
    template_director,
    template_envoy,
)
from hansa.runtime.config.settings import settings_of, toml_value

MINIMAL = 'name = "a"\ndirector = "127.0.0.1:8470"\n[shard]\ndescriptor = "ward:Ward"\n'
ENVOY = template_envoy("a", "127.0.0.1:8470", "ward:Ward")


def written(folder: Path, text: str) -> Path:
    file = folder / "hansa.toml"
    file.write_text(text, encoding="utf-8")
    return file


# --- what they say


def test_an_empty_file_is_a_director_on_this_machine(tmp_path: Path) -> None:
    config = DirectorConfig.load(written(tmp_path, ""))
    assert config == dataclasses.replace(DirectorConfig(), store=tmp_path / "store")
    assert (config.name, config.address, config.hosts) == ("director", "127.0.0.1:8470", ("localhost", "127.0.0.1"))
    assert (config.max_running, config.max_model, config.keep_free, config.beat) == (1, 2 * 2**30, 2**30, 20.0)
    assert (config.approval.policy, config.approval.signers, config.approval.deadline) == (Policy.AUTO, (), 86400.0)
    assert (config.limits.memory, config.limits.time) == (4 * 2**30, 600.0)
    assert (config.schema, config.log) == (None, LogLevel.INFO)


def test_an_envoy_dials_over_websocket_or_listens(tmp_path: Path) -> None:
    dials = EnvoyConfig.load(written(tmp_path, MINIMAL.replace("127.0.0.1:8470", "wss://[::1]:8778")))
    assert (dials.director, dials.listen) == ("wss://[::1]:8778", "")
    listens = EnvoyConfig.load(written(tmp_path, template_envoy("a", "", "ward:Ward", listen="wss://0.0.0.0:0")))
    assert (listens.director, listens.listen) == ("", "wss://0.0.0.0:0")
    text = 'websocket = "127.0.0.1:0"\nworkers = ["wss://alice:8777", "ws://localhost:1"]'
    director = DirectorConfig.load(written(tmp_path, text))
    assert (director.websocket, director.workers) == ("127.0.0.1:0", ("wss://alice:8777", "ws://localhost:1"))


def test_an_envoy_says_who_it_is_whom_it_calls_and_what_reads_its_data(tmp_path: Path) -> None:
    config = EnvoyConfig.load(written(tmp_path, MINIMAL))
    assert (config.name, config.director, config.shard.descriptor) == ("a", "127.0.0.1:8470", "ward:Ward")
    assert (config.identity, config.store, config.shard.folder) == (tmp_path / "identity", tmp_path / "store", tmp_path)
    assert config.approval == EnvoyApproval(policy=Policy.ASK, signers=())
    assert (config.environment, config.devices, config.labels) == (Environment.INHERIT, ("cpu",), {})
    limits = config.limits
    assert (limits.memory, limits.time, limits.threads) == (8 * 2**30, 3600.0, 1)
    assert (limits.network, limits.user) == (False, "")
    assert (config.leaves.logs, config.leaves.messages, config.leaves.metrics_limit) == (False, False, 64 * 2**10)
    assert (config.shard.check, config.shard.parameters, config.keep_free) == (True, {}, 2**30)


def test_everything_may_be_said(tmp_path: Path) -> None:
    text = """
name = "hospital-a"
director = "director.example.org:9000"
identity = "/etc/hansa/a"
store = "../kept"
keep_free = "20 GB"
devices = ["cuda:0", "cuda:1"]
environment = "isolated"
log = "debug"
[labels]
country = "de"
[shard]
descriptor = "wards.heart:Ward"
folder = "code"
check = false
[shard.parameters]
file = "ward.csv"
columns = [1, 2.5]
since = 2024-01-31
more = { deep = true }
[approval]
policy = "trusted"
signers = ["anna", "bert"]
[limits]
memory = "32 GiB"
time = 90
threads = 4
network = true
user = "nobody"
[leaves]
logs = true
messages = true
metrics_limit = 0
"""
    config = EnvoyConfig.load(written(tmp_path, text))
    assert (config.identity, config.store, config.shard.folder) == (
        Path("/etc/hansa/a"),
        tmp_path / "../kept",
        tmp_path / "code",
    )
    assert config.shard.parameters["file"] == "ward.csv"  # its own business, and so unchanged
    assert config.shard.parameters["more"] == {"deep": True}
    assert config.labels == {"country": "de"}
    assert config.approval.signers == ("anna", "bert")
    assert (config.limits.time, config.limits.threads, config.leaves.metrics_limit) == (90.0, 4, 0)
    assert config.environment is Environment.ISOLATED


def test_a_schema_is_tables(tmp_path: Path) -> None:
    text = '[schema.x]\nshape = [1, 28, 28]\ndtype = "float32"\n[schema.y]\nshape = []\ndtype = "int64"\nclasses = 10\n'
    schema = DirectorConfig.load(written(tmp_path, text)).schema
    assert schema == {"x": Field((1, 28, 28), "float32"), "y": Field((), "int64", 10)}


def test_paths_are_the_files_whatever_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    written(tmp_path / "deep", "")
    monkeypatch.chdir(tmp_path)
    assert DirectorConfig.load(Path("deep/hansa.toml")).store == tmp_path / "deep" / "store"


def test_environment_variables_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, MINIMAL)
    before = EnvoyConfig.load(file)
    for key in ("NAME", "ADDRESS", "DIRECTOR", "STORE", "LOG", "POLICY", "APPROVAL_POLICY", "LIMITS_MEMORY"):
        monkeypatch.setenv(f"HANSA_{key}", "changed")
        monkeypatch.setenv(f"HANSA_ENVOY_{key}", "changed")
    assert EnvoyConfig.load(file) == before


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "hansa.toml"
    file.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert EnvoyConfig.load(file).name == "a"


# --- what is wrong with them


@pytest.mark.parametrize(
    ("text", "said", "table"),
    [
        ("max_running = 0", "max_running: expected a whole number from 1 to .*, found 0", ""),
        ('max_running = "2"', r"max_running: expected a whole number, found '2' \(text\)", ""),
        ("max_running = true", r"max_running: expected a whole number, found true \(true or false\)", ""),
        ("max_running = 1.0", r"max_running: expected a whole number, found 1.0 \(a decimal number\)", ""),
        ("name = 3", r"name: expected text, found 3 \(a whole number\)", ""),
        ("name = 2024-01-31", r"name: expected text, found 2024-01-31 \(a date or time\)", ""),
        ('name = "A b"', "name: 'A b' cannot be a name", ""),
        ('name = "a\\u001b"', "name: expected text on one line", ""),
        ("store = []", "store: expected text, found a list", ""),
        ('store = "~/hansa"', "store: expected a path, found '~/hansa'", ""),
        ('store = ""', "store: expected a path, found ''", ""),
        ('hosts = "localhost"', r"hosts: expected a list, found 'localhost' \(text\)", ""),
        ("hosts = []", "hosts: expected a list of at least 1, found 0", ""),
        ('hosts = ["localhost", "localhost"]', "hosts: 'localhost' is in the list twice", ""),
        ('hosts = ["a b"]', "hosts: expected a DNS name or an IP address, found 'a b'", ""),
        ('address = "8470"', "address: expected host:port, found '8470'", ""),
        ('websocket = "8778"', "websocket: expected host:port, found '8778'", ""),
        ('websocket = "0.0.0.0:8778"', "address '0.0.0.0:8778' can be reached from other machines", ""),
        ('workers = ["alice:8777"]', "workers: expected wss://host:port, found 'alice:8777'", ""),
        ('workers = ["wss://a:1", "wss://a:1"]', "workers: 'wss://a:1' is in the list twice", ""),
        ('log = "verbose"', "log: expected 'debug' or 'info' or 'warning' or 'error', found 'verbose'", ""),
        ("beat = 0", "beat: expected more than 0 seconds, found 0", ""),
        ("beat = []", "beat: expected seconds, or a duration such as '5 min', found a list", ""),
        ("beat = nan", "beat: expected a duration such as '5 min', found nan", ""),
        ('beat = "20 seconds"', "there is no unit 'seconds'", ""),
        ("max_model = 1.5", "max_model: expected a size such as '512 MiB', found 1.5", ""),
        ("limits = 3", r"limits: expected a table, found 3 \(a whole number\)", ""),
        ("[limits]\nmemory = 4", "memory: expected at least 16777216 bytes, found 4", "limits"),
        ('[limits]\nmemory = "4 GB/s"', "memory: expected a size", "limits"),
        ('[approval]\npolicy = "trusted"', "policy 'trusted' trusts the signers, and there are none", "approval"),
        ('[approval]\nsigners = ["anna"]', "'auto' approves everybody's experiments", "approval"),
        ('[approval]\npolicy = "ask"\nsigners = ["An na"]', "signers: 'An na' cannot be a name", "approval"),
        ("[schema.x]\nshape = [3]", "schema: there is no 'dtype'", ""),
        ('[schema.x]\nshape = 3\ndtype = "float32"', "schema: expected a list of at most 32 whole numbers", ""),
        ('[schema.x]\nshape = []\ndtype = "flaot32"', "schema: expected NumPy's name of a dtype.*'flaot32'", ""),
        ("name = director", "the file is no TOML: .*line 1", ""),
    ],
)
def test_says_the_key_the_expected_the_found_the_file_and_the_table(
    tmp_path: Path, text: str, said: str, table: str
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError, match=said) as caught:
        DirectorConfig.load(file)
    assert caught.value.where.startswith(f"{file}, table [{table}]" if table else str(file))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "said", "table"),
    [
        ("", "name is missing", ""),
        ('name = "a"\n[shard]\ndescriptor = "w:W"', "director is missing", ""),
        (f'listen = "wss://0.0.0.0:1"\n{MINIMAL}', "either dials its Director, .*, or listens, at wss", ""),
        (f'listen = "0.0.0.0:1"\n{MINIMAL}', "listen: expected wss://host:port, found '0.0.0.0:1'", ""),
        (f'listen = "ws://0.0.0.0:1"\n{MINIMAL}', "listen: .* is without TLS, which is for this machine only", ""),
        ('name = "a"\ndirector = "b:1"', "descriptor is missing", "shard"),
        (MINIMAL + "check = 1", "check: expected true or false, found 1", "shard"),
        (MINIMAL.replace("ward:Ward", "ward.py"), "descriptor: expected 'module:Class', found 'ward.py'", "shard"),
        (MINIMAL + "parameters = 3", "parameters: expected a table, found 3", "shard"),
        (MINIMAL + "[labels]\ncountry = 49", "labels: country: expected text, found 49", ""),
        (MINIMAL.replace(":8470", ":0"), "director: expected a port from 1 to 65535, found 0", ""),
        (f"devices = []\n{MINIMAL}", "devices: expected a list of at least 1", ""),
    ],
)
def test_the_same_of_an_envoys(tmp_path: Path, text: str, said: str, table: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError, match=said) as caught:
        EnvoyConfig.load(file)
    assert caught.value.where == (f"{file}, table [{table}]" if table else str(file))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "said", "hint", "table"),
    [
        ('adress = "localhost:1"', "there is no setting 'adress'", "choose one of: address", ""),
        ("[limit]\n", "there is no setting 'limit'", "choose one of: limits", ""),
        ('[limits]\nmemroy = "4 GiB"', "there is no setting 'memroy'", "choose one of: memory", "limits"),
        ('memory = "4 GiB"', "there is no setting 'memory'", "it belongs into the table [limits]", ""),
        ("[limits]\nbeat = 3", "there is no setting 'beat'", "into the top of the file, before the first", "limits"),
    ],
)
def test_unknown_keys_are_errors_with_near_misses(tmp_path: Path, text: str, said: str, hint: str, table: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(UnknownName, match=said) as caught:
        DirectorConfig.load(file)
    assert hint in caught.value.hint
    assert caught.value.where == (f"{file}, table [{table}]" if table else str(file))


def test_a_certificate_that_nobody_else_would_accept_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can be reached from other machines") as caught:
        DirectorConfig.load(written(tmp_path, 'address = "0.0.0.0:8470"'))
    assert caught.value.where == str(tmp_path / "hansa.toml")
    DirectorConfig.load(written(tmp_path, 'address = "0.0.0.0:8470"\nhosts = ["director.example.org"]'))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file") as caught:
        DirectorConfig.load(tmp_path / "hansa.toml")
    assert "hansa director init" in caught.value.hint
    with pytest.raises(ConfigError, match="the file cannot be read"):
        EnvoyConfig.load(tmp_path)
    (tmp_path / "hansa.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match="the file is no TOML"):
        EnvoyConfig.load(tmp_path / "hansa.toml")


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "memory", "shape"]), inner),
    max_leaves=5,
)


@given(st.sampled_from([field.name for field in dataclasses.fields(DirectorConfig)]), VALUES)
def test_no_value_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, key: str, value: Any) -> None:
    file = written(tmp_path_factory.getbasetemp(), f"{key} = {toml_value(value)}\n")
    try:
        DirectorConfig.load(file)
    except InputError as error:
        assert str(file) in error.where  # noqa: PT017  # no error at all is fine too


# --- the templates


@pytest.mark.parametrize(
    ("load", "template", "minimal"),
    [(DirectorConfig.load, template_director(), ""), (EnvoyConfig.load, ENVOY, MINIMAL)],
)
def test_templates_say_the_defaults(
    tmp_path: Path, load: Callable[[Path], object], template: str, minimal: str
) -> None:
    minimal_config = load(written(tmp_path, minimal))
    assert load(written(tmp_path, template)) == minimal_config


def keys(table: type, prefix: str = "") -> Iterator[str]:
    """Every key of a file, dotted, as the dataclasses have it."""
    assert settings_of(table).keys() == {field.name for field in dataclasses.fields(table)}
    for key, each in settings_of(table).items():
        yield prefix + key
        if isinstance(each.read, type):
            yield from keys(each.read, f"{prefix}{key}.")


def explained(template: str) -> dict[str, str]:
    """For each key in a template, dotted, the comment above it."""
    found: dict[str, str] = {}
    table = comment = ""
    for line in template.splitlines():
        if header := re.fullmatch(r"(?:# )?\[([\w.]+)\]", line):
            name = header[1].removesuffix(".x")  # of the example of a schema
            found.setdefault(name, comment)
            table, comment = ("" if line.startswith("#") else f"{header[1]}."), ""
        elif line.startswith("#"):
            comment += line.removeprefix("#")
        elif key := re.match(r"(\w+) = ", line):
            found[table + key[1]], comment = comment, ""
        else:
            comment = ""
    return found


@pytest.mark.parametrize(("config", "template"), [(DirectorConfig, template_director()), (EnvoyConfig, ENVOY)])
def test_every_key_is_explained_above_it(config: type, template: str) -> None:
    comments = explained(template)
    assert {key: comments.get(key, "") for key in keys(config) if len(comments.get(key, "").split()) < 4} == {}
    assert max(map(len, template.splitlines())) <= 120


def test_the_examples_in_the_templates_can_be_uncommented(tmp_path: Path) -> None:
    text, _, example = template_director().partition("# [schema.x]")
    example = "[schema.x]" + re.sub(r"(?m)^# ?", "", example)
    schema = DirectorConfig.load(written(tmp_path, text + example)).schema
    assert schema == {"x": Field((1, 28, 28), "float32"), "y": Field((), "int64", 10)}
    config = EnvoyConfig.load(written(tmp_path, ENVOY.replace("# country", "country").replace("# file", "file")))
    assert (config.labels, config.shard.parameters) == ({"country": "de"}, {"file": "/data/ward.csv"})


def test_templates_say_what_they_are_given(tmp_path: Path) -> None:
    schema = {"x": Field((2,), "float32"), "odd name": Field((), "int64", 3)}
    text = template_director(
        name="centre", address="[::]:9000", hosts=["director.example.org", "192.0.2.7"], schema=schema
    )
    config = DirectorConfig.load(written(tmp_path, text))
    assert (config.name, config.address, config.schema) == ("centre", "[::]:9000", schema)
    assert config.hosts == ("director.example.org", "192.0.2.7")
    parameters = {
        "file": 'a "quoted" \\ path\x7f é\n',
        "n": 3,
        "rate": 0.5,
        "on": True,
        "list": [1, "two"],
        "t": {"a b": 1},
    }
    text = template_envoy("b", "centre.example.org:9000", "w.x:Y", parameters=parameters, identity="me")
    envoy = EnvoyConfig.load(written(tmp_path, text))
    assert (envoy.name, envoy.director, envoy.identity) == ("b", "centre.example.org:9000", tmp_path / "me")
    assert envoy.shard == ShardConfig(descriptor="w.x:Y", folder=tmp_path, parameters=parameters)


@given(VALUES.filter(lambda value: value == value))
def test_values_are_written_as_toml(value: Any) -> None:
    assert repr(tomllib.loads(f"key = {toml_value(value)}")["key"]) == repr(value)


def test_a_template_is_not_written_with_what_could_not_be_read() -> None:
    with pytest.raises(ConfigError, match="name: 'A' cannot be a name"):
        template_envoy("A", "127.0.0.1:8470", "ward:Ward")
    with pytest.raises(ConfigError, match=r"shard\.descriptor: expected 'module:Class'"):
        template_envoy("a", "127.0.0.1:8470", "ward")
    with pytest.raises(ConfigError, match="a bytes cannot be written"):
        template_envoy("a", "127.0.0.1:8470", "ward:Ward", parameters={"key": b""})
    with pytest.raises(ConfigError, match="hosts: expected a list of at least 1"):
        template_director(hosts=[])
