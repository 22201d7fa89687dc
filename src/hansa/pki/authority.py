"""The federation's own certificate authority: who is a member, as what, and who is one no longer.

It lives in a folder of its own beside the Director. This file must not know what members do with their certificates, nor
who may ask it for what: that is decided by whoever calls it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hansa.errors import CertificateError, ConfigError, NotAllowed, UnknownName
from hansa.pki.certificates import certificate_pem, load_ca, public_key, serial_of, spoken, utc
from hansa.pki.files import PRIVATE, PUBLIC, make_folder, read, write, write_new
from hansa.pki.invitation import Invitation, checked_address
from hansa.pki.issuing import MEMBER_LASTS, Issuer, end, issue, self_signed
from hansa.pki.keys import key_id, key_pem, load_key, new_key, read_request
from hansa.pki.register import Issued, Register, Stamp, Transaction
from hansa.protocol.peer import Role, checked_name

KEY = "ca.key"
CERTIFICATE = "ca.crt"


@dataclass(frozen=True, slots=True)
class Authority:
    """A federation's authority. Any number of processes and threads may use the same folder at once.

    Attributes:
        folder: where it lives: `ca.key` (mode 0600), `ca.crt`, `register.sqlite` and `revocations`.
        certificate: its certificate, PEM: what every member trusts.
    """

    folder: Path
    certificate: bytes = field(repr=False)
    _issuer: Issuer = field(repr=False)
    _register: Register = field(repr=False)

    @classmethod
    def create(cls, folder: Path, name: str, *, now: datetime) -> Authority:
        """Make a new authority, valid for ten years.

        Args:
            folder: a new or empty folder.
            name: the federation's, see `checked_name`.
            now: this moment, aware.

        Raises:
            ConfigError: there is one in the folder, or a part of one; `name` cannot be one; `now` has no zone.
            StoreError: the folder cannot be written.
        """
        key = new_key()
        certificate = self_signed(name, key, now=now)
        make_folder(folder)
        hint = "open it, or choose another folder; remove its files only if no member has a certificate of it"
        # The key first, as its name is taken by one process only; the certificate last, as it makes the folder complete.
        taken = (folder / CERTIFICATE).exists() or Register(folder).exists()
        if taken or not write_new(folder / KEY, key_pem(key), PRIVATE):
            raise ConfigError("there is an authority, or a part of one, in this folder", where=str(folder), hint=hint)
        Register(folder).create()
        write(folder / CERTIFICATE, certificate_pem(certificate), PUBLIC)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path) -> Authority:
        """The authority in this folder.

        Raises:
            CertificateError: there is none, or its key and certificate do not belong together.
            StoreError: its files cannot be read.
        """
        pem, secret = read(folder / CERTIFICATE), read(folder / KEY)
        if pem is None or secret is None:
            absent = " and ".join(name for name, data in ((CERTIFICATE, pem), (KEY, secret)) if data is None)
            raise CertificateError(
                f"there is no complete authority in this folder: {absent} is missing",
                where=str(folder),
                hint="make one with Authority.create in an empty folder, or restore this folder from a backup",
            )
        certificate = load_ca(pem, where=str(folder / CERTIFICATE))
        key = load_key(secret, where=str(folder / KEY))
        if key_id(public_key(certificate)) != key_id(key.public_key()):
            raise CertificateError(
                f"{KEY} is not the key of {CERTIFICATE}",
                where=str(folder),
                hint="restore both from the same backup",
            )
        register = Register(folder)
        register.check()
        return cls(folder, pem, Issuer(certificate, key), register)

    @property
    def name(self) -> str:
        """The federation's name."""
        (common,) = self._issuer.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(common.value)

    def invite(
        self,
        name: str,
        role: Role,
        *,
        address: str,
        now: datetime,
        valid: timedelta = timedelta(hours=24),
        again: bool = False,
    ) -> Invitation:
        """Invite somebody. Earlier invitations to the same name that were not used are withdrawn.

        Args:
            name: who; see `checked_name`.
            role: as what: an envoy, a user or an administrator.
            address: where the Director is reached, `host:port`.
            now: this moment, aware.
            valid: how long the invitation can be used.
            again: whether a name that has a valid certificate in the same role may be given another (a renewal).

        Returns:
            The invitation, which holds secrets: its token is kept here as a hash only.

        Raises:
            ConfigError: a name, role, address or time that cannot be one.
            CertificateError: the name has a valid certificate, or the authority has expired.
            StoreError: the register cannot be written.
        """
        checked_name(name)
        checked_address(address)
        if role in (Role.DIRECTOR, Role.NEWCOMER):
            raise ConfigError(
                f"nobody can be invited as a {role.value}",
                hint="invite an envoy, a user or an admin; a Director's certificate is made with Authority.sign",
            )
        token, key = secrets.token_urlsafe(32), new_key()
        until = end(self._issuer, now=now, valid=valid)
        with self._register.transaction() as register:
            _check_free(register, name, role, now=now, again=again)
            bootstrap = self._issue(register, name, Role.NEWCOMER, key.public_key(), now=now, until=until)
            register.invite(_hashed(token), name, role, until=until, again=again, bootstrap=serial_of(bootstrap))
        return Invitation(
            address=address,
            name=name,
            role=role,
            until=until,
            ca=self.certificate,
            certificate=certificate_pem(bootstrap),
            token=token,
            key=key_pem(key),
        )

    def admit(self, csr: bytes, token: str, *, now: datetime) -> bytes:
        """Give the bearer of an invitation their certificate, once.

        Asked again by the same key with the same token, it answers with the same certificate, so that an answer which was
        lost on its way leaves nobody outside. Any other key is refused.

        Args:
            csr: the request, PEM, from somebody not yet known.
            token: of the invitation.
            now: this moment, aware.

        Returns:
            The certificate, PEM, valid for a year.

        Raises:
            NotAllowed: the token is unknown, withdrawn, expired or used.
            CertificateError: the request is damaged or for another name; the name has a valid certificate.
            StoreError: the register cannot be written; the token is still good.
        """
        request, hashed = read_request(csr), _hashed(token)
        with self._register.transaction() as register:
            invited = register.invited(hashed)
            if invited is None:
                raise _refused("is not known here")
            if invited.withdrawn:
                raise _refused("was withdrawn")
            if utc(now) > invited.until:
                raise _refused(f"expired on {spoken(invited.until)}")
            request.check_name(invited.name)
            if invited.serial is not None:
                before = {each.serial: each for each in register.issued(invited.name)}[invited.serial]
                if invited.key != key_id(request.key) or before.revoked is not None:
                    raise _refused("was used already")
                return register.certificate(invited.serial)
            _check_free(register, invited.name, invited.role, now=now, again=invited.again)
            until = end(self._issuer, now=now, valid=MEMBER_LASTS)
            certificate = self._issue(register, invited.name, invited.role, request.key, now=now, until=until)
            register.use(hashed, serial=serial_of(certificate), key=key_id(request.key))
        return certificate_pem(certificate)

    def sign(
        self,
        csr: bytes,
        name: str,
        role: Role,
        *,
        now: datetime,
        hosts: Sequence[str] = (),
        valid: timedelta = MEMBER_LASTS,
        again: bool = False,
    ) -> bytes:
        """Sign a request that was brought by hand, or the Director's own.

        Args:
            csr: the request, PEM.
            name: who it must be for.
            role: what its bearer may do.
            now: this moment, aware.
            hosts: for a Director, and only there: the DNS names and IP addresses under which it is dialled.
            valid: how long; no longer than the authority.
            again: whether a name that has a valid certificate in the same role may be given another (a renewal).

        Returns:
            The certificate, PEM.

        Raises:
            ConfigError: a name, role, host or time that cannot be one.
            CertificateError: the request is damaged or for another name; the name has a valid certificate, or the
                authority has expired.
            StoreError: the register cannot be written.
        """
        checked_name(name)
        if role is Role.NEWCOMER:
            raise ConfigError(
                "a newcomer's certificate comes with an invitation only", hint="invite the name, or sign for its role"
            )
        request = read_request(csr)
        request.check_name(name)
        until = end(self._issuer, now=now, valid=valid)
        with self._register.transaction() as register:
            _check_free(register, name, role, now=now, again=again)
            certificate = self._issue(register, name, role, request.key, now=now, until=until, hosts=hosts)
        return certificate_pem(certificate)

    def revoke(self, whom: str, *, now: datetime, why: str = "") -> tuple[str, ...]:
        """Revoke all certificates of a name, or a single one; unused invitations are withdrawn with them.

        Args:
            whom: a name, or the serial of a certificate in hexadecimal.
            now: this moment, aware.
            why: the reason, kept in the register.

        Returns:
            The serials that were revoked by this call: none where all have expired or were revoked before.

        Raises:
            UnknownName: no certificate was issued to this name, nor with this serial.
            ConfigError: `now` has no zone.
            StoreError: the register cannot be written; nothing was revoked.
        """
        moment = utc(now)
        with self._register.transaction() as register:
            known = register.issued()
            named = [each for each in known if each.name == whom]
            meant = named or [each for each in known if each.serial == whom.lower()]
            if not meant:
                raise UnknownName.among("member or certificate", whom, dict.fromkeys(each.name for each in known))
            current = [each for each in meant if each.revoked is None and each.until >= moment]
            register.revoke(current, now=moment, why=why)
        return tuple(each.serial for each in current)

    def revoked(self) -> frozenset[str]:
        """The serials of all certificates that were revoked, in hexadecimal. Take a `stamp` before, to know when to look again.

        Raises:
            StoreError: the register cannot be read.
        """
        return self._register.revoked()

    def stamp(self) -> Stamp:
        """A value that differs from an earlier one when any process has revoked something since; costs one `stat`.

        Raises:
            StoreError: the folder is gone.
        """
        return self._register.stamp()

    def issued(self) -> list[Issued]:
        """All certificates, the newcomers' among them, in the order in which they were issued.

        Raises:
            StoreError: the register cannot be read.
        """
        with self._register.transaction() as register:
            return register.issued()

    def _issue(
        self,
        register: Transaction,
        name: str,
        role: Role,
        key: ec.EllipticCurvePublicKey,
        *,
        now: datetime,
        until: datetime,
        hosts: Sequence[str] = (),
    ) -> x509.Certificate:
        certificate = issue(self._issuer, name, role, key, now=now, until=until, hosts=hosts)
        since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        register.add(Issued(name, role, serial_of(certificate), since, until), certificate_pem(certificate))
        return certificate


def _check_free(register: Transaction, name: str, role: Role, *, now: datetime, again: bool) -> None:
    """See that the name may have a certificate in this role. A newcomer's does not count."""
    moment = utc(now)
    for held in register.issued(name):
        if held.role is Role.NEWCOMER or held.revoked is not None or held.until < moment:
            continue
        if not again or held.role is not role:
            raise CertificateError(
                f"{name!r} has a valid certificate already, as {held.role.value}, until {spoken(held.until)}",
                hint="revoke it first"
                + (
                    ", or say that it is a renewal (again)"
                    if held.role is role
                    else f", to make {name!r} a {role.value}"
                ),
            )


def _hashed(token: str) -> str:
    """What is kept of a token. It has 256 random bits, so that a fast hash without salt is enough."""
    return hashlib.sha256(token.encode("utf-8", "backslashreplace")).hexdigest()


def _refused(why: str) -> NotAllowed:
    return NotAllowed(f"this invitation {why}", hint="ask whoever runs the Director for a new invitation")
