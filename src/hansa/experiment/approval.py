"""Approval: whether an experiment may run here, by the owner's policy and decisions. A pure function of both.

A decision binds the manifest's hash, so that one changed byte is a new question. This file must not know where packages wait
for a decision (`hansa.experiment.desk`), or how a signature was proved.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass


class Policy(enum.StrEnum):
    """What may run without being asked for."""

    AUTO = "auto"
    """Everything."""
    TRUSTED = "trusted"
    """What certain people signed; the rest waits."""
    ASK = "ask"
    """Nothing: every package waits for a person."""


class Judgement(enum.StrEnum):
    """What became of a package."""

    APPROVED = "approved"
    REFUSED = "refused"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement, and why."""

    judgement: Judgement
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided about one hash.

    Attributes:
        hash: the manifest's.
        approved: or refused.
        why: the reason, in the person's words; may be empty.
        by: who it was.
        at: when, in seconds since 1970.
    """

    hash: str
    approved: bool
    why: str
    by: str
    at: float


def decide(
    policy: Policy, signers: Collection[str], signer: str, content: str, decisions: Mapping[str, Decision]
) -> Verdict:
    """Whether a package may run.

    Args:
        policy: the owner's.
        signers: whom the owner trusts; counts under `Policy.TRUSTED` only.
        signer: the proved name of who signed it; empty for nobody.
        content: the manifest's hash.
        decisions: what was decided, by hash; a decision goes before every policy.
    """
    if (made := decisions.get(content)) is not None:
        said = f": {made.why}" if made.why else ""
        if made.approved:
            return Verdict(Judgement.APPROVED, f"{made.by} approved it{said}")
        return Verdict(Judgement.REFUSED, f"{made.by} refused it{said}")
    if policy is Policy.AUTO:
        return Verdict(Judgement.APPROVED, "the policy here is to run everything")
    if policy is Policy.TRUSTED and signer and signer in signers:
        return Verdict(Judgement.APPROVED, f"{signer} signed it and is trusted here")
    whose = f"{signer or 'nobody'} signed it, who is not trusted here, so" if policy is Policy.TRUSTED else "here"
    return Verdict(Judgement.WAITING, f"{whose} a person reviews it first")
