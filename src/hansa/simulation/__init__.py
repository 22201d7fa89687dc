"""Simulation: executors on one machine or a cluster. The sequential one is the oracle that all others agree with."""

from hansa.simulation.sequential import SequentialExecutor
from hansa.simulation.visits import ExecutorState

__all__ = ["ExecutorState", "SequentialExecutor"]
