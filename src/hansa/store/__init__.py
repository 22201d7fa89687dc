"""The store: what a Director or an Envoy must still know after its power was cut. A journal of records, and blobs beside it."""

from hansa.store.blobs import FileBlobs
from hansa.store.journal import SqliteJournal
from hansa.store.memory import MemoryBlobs, MemoryJournal
from hansa.store.port import Blob, Blobs, Chunk, Journal, Partial, Receiver, Record

__all__ = [
    "Blob",
    "Blobs",
    "Chunk",
    "FileBlobs",
    "Journal",
    "MemoryBlobs",
    "MemoryJournal",
    "Partial",
    "Receiver",
    "Record",
    "SqliteJournal",
]
