"""Simulation: executors on one machine. The sequential one is the oracle that all others agree with."""

from hansa.simulation.sequential import ExecutorState, SequentialExecutor

__all__ = ["ExecutorState", "SequentialExecutor"]
