"""Clients' data: what one client holds, the data of a whole federation, partitioners, and public data sets.

The names are listed in `__init__.pyi`; each is loaded from its home when it is first used. An Envoy that reads its owner's
data with NumPy loads no public data sets, pictures or partitioners.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
