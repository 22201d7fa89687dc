"""Conformance kits for anyone who implements a port, and toys to test with.

Each kit is a plain function that returns where all is well, and raises an AssertionError that says which law was broken.
They need no test framework: call them from a test of any.
"""

from hansa.testing.executors import MakeExecutor, check_executor
from hansa.testing.models import check_model
from hansa.testing.rules import check_rule
from hansa.testing.stores import check_blobs, check_journal
from hansa.testing.toys import blobs
from hansa.testing.transports import check_transport

__all__ = [
    "MakeExecutor",
    "blobs",
    "check_blobs",
    "check_executor",
    "check_journal",
    "check_model",
    "check_rule",
    "check_transport",
]
