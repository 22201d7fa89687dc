"""Experiments: what is run (`experiment`), the files that describe it (`files`), and what is left of it (`results`).

The names are listed in `__init__.pyi`; each is loaded from its home when it is first used. An Envoy that judges a manifest
loads no algorithm.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
