"""`python -m second_client SETTINGS.json`: an Envoy that needs nothing of Hansa, and proves it.

With `"invitation"` in its settings it enrols first. It ends when it has heard Over of so many runs as the settings say, and
tells what happened on standard output, one JSON object a line.
"""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

FOREIGN = ("hansa", "google", "safetensors", "ml_dtypes", "torch")


class Refusal:
    """Found before anything else: nothing of Hansa's, and no protobuf, can be imported in this process."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        """Raise for what must not be needed."""
        if name.partition(".")[0] in FOREIGN:
            raise ImportError(f"the second client imports {name}")


sys.meta_path.insert(0, Refusal)

import numpy as np  # noqa: E402 - after the refusal

from . import wire  # noqa: E402
from .calls import Link  # noqa: E402
from .envoy import Envoy, Owner  # noqa: E402
from .learning import Examples, Recipe  # noqa: E402
from .memory import Memory  # noqa: E402
from .signed import invitation, request  # noqa: E402


def log(said: dict[str, Any]) -> None:
    """Tell what happened."""
    print(json.dumps(said), flush=True)  # noqa: T201 - this is what the process says


def dialled(address: str, identity: Path | None, name: str) -> Link:
    """A connection, by the address's scheme."""
    if not address.startswith("ws"):
        from .over_grpc import GrpcLink

        return GrpcLink(address, identity, name)
    from . import over_websocket

    tls = None if identity is None else secured(identity, ssl.Purpose.SERVER_AUTH)
    return over_websocket.dialled(address, tls, name)


def listening(address: str, identity: Path) -> Callable[[], Link]:
    """Waits for a Director that dials, each time that it is called."""
    from .over_websocket import Door

    host, _, port = address.removeprefix("wss://").rpartition(":")
    tls = secured(identity, ssl.Purpose.CLIENT_AUTH)
    tls.verify_mode = ssl.CERT_REQUIRED
    return Door(host, int(port), tls).next


def secured(identity: Path, purpose: ssl.Purpose) -> ssl.SSLContext:
    """What TLS needs to know of an identity."""
    tls = ssl.create_default_context(purpose, cafile=str(identity / "ca.pem"))
    tls.load_cert_chain(identity / "cert.pem", identity / "key.pem")
    return tls


def enrolled(text: str, address: str, folder: Path) -> None:
    """Join the federation, once: a key that stays here, and the certificate for it."""
    if (folder / "cert.pem").exists():
        return
    invited = invitation(text)
    asks = request(folder, invited["name"])
    newcomer = folder / "newcomer"
    newcomer.mkdir()
    for file, content in (("ca", invited["ca"]), ("cert", invited["certificate"]), ("key", invited["key"])):
        (newcomer / f"{file}.pem").write_text(content)
    link = dialled(address, newcomer, invited["name"])
    _, answer = wire.decode(link.call(wire.encode("enroll", {"request": asks, "token": invited["token"]})))
    link.close()
    (folder / "ca.pem").write_text(invited["ca"])
    (folder / "cert.pem").write_bytes(answer["certificate"])
    log({"enrolled": invited["name"]})


def main(settings: dict[str, Any]) -> None:
    """Run the Envoy that the settings describe."""
    identity = Path(settings["identity"]) if settings.get("identity") else None
    if identity is not None and "invitation" in settings:
        enrolled(Path(settings["invitation"]).read_text(), settings["director"], identity)
    with np.load(settings["data"]) as held:
        data = {split: Examples(held[f"{split}_x"], held[f"{split}_y"]) for split in ("train", "test")}
    recipes = {sha256: Recipe(**recipe) for sha256, recipe in settings["recipes"].items()}
    authority = None if identity is None else identity / "ca.pem"
    owner = Owner(settings["name"], data, recipes, authority, settings["chunk"], settings["cut"])
    memory = Memory(Path(settings["store"]))
    dial: Callable[[], Link] = partial(dialled, settings["director"], identity, owner.name)
    if identity is not None and settings.get("listen"):
        dial = listening(settings["listen"], identity)
        log({"listening": settings["listen"]})
    Envoy(owner, memory, dial, log).run(settings["runs"])
    log({"imported": sorted(name for name in sys.modules if name.partition(".")[0] in FOREIGN)})


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
