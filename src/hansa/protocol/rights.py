"""Who may do what: for every kind of call the roles that may make it. Whatever is not named here, nobody may.

That an Envoy speaks only for itself, and that a user sees only runs of its own, is checked where the run is known.
"""

from __future__ import annotations

from collections.abc import Mapping

from hansa.errors import NotAllowed
from hansa.protocol.messages import (
    About,
    Download,
    Drain,
    Enroll,
    Follow,
    Hello,
    Lacking,
    Overview,
    Preview,
    Submit,
    Upload,
)
from hansa.protocol.peer import Peer, Role

RIGHTS: Mapping[type, frozenset[Role]] = {
    Enroll: frozenset({Role.NEWCOMER}),
    Hello: frozenset({Role.ENVOY}),
    Upload: frozenset({Role.ENVOY, Role.USER, Role.ADMIN}),
    Download: frozenset({Role.ENVOY, Role.USER, Role.ADMIN}),
    Lacking: frozenset({Role.ENVOY, Role.USER, Role.ADMIN}),
    Submit: frozenset({Role.USER, Role.ADMIN}),
    Preview: frozenset({Role.USER, Role.ADMIN}),
    About: frozenset({Role.USER, Role.ADMIN}),
    Follow: frozenset({Role.USER, Role.ADMIN}),
    Overview: frozenset({Role.ENVOY, Role.USER, Role.ADMIN}),
    Drain: frozenset({Role.ADMIN}),
}
"""The roles that may say each of these to a Director: as the first message of a session, in a call, or as a transfer's head."""


def check(peer: Peer, message: object) -> None:
    """Raise `NotAllowed` unless the peer's role may say this.

    Raises:
        NotAllowed: it may not.
    """
    if peer.role not in RIGHTS.get(type(message), frozenset()):
        raise NotAllowed(
            f"{peer.name!r} is {_a(peer.role)}, which may not do this: {type(message).__name__}",
            hint="use an identity with another role; an admin can issue one",
        )


def _a(role: Role) -> str:
    return f"{'an' if role.value[0] in 'ae' else 'a'} {role.value}"
