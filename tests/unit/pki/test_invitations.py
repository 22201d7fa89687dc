"""Invitations: as text, and as what somebody is admitted with exactly once."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hansa.errors import CertificateError, ConfigError, Damaged, HansaError, NotAllowed, ProtocolError
from hansa.pki import Authority, Identity, Invitation, expiry, peer_of, trusted
from hansa.pki.keys import new_key, request_pem
from hansa.protocol.peer import Role

HOUR = timedelta(hours=1)


@pytest.fixture
def invitation(authority: Authority, now: datetime) -> Invitation:
    return authority.invite("north", Role.ENVOY, address="director.example.org:7443", now=now)


def request(name: str = "north") -> bytes:
    return request_pem(new_key(), name)


def test_an_invitation_becomes_an_identity(
    authority: Authority, invitation: Invitation, now: datetime, tmp_path: Path
) -> None:
    read = Invitation.from_text(invitation.to_text())
    folder = tmp_path / "north"
    certificate = authority.admit(Identity.request(folder, read.name), read.token, now=now + HOUR)
    identity = Identity.install(folder, certificate, read.ca)
    assert identity == Identity.load(folder, now=now)
    assert (identity.peer.name, identity.peer.role) == ("north", Role.ENVOY)
    assert [(each.name, each.role) for each in authority.issued()] == [("north", Role.NEWCOMER), ("north", Role.ENVOY)]


def test_the_text_can_be_read_by_a_person_and_gives_the_same_invitation(invitation: Invitation) -> None:
    text = invitation.to_text()
    first, second, *rest = text.splitlines()
    assert first == "Hansa invitation for the envoy north to the Director at director.example.org:7443."
    assert second.startswith("Good once, until 2026-03-02 12:00 UTC. It is a secret")
    assert max(map(len, rest)) <= 76
    assert invitation.token not in text  # not to be seen over a shoulder
    assert Invitation.from_text(text) == invitation
    mailed = (
        "Dear colleague,\r\n\r\n" + "\r\n".join(f"> {line}  " for line in text.splitlines()) + "\r\n-- \r\nyours\r\n"
    )
    assert Invitation.from_text(mailed) == invitation


def test_no_secret_is_shown(invitation: Invitation) -> None:
    for secret in (invitation.token, invitation.key.decode().splitlines()[1]):
        assert secret not in repr(invitation)
        assert secret not in str(invitation)


def test_the_authority_keeps_no_secret_of_an_invitation(authority: Authority, invitation: Invitation) -> None:
    kept = b"".join(path.read_bytes() for path in authority.folder.iterdir())
    assert invitation.token.encode() not in kept
    assert invitation.key.splitlines()[1] not in kept


def test_the_newcomers_certificate_ends_with_the_invitation(
    authority: Authority, invitation: Invitation, now: datetime
) -> None:
    peer = trusted(invitation.certificate, invitation.ca, now=now)
    assert (peer.name, peer.role) == ("north", Role.NEWCOMER)
    assert expiry(invitation.certificate) == invitation.until == now + 24 * HOUR
    assert not invitation.expired(now + 24 * HOUR)
    assert invitation.expired(now + 25 * HOUR)
    short = authority.invite("south", Role.USER, address="[::1]:7443", now=now, valid=timedelta(minutes=5))
    assert expiry(short.certificate) == short.until == now + timedelta(minutes=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_damaged_text_is_a_clear_error_or_harmless(invitation: Invitation, data: st.DataObject) -> None:
    text = invitation.to_text()
    start = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 40))
    put = data.draw(st.text(max_size=5))
    altered = text[:start] + put + text[start + length :]
    try:
        found = Invitation.from_text(altered)
    except Damaged:
        with pytest.raises(Damaged) as caught:
            Invitation.from_text(altered)
        assert caught.value.hint
        assert invitation.token not in str(caught.value)
    else:
        assert found == invitation


def test_a_damaged_key_is_damage_and_no_other_version(invitation: Invitation) -> None:
    packed = "".join(re.findall(r"-----BEGIN.*?-----(.*)-----END", invitation.to_text(), re.DOTALL)).split()
    inner = base64.b64encode(base64.b64decode("".join(packed)).replace(b'"format"', b'"formet"')).decode()
    with pytest.raises(Damaged):
        Invitation.from_text(f"-----BEGIN HANSA INVITATION-----\n{inner}\n-----END HANSA INVITATION-----")


def changed(invitation: Invitation, **values: object) -> str:
    """The invitation's text with other values and a hash that fits them, as somebody malicious would make it."""
    packed = "".join(re.findall(r"-----BEGIN.*?-----(.*)-----END", invitation.to_text(), re.DOTALL)).split()
    known = json.loads(base64.b64decode("".join(packed))) | values
    known.pop("sha256")
    canonical = json.dumps(known, sort_keys=True, separators=(",", ":")).encode()
    known["sha256"] = hashlib.sha256(canonical).hexdigest()
    inner = base64.b64encode(json.dumps(known).encode()).decode()
    return f"-----BEGIN HANSA INVITATION-----\n{inner}\n-----END HANSA INVITATION-----"


def test_an_invitation_whose_parts_do_not_belong_together_is_refused(
    authority: Authority, invitation: Invitation, tmp_path: Path, now: datetime
) -> None:
    other = Authority.create(tmp_path / "other", "north-sea", now=now)
    assert Invitation.from_text(changed(invitation)) == invitation
    south = authority.invite("south", Role.ENVOY, address="localhost:1", now=now)
    for values in (
        {"name": "south"},
        {"name": 7},
        {"role": "king"},
        {"until": "soon"},
        {"until": 10**30},
        {"until": int(now.timestamp())},
        {"address": "no port"},
        {"ca": other.certificate.decode()},
        {"ca": "nonsense"},
        {"certificate": south.certificate.decode()},
        {"key": south.key.decode()},
        {"key": "ü"},
    ):
        with pytest.raises(Damaged, match="do not belong together"):
            Invitation.from_text(changed(invitation, **values))
    with pytest.raises(Damaged, match="not what its hash says"):
        Invitation.from_text(changed(invitation, more=1))
    with pytest.raises(ProtocolError, match="hansa-invitation/2"):
        Invitation.from_text(changed(invitation, format="hansa-invitation/2"))
    for nothing in ("", "hello", "x" * 70_000):
        with pytest.raises(Damaged):
            Invitation.from_text(nothing)
    with pytest.raises(Damaged, match="cut off"):
        Invitation.from_text(
            f"-----BEGIN HANSA INVITATION-----\n{base64.b64encode(b'[]').decode()}\n-----END HANSA INVITATION-----"
        )


@pytest.mark.parametrize(
    "address", ["", "host", "host:", "host:0", "host:65536", "a b:1", "x\n:1", "https://x:1", "::1:7"]
)
def test_an_address_is_a_host_and_a_port(authority: Authority, now: datetime, address: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        authority.invite("north", Role.ENVOY, address=address, now=now)


@pytest.mark.parametrize("role", [Role.DIRECTOR, Role.NEWCOMER])
def test_neither_director_nor_newcomer_is_invited(authority: Authority, now: datetime, role: Role) -> None:
    with pytest.raises(ConfigError, match="nobody can be invited"):
        authority.invite("north", role, address="localhost:7443", now=now)


def test_a_token_is_good_once(authority: Authority, invitation: Invitation, now: datetime) -> None:
    mine = request()
    certificate = authority.admit(mine, invitation.token, now=now)
    with pytest.raises(NotAllowed, match="used already") as caught:
        authority.admit(request(), invitation.token, now=now)
    assert invitation.token not in str(caught.value)
    assert authority.admit(mine, invitation.token, now=now + HOUR) == certificate  # its answer may have been lost
    assert len(authority.issued()) == 2
    authority.revoke("north", now=now)
    with pytest.raises(NotAllowed, match="used already"):
        authority.admit(mine, invitation.token, now=now)


def test_a_token_expires(authority: Authority, invitation: Invitation, now: datetime) -> None:
    mine = request()
    with pytest.raises(NotAllowed, match="expired on 2026-03-02 12:00 UTC"):
        authority.admit(mine, invitation.token, now=now + 24 * HOUR + timedelta(seconds=1))
    authority.admit(mine, invitation.token, now=now + 24 * HOUR)
    with pytest.raises(NotAllowed, match="expired"):
        authority.admit(mine, invitation.token, now=now + 25 * HOUR)


@pytest.mark.parametrize("token", ["", "guess", "x" * 100_000, "\ud800", "ü"])
def test_a_token_that_was_never_given_is_refused(authority: Authority, now: datetime, token: str) -> None:
    with pytest.raises(NotAllowed, match="not known here"):
        authority.admit(request(), token, now=now)


def test_what_is_refused_does_not_use_the_token(authority: Authority, invitation: Invitation, now: datetime) -> None:
    with pytest.raises(CertificateError, match="for the name 'south'"):
        authority.admit(request("south"), invitation.token, now=now)
    with pytest.raises(CertificateError, match="damaged"):
        authority.admit(b"nothing", invitation.token, now=now)
    assert peer_of(authority.admit(request(), invitation.token, now=now)).name == "north"


def test_a_later_invitation_takes_the_place_of_an_unused_one(
    authority: Authority, invitation: Invitation, now: datetime
) -> None:
    later = authority.invite("north", Role.USER, address=invitation.address, now=now)
    with pytest.raises(NotAllowed, match="withdrawn"):
        authority.admit(request(), invitation.token, now=now)
    assert peer_of(authority.admit(request(), later.token, now=now)).role is Role.USER


def test_who_is_a_member_is_invited_again_for_a_renewal_only(
    authority: Authority, invitation: Invitation, now: datetime
) -> None:
    old = authority.admit(request(), invitation.token, now=now)
    with pytest.raises(CertificateError, match="has a valid certificate already"):
        authority.invite("north", Role.ENVOY, address=invitation.address, now=now)
    with pytest.raises(CertificateError, match="has a valid certificate already"):
        authority.invite("north", Role.ADMIN, address=invitation.address, now=now, again=True)
    renewal = authority.invite("north", Role.ENVOY, address=invitation.address, now=now, again=True)
    new = authority.admit(request(), renewal.token, now=now)
    assert peer_of(new).serial != peer_of(old).serial
    assert authority.revoked() == frozenset()


def test_an_invitation_does_not_help_where_the_name_was_given_since(
    authority: Authority, invitation: Invitation, now: datetime
) -> None:
    authority.sign(request(), "north", Role.ENVOY, now=now)
    with pytest.raises(CertificateError, match="has a valid certificate already"):
        authority.admit(request(), invitation.token, now=now)


def test_revoking_a_name_withdraws_its_invitation(authority: Authority, invitation: Invitation, now: datetime) -> None:
    bootstrap = peer_of(invitation.certificate).serial
    assert authority.revoke("north", now=now) == (bootstrap,)
    assert authority.revoked() == {bootstrap}
    with pytest.raises(NotAllowed, match="withdrawn"):
        authority.admit(request(), invitation.token, now=now)


def test_of_two_who_use_a_token_at_once_exactly_one_wins(
    authority: Authority, invitation: Invitation, now: datetime
) -> None:
    count = 8
    together = threading.Barrier(count)
    others = [Authority.open(authority.folder) for _ in range(count)]

    def admitted(which: Authority) -> bytes | HansaError:
        mine = request()
        together.wait()
        try:
            return which.admit(mine, invitation.token, now=now)
        except HansaError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(admitted, others))
    refusals = [answer for answer in answers if isinstance(answer, HansaError)]
    assert len(refusals) == count - 1
    assert {type(refusal) for refusal in refusals} == {NotAllowed}
    assert [each.role for each in authority.issued()] == [Role.NEWCOMER, Role.ENVOY]


def test_a_changed_invitation_is_another_value(invitation: Invitation) -> None:
    assert replace(invitation, token="other") != invitation  # noqa: S106 - no real one
