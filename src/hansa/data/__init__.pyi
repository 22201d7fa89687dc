# The names of this package, and the home of each. `__init__.py` loads them from here when they are first used.
from .dataset import Batch as Batch
from .dataset import BatchTransform as BatchTransform
from .dataset import ClientDataset as ClientDataset
from .datasets import Dataset as Dataset
from .datasets import dataset_names as dataset_names
from .datasets import load_dataset as load_dataset
from .federated import FederatedData as FederatedData
from .normalise import Normalise as Normalise
from .partition import IID as IID
from .partition import ByField as ByField
from .partition import BySizes as BySizes
from .partition import Partitioner as Partitioner
from .schema import Field as Field
from .schema import Schema as Schema
from .schema import check as check
from .schema import schema_of as schema_of
from .skew import ByLabels as ByLabels
from .skew import Dirichlet as Dirichlet
from .skew import Shards as Shards
from .split import Split as Split

__all__: list[str]  # noqa: PYI035 - it holds the names imported above, see __init__.py
