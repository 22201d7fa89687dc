"""Transports: they carry frames between a Director and those who dial it, and know nothing of what a frame means.

The adapters for networks are `hansa.transport.websocket`, and `hansa.transport.grpc`, which needs the extra "federation";
`hansa.transport.dial.dialled` picks one by an address.

The names are listed in `__init__.pyi`; each is loaded from its home when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
