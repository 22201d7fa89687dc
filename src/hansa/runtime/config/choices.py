"""What some settings choose from, and the rule that both files' `[approval]` keep."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from hansa.errors import ConfigError
from hansa.experiment.approval import Policy


class Environment(enum.StrEnum):
    """Which Python packages an experiment's code finds."""

    INHERIT = "inherit"
    """Those that are installed here already, and no others."""
    ISOLATED = "isolated"
    """Those that it declares, in an environment of its own."""


class LogLevel(enum.StrEnum):
    """The least urgent messages that are written to the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def check_signers(policy: Policy, signers: Sequence[str]) -> None:
    """Raises where a list of signers means something else than it seems to.

    Raises:
        ConfigError: nobody is trusted though the policy is to trust some, or some are named though it is to trust all.
    """
    if policy is Policy.TRUSTED and not signers:
        raise ConfigError(
            "policy 'trusted' trusts the signers, and there are none",
            hint='name at least one, such as signers = ["anna"], or choose the policy "ask"',
        )
    if policy is Policy.AUTO and signers:
        raise ConfigError(
            "policy 'auto' approves everybody's experiments, so that the signers have no effect",
            hint='choose the policy "trusted", or empty the list',
        )
