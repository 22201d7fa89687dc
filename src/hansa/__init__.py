"""Hansa: federated learning. Several owners of data train one model together, and no record leaves its owner.

The public names are listed in `__init__.pyi`; each is loaded from its home when it is first used, so that `import hansa` costs
next to nothing and loads no learning framework.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
