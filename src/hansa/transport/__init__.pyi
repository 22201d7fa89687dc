# The names of this package, and the home of each. `__init__.py` loads them from here when they are first used.
from .backoff import delays as delays
from .credentials import Credentials as Credentials
from .malloc import tune as tune
from .memory import MemoryConnection as MemoryConnection
from .memory import MemoryListener as MemoryListener
from .port import CHUNK as CHUNK
from .port import FRAME_LIMIT as FRAME_LIMIT
from .port import HEAD_LIMIT as HEAD_LIMIT
from .port import Connection as Connection
from .port import Listener as Listener
from .port import Service as Service

__all__: list[str]  # noqa: PYI035 - it holds the names imported above, see __init__.py
