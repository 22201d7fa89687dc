"""Identities by certificates: the federation's own authority, invitations to it, and what each member keeps.

An administrator makes an `Authority` beside the Director and hands an `Invitation` to each owner and scientist. Its bearer
makes a key that never leaves their machine (`Identity.request`), sends the request, is admitted once, and from then on is
known by its certificate (`Identity`, `peer_of`). Signing a request that was brought by hand is the way without a network.
"""

from hansa.pki.authority import Authority
from hansa.pki.certificates import expiry, fingerprint, peer_of, trusted
from hansa.pki.identity import Identity, verified
from hansa.pki.invitation import Invitation
from hansa.pki.register import Issued, Stamp

__all__ = [
    "Authority",
    "Identity",
    "Invitation",
    "Issued",
    "Stamp",
    "expiry",
    "fingerprint",
    "peer_of",
    "trusted",
    "verified",
]
