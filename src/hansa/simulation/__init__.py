"""Simulation: executors on one machine. The sequential one is the oracle that all others agree with."""

from hansa.simulation.loop import Step, steps
from hansa.simulation.reference import Mode, environment, threads
from hansa.simulation.sequential import SequentialExecutor

__all__ = ["Mode", "SequentialExecutor", "Step", "environment", "steps", "threads"]
