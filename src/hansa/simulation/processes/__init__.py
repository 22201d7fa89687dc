"""Worker processes on this machine. `ProcessesExecutor` is what an experiment is simulated by; all else serves it.

- `origin`: where a worker finds the works; `lending`, `library`: how it comes to clients' examples
- `letters`, `layout`: what both sides say, as memory; `memory`, `post`: how it travels
- `worker`: the core of a worker, without any process; `child`, `nursery`, `lifeline`: the process around it
- `port`: whoever computes; `process`, `crew`: worker processes seen from their parent
- `handing`, `outgoing`, `turn`, `crewed`: one ask, carried out by a crew
"""

from hansa.simulation.processes.executor import ProcessesExecutor
from hansa.simulation.processes.origin import Origin

__all__ = ["Origin", "ProcessesExecutor"]
