"""Simulation: executors on one machine. The sequential one is the oracle that all others agree with."""

from hansa.simulation.sequential import SequentialExecutor

__all__ = ["SequentialExecutor"]
