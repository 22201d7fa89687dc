"""What `import hansa` costs, as whole processes: against `import numpy`, and against an interpreter that imports nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from benchmarks.timing import compared, in_turn

STATEMENTS = {
    "import numpy": "import numpy",
    "import hansa": "import hansa",
    "import hansa, and use a few names": "import hansa; hansa.FedAvg, hansa.FederatedData, hansa.NumpyMLP",
    "nothing": "pass",
}


def run() -> list[dict[str, Any]]:
    """A row for each statement."""

    def process(statement: str) -> None:
        subprocess.run([sys.executable, "-c", statement], check=True)

    contestants = {name: (lambda statement=code: process(statement)) for name, code in STATEMENTS.items()}
    return compared(in_turn(contestants, turns=21), "import numpy")
