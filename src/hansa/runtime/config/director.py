"""The Director's file: what it listens on, keeps, allows and expects.

This file must not know how a Director runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hansa.errors import ConfigError
from hansa.experiment.approval import Policy
from hansa.runtime.config import kinds
from hansa.runtime.config.address import is_loopback, parse_address
from hansa.runtime.config.choices import LogLevel, check_signers
from hansa.runtime.config.settings import read_file, section, setting, template

if TYPE_CHECKING:
    from hansa.data.schema import Schema

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class DirectorApproval:
    """`[approval]` of a Director; each setting is explained beside its name. The deadline is in seconds."""

    policy: Policy = setting(
        kinds.choice(Policy),
        "auto",
        'Which experiments the Director takes: "auto" (every one of a user with a certificate), "trusted" (those of the'
        ' signers; an administrator is asked about the others) or "ask" (an administrator is asked about each). The default'
        " is auto, because every owner decides for their own data whatever is chosen here.",
    )
    signers: tuple[str, ...] = setting(
        kinds.listed(kinds.name), [], 'The users whose experiments the policy "trusted" takes without asking.'
    )
    deadline: float = setting(
        kinds.seconds,
        "24 h",
        "How long an experiment waits for its approvals, the owners' included, before it is given up.",
    )

    def __post_init__(self) -> None:
        check_signers(self.policy, self.signers)


@dataclass(frozen=True, kw_only=True)
class DirectorLimits:
    """`[limits]` of a Director; each setting is explained beside its name. In bytes and seconds."""

    memory: int = setting(
        kinds.size(16 * MIB),
        "4 GiB",
        "The most memory that the Aggregator of one experiment may take, its Python and libraries included.",
    )
    time: float = setting(
        kinds.seconds,
        "10 min",
        "The longest that an Aggregator may work at one step of an experiment, such as making one update of many, before"
        " it is ended.",
    )


@dataclass(frozen=True, kw_only=True)
class DirectorConfig:
    """A Director's settings; each is explained beside its name, in the words that `template_director` writes.

    Sizes are in bytes, durations in seconds; `load` makes paths absolute.
    """

    name: str = setting(
        kinds.name,
        "director",
        "The Director's name, in its certificate and in the logs: small letters, digits, '.', '_', '-'.",
    )
    address: str = setting(
        kinds.listened,
        "127.0.0.1:8470",
        "Where the Director listens, as host:port. 127.0.0.1 can be reached from this machine alone, 0.0.0.0 through every"
        " network that it is in; for a port of 0 the system chooses one.",
    )
    websocket: str = setting(
        kinds.perhaps(kinds.listened),
        "",
        "Where the Director listens for WebSocket besides, as host:port; empty for nowhere. It is dialled as wss://host:port,"
        " and gets through HTTP proxies that stop what address is for.",
    )
    workers: tuple[str, ...] = setting(
        kinds.listed(kinds.url),
        [],
        "Envoys that listen, as wss://host:port each: the Director dials these, again and again until they are there.",
    )
    hosts: tuple[str, ...] = setting(
        kinds.listed(kinds.host, least=1),
        ["localhost", "127.0.0.1"],
        "The DNS names and IP addresses under which owners and users reach it. Its server certificate is good for these only;"
        " a change here needs a new certificate.",
    )
    store: Path = setting(
        kinds.path,
        "store",
        "The folder of the Director's own files: journal, models, experiments. Nobody else should be able to read it. Like"
        " every path in this file it is relative to the file's folder.",
    )
    max_running: int = setting(
        kinds.whole(1), 1, "How many experiments may run at a time; the others wait in the order in which they came."
    )
    max_model: int = setting(
        kinds.size(1),
        "2 GiB",
        "The largest model or update that is accepted from anybody. A larger one is refused unread.",
    )
    keep_free: int = setting(
        kinds.size(),
        "1 GiB",
        "How much room is left on the disk. The Director stops accepting before there is less, and goes on when there is more.",
    )
    beat: float = setting(
        kinds.seconds,
        "20 s",
        "How often each Envoy says that it is there, also while it trains. One that stays silent much longer counts as gone.",
    )
    log: LogLevel = setting(
        kinds.choice(LogLevel), "info", 'The least urgent messages in the log: "debug", "info", "warning" or "error".'
    )
    approval: DirectorApproval = section(DirectorApproval, "Which experiments may run.")
    limits: DirectorLimits = section(
        DirectorLimits,
        "What the child process may take that combines the updates of one experiment. It runs foreign code.",
    )
    schema: Schema | None = setting(
        kinds.schema,
        None,
        "What an example looks like, one table for each field: its shape without the batch's axis, NumPy's name of its dtype"
        " and, for labels, the number of classes. An Envoy whose data look different is told so and takes no part. Without"
        " a schema every Envoy's own is accepted.",
        (
            "# [schema.x]",
            "# shape = [1, 28, 28]",
            '# dtype = "float32"',
            "#",
            "# [schema.y]",
            "# shape = []",
            '# dtype = "int64"',
            "# classes = 10",
        ),
    )

    def __post_init__(self) -> None:
        for address in filter(None, (self.address, self.websocket)):
            self._check_reached(address)

    def _check_reached(self, address: str) -> None:
        host, _ = parse_address(address, listening=True)
        if not is_loopback(host) and all(is_loopback(each) for each in self.hosts):
            raise ConfigError(
                f"address {address!r} can be reached from other machines, but the hosts {', '.join(self.hosts)} mean"
                " each machine itself: nobody would accept the server's certificate",
                hint='add the name that owners will dial, such as hosts = ["director.example.org", "localhost"]',
            )

    @classmethod
    def load(cls, file: Path) -> DirectorConfig:
        """The settings in a file.

        Raises:
            ConfigError: there is no such file, it is no TOML, or a setting cannot be; says the key, the expected, the found.
            UnknownName: a key that there is not, with near ones.
        """
        return read_file(cls, file, "write one with: hansa director init")


TITLE = (
    "The settings of a Hansa Director, read when it starts. What is written here is the default unless somebody changed it."
    ' Sizes are written "512 MiB", durations in seconds or "5 min". A key that there is not is an error, and no environment'
    " variable changes what this file says."
)


def template_director(
    *,
    name: str = "director",
    address: str = "127.0.0.1:8470",
    hosts: Sequence[str] = ("localhost", "127.0.0.1"),
    schema: Schema | None = None,
) -> str:
    """The commented file that `hansa director init` writes; `DirectorConfig.load` reads it.

    Raises:
        ConfigError: an argument is none that such a file may say.
    """
    values: Mapping[str, Any] = {
        "name": name,
        "address": address,
        "hosts": list(hosts),
        "schema": None if schema is None else _written(schema),
    }
    return template(DirectorConfig, TITLE, values)


def _written(schema: Schema) -> dict[str, Any]:
    from hansa.data.documents import schema_to_json  # only here, as in `kinds`

    return schema_to_json(schema)
