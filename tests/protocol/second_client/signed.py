"""Who wrote an experiment, and how to join: what docs/protocol.md says of certificates, with `openssl` for the arithmetic."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

PREFIX = b"hansa signature 1\n"
BEGIN, END = "-----BEGIN HANSA INVITATION-----", "-----END HANSA INVITATION-----"


class NotSigned(Exception):
    """Nobody whom the federation knows has signed this."""


def signer(certificate: bytes, authority: bytes, sha256: str, signature: bytes, at: datetime) -> tuple[str, str]:
    """The role and the name of who signed a manifest: a user, or an admin."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in (
            ("certificate", certificate),
            ("authority", authority),
            ("signature", signature),
            ("signed", PREFIX + sha256.encode("ascii")),
        ):
            (folder / file).write_bytes(content)
        moment = str(int(at.timestamp()))
        openssl(folder, "verify", "-attime", moment, "-CAfile", "authority", "certificate")
        text = openssl(folder, "x509", "-in", "certificate", "-noout", "-ext", "subjectAltName")
        found = re.search(r"URI:hansa:(\w+)/([a-z0-9._-]+)", text.decode())
        if found is None or found[1] not in ("user", "admin"):
            raise NotSigned("the certificate is no user's")
        (folder / "key").write_bytes(openssl(folder, "x509", "-in", "certificate", "-noout", "-pubkey"))
        openssl(folder, "dgst", "-sha256", "-verify", "key", "-signature", "signature", "signed")
    return found[1], found[2]


def request(folder: Path, name: str) -> bytes:
    """A key in this folder, and a request for a certificate for it."""
    folder.mkdir(parents=True, exist_ok=True)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(folder, "req", "-new", *curve, "-keyout", "key.pem", "-subj", f"/CN={name}", "-out", "request.pem")
    (folder / "key.pem").chmod(0o600)
    return (folder / "request.pem").read_bytes()


def invitation(text: str) -> dict[str, Any]:
    """What an invitation holds."""
    packed = text.partition(BEGIN)[2].partition(END)[0]
    held: dict[str, Any] = json.loads(base64.b64decode(re.sub(r"[\s>]", "", packed)))
    expected = held.pop("sha256")
    canonical = json.dumps(held, sort_keys=True, separators=(",", ":")).encode("ascii")
    if held["format"] != "hansa-invitation/1" or hashlib.sha256(canonical).hexdigest() != expected:
        raise NotSigned("this is no invitation, or it was altered")
    return held


def openssl(folder: Path, *arguments: str) -> bytes:
    """What `openssl` says."""
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, check=False)  # noqa: S607
    if done.returncode:
        raise NotSigned((done.stderr or done.stdout).decode(errors="replace").strip())
    return done.stdout
