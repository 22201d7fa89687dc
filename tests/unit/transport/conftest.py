"""A throw-away authority, made once."""

from __future__ import annotations

import pytest

from hansa.testing.certificates import ThrowAwayAuthority


@pytest.fixture(scope="session")
def authority() -> ThrowAwayAuthority:
    return ThrowAwayAuthority()


@pytest.fixture(scope="session")
def stranger() -> ThrowAwayAuthority:
    """Another one, that nobody trusts."""
    return ThrowAwayAuthority("stranger")
