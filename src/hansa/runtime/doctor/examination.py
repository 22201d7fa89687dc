"""Which checks there are for which folder, in the order in which a person would want to know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hansa.errors import ConfigError, HansaError
from hansa.pki.authority import KEY as AUTHORITY_KEY
from hansa.pki.identity import KEY
from hansa.protocol.peer import Role
from hansa.runtime.children.limits import Limits
from hansa.runtime.config import DirectorConfig, EnvoyConfig
from hansa.runtime.director.serve import AUTHORITY, IDENTITY
from hansa.runtime.doctor import certificates, machine, network
from hansa.runtime.doctor.finding import Finding, caught, good, of_error, problem, warning
from hansa.runtime.doctor.shard import look
from hansa.runtime.envoy.collaborators import limits_of
from hansa.runtime.holder import holder
from hansa.runtime.remembered import remembered

DIRECTOR, ENVOY = "director.toml", "envoy.toml"


@dataclass(frozen=True)
class Examined:
    """Everything that was found.

    Attributes:
        what: whose folder it is: "a Director", "an Envoy", "an identity", or "this machine".
        findings: in order.
    """

    what: str
    findings: tuple[Finding, ...]


def examine(folder: Path | None, *, now: datetime, address: str | None = None) -> Examined:
    """Look at a folder, whatever it is.

    Args:
        folder: a Director's, an Envoy's or an identity's; None for the machine alone.
        now: this moment, aware.
        address: the Director's, in place of the one that an identity remembers.

    Raises:
        ConfigError: it is none of them.
    """
    if folder is None:
        return Examined("this machine", (*machine.versions(), *machine.limits()))
    if (folder / DIRECTOR).exists():
        return Examined("a Director", (*machine.versions(), *_director(folder, now)))
    if (folder / ENVOY).exists():
        return Examined("an Envoy", (*machine.versions(), *_envoy(folder, now, address)))
    if (folder / KEY).exists():
        return Examined("an identity", (*machine.versions(), *_identity(folder, now, address)))
    raise ConfigError(
        f"this is no folder of Hansa's: it holds neither {DIRECTOR} nor {ENVOY} nor {KEY}",
        where=str(folder),
        hint="make one with hansa director init or hansa envoy init, or join with hansa pki enroll",
    )


def _director(folder: Path, now: datetime) -> list[Finding]:
    try:
        config = DirectorConfig.load(folder / DIRECTOR)
    except HansaError as error:
        return [of_error("settings", error)]
    found = [good("settings", f"{folder / DIRECTOR} can be read")]
    checks, mine = certificates.identity(folder / IDENTITY, now=now, role=Role.DIRECTOR, name=config.name)
    found += checks
    found += certificates.authority(folder / AUTHORITY, mine, now=now)
    if mine is not None and mine.peer.role is Role.DIRECTOR:
        found += certificates.hosts(mine, config.hosts)
    found += certificates.private(
        folder / IDENTITY / KEY,
        folder / AUTHORITY / AUTHORITY_KEY,
        folder / AUTHORITY / "register.sqlite",
        config.store,
    )
    with caught("journal", found):
        running = holder(config.store)
        found += network.port(config.address, running)
        found += machine.journal(config.store, running)
    found += machine.room(config.store, config.keep_free)
    return found + machine.limits(Limits(memory=config.limits.memory))


def _envoy(folder: Path, now: datetime, address: str | None) -> list[Finding]:
    try:
        config = EnvoyConfig.load(folder / ENVOY)
    except HansaError as error:
        return [of_error("settings", error)]
    found = [good("settings", f"{folder / ENVOY} can be read")]
    checks, mine = certificates.identity(config.identity, now=now, role=Role.ENVOY, name=config.name)
    found += checks
    found += certificates.private(config.identity / KEY, config.store)
    with caught("address", found):
        known = remembered(config.identity)
        if known is not None and config.director and known != config.director:
            what = f"the settings say {config.director}, the invitation said {known}"
            found.append(warning("address", what, f"correct director in {folder / ENVOY} if it is wrong"))
    if mine is not None and (director := address or config.director):
        found += network.director(director, mine)
    with caught("journal", found):
        if config.listen:
            found += network.port(config.listen.partition("://")[2], holder(config.store), "Envoy")
        found += machine.journal(config.store, holder(config.store))
    found += machine.room(config.store, config.keep_free)
    found.append(machine.offer(config))
    with caught("limits", found):
        found += machine.limits(limits_of(config))
    return [*found, _shard(config)]


def _shard(config: EnvoyConfig) -> Finding:
    looked = look(config)
    if looked.facts is None:
        error = looked.problem
        said = "the data could not be looked at" if error is None else of_error("", error).found
        return problem("data", said, "hansa envoy check shows what the class said; " + (error.hint if error else ""))
    counts = [sum(each.get(split, 0) for each in looked.facts.clients.values()) for split in ("train", "test")]
    clients = len(looked.facts.clients)
    said = f"{config.shard.descriptor} reads {counts[0]} examples to train on and {counts[1]} to test on"
    return good("data", f"{said}, of {clients} client{'' if clients == 1 else 's'}")


def _identity(folder: Path, now: datetime, address: str | None) -> list[Finding]:
    found, mine = certificates.identity(folder, now=now, role=None)
    found += certificates.private(folder / KEY)
    with caught("address", found):
        known = address or remembered(folder)
        if known is None:
            found.append(warning("Director", "it is not known where the Director is", "say it with --director"))
        elif mine is not None:
            found += network.director(known, mine)
    return found
