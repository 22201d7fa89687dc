"""An invitation: the one text file that an owner or a scientist is handed to join with.

It holds secrets, a token and the key of a certificate that is good for nothing but to be admitted, until both expire together.
This file must not know how invitations are issued or redeemed, nor where they are kept.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hansa.errors import CertificateError, ConfigError, Damaged, ProtocolError
from hansa.pki.certificates import check_issued_by, load_ca, load_certificate, public_key, spoken, subject, utc
from hansa.pki.keys import key_id, load_key
from hansa.protocol.peer import Role

FORMAT = "hansa-invitation/1"
_BEGIN, _END = "-----BEGIN HANSA INVITATION-----", "-----END HANSA INVITATION-----"
_LONGEST = 64 * 1024
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})")
_FIELDS = {"format", "address", "name", "role", "until", "ca", "certificate", "token", "key", "sha256"}


def checked_address(address: str) -> str:
    """The address itself, if it is `host:port` (an IPv6 host in brackets).

    Raises:
        ConfigError: it is not.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found[2]) < 65536:
        raise ConfigError(
            f"{address[:300]!r} is not an address", hint="give host:port, such as 'director.example.org:7443'"
        )
    return address


@dataclass(frozen=True, slots=True)
class Invitation:
    """What somebody needs to join a federation, and nothing else.

    Attributes:
        address: where the Director is reached, `host:port`.
        name: who is invited.
        role: as what.
        until: the last second in which it can be used, in UTC.
        ca: the certificate of the federation's authority, PEM.
        certificate: the newcomer's, PEM, to dial the Director with; ends when the invitation does.
        token: what the Director gives a certificate for, once. A secret.
        key: the private key of the newcomer's certificate, PEM. A secret.
    """

    address: str
    name: str
    role: Role
    until: datetime
    ca: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    token: str = field(repr=False)
    key: bytes = field(repr=False)

    def expired(self, now: datetime) -> bool:
        """Whether it is too late to use it.

        Raises:
            ConfigError: `now` has no zone.
        """
        return utc(now) > self.until

    def to_text(self) -> str:
        """The invitation as text: what it is, for a person, and all of it, for `from_text`. Write it to a private file."""
        values = {
            "format": FORMAT,
            "address": self.address,
            "name": self.name,
            "role": self.role.value,
            "until": int(utc(self.until).timestamp()),
            "ca": self.ca.decode("ascii"),
            "certificate": self.certificate.decode("ascii"),
            "token": self.token,
            "key": self.key.decode("ascii"),
        }
        packed = base64.b64encode(_canonical(values | {"sha256": _sum(values)})).decode("ascii")
        return "\n".join(
            [
                f"Hansa invitation for the {self.role.value} {self.name} to the Director at {self.address}.",
                f"Good once, until {spoken(self.until)}. It is a secret: whoever has it can join under this name.",
                "",
                _BEGIN,
                *textwrap.wrap(packed, 76),
                _END,
                "",
            ]
        )

    @classmethod
    def from_text(cls, text: str) -> Invitation:
        """The invitation in this text. What a mail program adds around it and to its line ends does not matter.

        Raises:
            Damaged: a part is missing, or was altered.
            ProtocolError: it was written by a version of Hansa that this one does not know.
        """
        values = _unpacked(text)
        try:
            invitation = cls(
                address=checked_address(_text(values, "address")),
                name=_text(values, "name"),
                role=Role(_text(values, "role")),
                until=datetime.fromtimestamp(_whole(values, "until"), UTC),
                ca=_text(values, "ca").encode("ascii"),
                certificate=_text(values, "certificate").encode("ascii"),
                token=_text(values, "token"),
                key=_text(values, "key").encode("ascii"),
            )
            invitation._check()
        except (ValueError, OverflowError, OSError, CertificateError):
            raise _damaged("its parts do not belong together") from None
        return invitation

    def _check(self) -> None:
        """See that the newcomer's certificate is this authority's, this name's, this key's, and as long as the token's."""
        certificate = load_certificate(self.certificate)
        check_issued_by(certificate, load_ca(self.ca))
        peer, key = subject(certificate), load_key(self.key, where="").public_key()
        if (peer.name, peer.role, certificate.not_valid_after_utc) != (self.name, Role.NEWCOMER, self.until):
            raise ValueError
        if key_id(key) != key_id(public_key(certificate)):
            raise ValueError


def _unpacked(text: str) -> Mapping[str, object]:
    """The values that the text carries, whole and of this version."""
    if len(text) > _LONGEST:
        raise _damaged(f"it has at most {_LONGEST} characters, this text has {len(text)}")
    _, begun, rest = text.partition(_BEGIN)
    packed, ended, _ = rest.partition(_END)
    if not begun or not ended:
        raise _damaged(f"it goes from the line {_BEGIN!r} to the line {_END!r}, which are not both there")
    try:  # a mail that is answered puts "> " before each line
        values = json.loads(base64.b64decode(re.sub(r"[\s>]+", "", packed), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _damaged("it was cut off or altered on its way") from None
    if not isinstance(values, dict):
        raise _damaged("it was cut off or altered on its way")
    if values.pop("sha256", None) != _sum(values):
        raise _damaged("its content is not what its hash says")
    if values.get("format") != FORMAT:
        raise ProtocolError(
            f"this invitation has the format {str(values.get('format'))[:40]!r}; this Hansa knows {FORMAT!r}",
            hint="install the version of Hansa that the Director has",
        )
    if values.keys() | {"sha256"} != _FIELDS:
        raise _damaged("its content is not what its hash says")
    return values


def _canonical(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _sum(values: Mapping[str, object]) -> str:
    return hashlib.sha256(_canonical(values)).hexdigest()


def _text(values: Mapping[str, object], name: str) -> str:
    value = values[name]
    if not isinstance(value, str):
        raise ValueError(name)  # noqa: TRY004 - all that is wrong with it is one kind of damage
    return value


def _whole(values: Mapping[str, object], name: str) -> int:
    value = values[name]
    if not isinstance(value, int):
        raise ValueError(name)  # noqa: TRY004 - as above
    return value


def _damaged(why: str) -> Damaged:
    return Damaged(f"this invitation is damaged: {why}", hint="copy the whole text again, or ask for a new invitation")
