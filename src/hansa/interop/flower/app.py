"""What Flower's `flwr.app` has: messages, records and the context."""

from hansa.interop.flower.message import Context, Error, Message, MessageType, Metadata, UserConfig
from hansa.interop.flower.records import (
    Array,
    ArrayRecord,
    ConfigRecord,
    ConfigRecordValues,
    MetricRecord,
    MetricRecordValues,
    RecordDict,
)

__all__ = [
    "Array",
    "ArrayRecord",
    "ConfigRecord",
    "ConfigRecordValues",
    "Context",
    "Error",
    "Message",
    "MessageType",
    "Metadata",
    "MetricRecord",
    "MetricRecordValues",
    "RecordDict",
    "UserConfig",
]
