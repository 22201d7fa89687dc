"""The composition root: where experiments run. `Federation.simulate(...)` and `Federation.connect(...)`, one interface."""

from hansa.federation.federation import Federation
from hansa.federation.run import EnvoyInfo, Run, RunEvent, RunStatus
from hansa.federation.simulated import SimulatedFederation
from hansa.federation.simulated_run import SimulatedRun

__all__ = ["EnvoyInfo", "Federation", "Run", "RunEvent", "RunStatus", "SimulatedFederation", "SimulatedRun"]
