"""Actors on a Ray cluster, for those who outgrow one machine. It needs the extra "ray"."""

from hansa.simulation.ray.executor import RayExecutor

__all__ = ["RayExecutor"]
