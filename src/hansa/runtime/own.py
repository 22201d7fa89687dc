"""Where one's own identity lies. Imports nothing heavy: every command's help names the variable."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "HANSA_IDENTITY"
"""The environment variable that names the folder."""


def own_identity(folder: Path | None = None) -> Path:
    """The folder of one's key and certificate: the one given, the environment's, or that of the user's settings."""
    if folder is not None:
        return folder
    if said := os.environ.get(VARIABLE):
        return Path(said)
    import platformdirs

    return platformdirs.user_config_path("hansa") / "identity"
