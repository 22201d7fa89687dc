"""The Envoy's file: an owner's say over who may compute what on their data, with how much of their machine, and what leaves.

This file must not know how an Envoy runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hansa.errors import ConfigError
from hansa.experiment.approval import Policy
from hansa.runtime.children.limits import NICEST
from hansa.runtime.config import kinds
from hansa.runtime.config.bandwidth import Bandwidth, parse_bandwidth
from hansa.runtime.config.choices import Environment, LogLevel, check_signers
from hansa.runtime.config.settings import read_file, required, section, setting, template

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class ShardConfig:
    """`[shard]` of an Envoy; each setting is explained beside its name."""

    descriptor: str = field(
        metadata=required(
            kinds.reference,
            'The class that reads your data, as "module:Class": a hansa.data.shards.ShardDescriptor of your own. "ward:Ward"'
            " is the class Ward in the file ward.py.",
        )
    )
    folder: Path = setting(
        kinds.path,
        ".",
        "The folder in which its module is looked for before the installed packages; relative to this file's folder.",
    )
    check: bool = setting(
        kinds.flag,
        True,
        "Whether all examples are read when the Envoy starts, and compared with the schema, before anything is announced:"
        " shapes, dtypes, missing values, labels out of range. False only counts the examples,"
        " and takes the descriptor's word for the rest.",
    )
    parameters: Mapping[str, Any] = setting(
        kinds.anything,
        {},
        "What its __init__ is given, by name. Nothing in this table is changed or looked at, paths included: write those in"
        " full, or let the class look beside its own file.",
        ("[shard.parameters]", '# file = "/data/ward.csv"'),
    )


@dataclass(frozen=True, kw_only=True)
class EnvoyApproval:
    """`[approval]` of an Envoy; each setting is explained beside its name."""

    policy: Policy = setting(
        kinds.choice(Policy),
        "ask",
        'Which experiments may compute on your data: "ask" (you are asked about each, and shown its source; see hansa envoy'
        ' review), "trusted" (those of the signers may, you are asked about the others) or "auto" (all may). The default is'
        " ask: nothing runs here that you have not seen.",
    )
    signers: tuple[str, ...] = setting(
        kinds.listed(kinds.name), [], 'The users whose experiments the policy "trusted" lets run without asking you.'
    )

    def __post_init__(self) -> None:
        check_signers(self.policy, self.signers)


@dataclass(frozen=True, kw_only=True)
class EnvoyLimits:
    """`[limits]` of an Envoy; each setting is explained beside its name. In bytes and seconds."""

    memory: int = setting(
        kinds.size(16 * MIB),
        "8 GiB",
        "The most memory that an experiment may take, your data as it reads them included.",
    )
    time: float = setting(
        kinds.seconds,
        "1 h",
        "The longest that an experiment may compute at one visit, which is one client's part of a round.",
    )
    stall: float = setting(
        kinds.seconds,
        "10 min",
        "The longest that an experiment may do nothing at a visit: no step of its training, and next to no computing, where the"
        " system tells how much. It is then ended and begun again, twice at most.",
    )
    threads: int = setting(
        kinds.whole(1),
        1,
        "How many threads it computes with. Only with 1 are the results the same, bit for bit, whenever they are repeated.",
    )
    nice: int = setting(
        kinds.whole(0),
        5,
        "By how much it yields the processor to everything else on this machine: 0 (not at all) to 19, as Unix counts it.",
    )
    network: bool = setting(
        kinds.flag,
        False,
        "Whether it may use the network. False cuts it off where the system allows that; hansa doctor says whether it does.",
    )
    user: str = setting(
        kinds.text,
        "",
        "The system's user that it runs as, which must be able to read your data; empty for the Envoy's own. To change the"
        " user the Envoy must run as root.",
    )

    def __post_init__(self) -> None:
        if self.nice > NICEST:
            raise ConfigError(f"nice is at most {NICEST}, not {self.nice}", hint="19 yields to everything else")


@dataclass(frozen=True, kw_only=True)
class Leaves:
    """`[leaves]` of an Envoy; each setting is explained beside its name. In bytes."""

    logs: bool = setting(
        kinds.flag,
        False,
        "Whether what an experiment prints goes to its user. It may print your data. False keeps it here.",
    )
    messages: bool = setting(
        kinds.flag,
        False,
        "Whether the text of an error goes to the user too. It may quote your data. False sends the error's type, and the"
        " files and lines where it happened.",
    )
    metrics_limit: int = setting(
        kinds.size(), "64 KiB", "The most that the metrics of one visit may take. Larger ones are not sent."
    )


@dataclass(frozen=True, kw_only=True)
class EnvoyConfig:
    """An Envoy's settings; each is explained beside its name, in the words that `template_envoy` writes.

    Sizes are in bytes, durations in seconds; `load` makes paths absolute.
    """

    name: str = field(
        metadata=required(
            kinds.name,
            "Your name in the federation, as your invitation says it. It is the id of your client, and the beginning of the"
            " ids if you host several.",
        )
    )
    director: str = setting(
        kinds.perhaps(kinds.dialled),
        "",
        "Where the Director is reached, as host:port, or wss://host:port for WebSocket. Either this or listen is said.",
    )
    listen: str = setting(
        kinds.perhaps(kinds.listened_url),
        "",
        "Where the Envoy waits to be dialled instead, as wss://host:port, by a Director or a coordinating script that holds a"
        " Director's certificate of your federation. 0.0.0.0 can be reached through every network that this machine is in.",
    )
    identity: Path = setting(
        kinds.path,
        "identity",
        "The folder of your key and certificate. The key never leaves it. Like every path in this file it is relative to the"
        " file's folder.",
    )
    store: Path = setting(
        kinds.path,
        "store",
        "The folder of the Envoy's own files: journal, models, experiments, logs, what your clients keep between rounds. Your"
        " data are not copied into it.",
    )
    keep_free: int = setting(
        kinds.size(),
        "1 GiB",
        "How much room is left on the disk. Before there is less, the Envoy accepts no more work.",
    )
    bandwidth: Bandwidth = setting(
        parse_bandwidth,
        "unlimited",
        'The most that models and updates take of your connection, all of them together: "1 Mbit/s", or one speed for each way,'
        ' { up = "1 Mbit/s", down = "10 Mbit/s" }. A little less than a slow line can carry keeps signs of life from waiting'
        " behind a model.",
    )
    devices: tuple[str, ...] = setting(
        kinds.listed(kinds.text, least=1),
        ["cpu"],
        "Where experiments may compute, in the learning framework's own words, such as cpu or cuda:0. One visit at a time takes"
        " each.",
    )
    environment: Environment = setting(
        kinds.choice(Environment),
        "inherit",
        'Which Python packages an experiment finds: "inherit" (those that are installed here; one that needs others is'
        ' refused) or "isolated" (those that it declares, installed from the package index into a place of their own).',
    )
    log: LogLevel = setting(
        kinds.choice(LogLevel), "info", 'The least urgent messages in the log: "debug", "info", "warning" or "error".'
    )
    labels: Mapping[str, str] = setting(
        kinds.labels,
        {},
        "What experiments may choose Envoys by. Everybody in the federation can read them.",
        ("[labels]", '# country = "de"'),
    )
    shard: ShardConfig = field(metadata=required(ShardConfig, "Your data, and the class that reads them."))
    approval: EnvoyApproval = section(EnvoyApproval, "Which experiments may run here.")
    limits: EnvoyLimits = section(
        EnvoyLimits, "What the child process may take in which an experiment computes. It runs foreign code."
    )
    leaves: Leaves = section(
        Leaves,
        "What may leave this machine besides updates, the metrics that an experiment declares,"
        " your labels, and the schema and the number of your examples.",
    )

    def __post_init__(self) -> None:
        if not self.director and not self.listen:
            raise ConfigError(
                "director is missing",
                hint='say where it is, as host:port; or listen = "wss://0.0.0.0:8777" to be dialled',
            )
        if self.director and self.listen:
            raise ConfigError(
                f"an Envoy either dials its Director, {self.director}, or listens, at {self.listen}",
                hint="leave out director or listen",
            )

    @classmethod
    def load(cls, file: Path) -> EnvoyConfig:
        """The settings in a file.

        Raises:
            ConfigError: there is no such file, it is no TOML, or a setting cannot be; says the key, the expected, the found.
            UnknownName: a key that there is not, with near ones.
        """
        return read_file(cls, file, "write one with: hansa envoy init")


TITLE = (
    "The settings of a Hansa Envoy: what you allow others to do with your data and your machine. They are read when it"
    " starts. What is written here is the default unless somebody changed it. Sizes are written"
    ' "512 MiB", durations in seconds or "5 min". A key that there is not is an error, and no environment variable changes'
    " what this file says."
)

NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


def template_envoy(
    name: str,
    director: str,
    descriptor: str,
    *,
    parameters: Mapping[str, Any] = NO_PARAMETERS,
    identity: str = "identity",
    listen: str = "",
) -> str:
    """The commented file that `hansa envoy init` writes; `EnvoyConfig.load` reads it.

    Args:
        name: the Envoy's.
        director: its address, "host:port"; empty for an Envoy that listens.
        descriptor: "module:Class".
        parameters: what the class is given; text, numbers, true and false, lists and tables of them.
        identity: the folder of the key and the certificate.
        listen: where it listens, "wss://host:port"; empty for one that dials.

    Raises:
        ConfigError: an argument is none that such a file may say.
    """
    values = {
        "name": name,
        "director": director,
        "listen": listen,
        "identity": identity,
        "shard.descriptor": descriptor,
        "shard.parameters": dict(parameters),
    }
    return template(EnvoyConfig, TITLE, values)
