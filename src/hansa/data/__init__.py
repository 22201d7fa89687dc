"""Clients' data: what one client holds, the data of a whole federation, partitioners, and public data sets."""

from hansa.data.dataset import Batch, BatchTransform, ClientDataset
from hansa.data.datasets import Dataset, dataset_names, load_dataset
from hansa.data.federated import FederatedData
from hansa.data.normalise import Normalise
from hansa.data.partition import IID, ByField, BySizes, Partitioner
from hansa.data.schema import Field, Schema, check, schema_of
from hansa.data.skew import ByLabels, Dirichlet, Shards
from hansa.data.split import Split

__all__ = [
    "IID",
    "Batch",
    "BatchTransform",
    "ByField",
    "ByLabels",
    "BySizes",
    "ClientDataset",
    "Dataset",
    "Dirichlet",
    "FederatedData",
    "Field",
    "Normalise",
    "Partitioner",
    "Schema",
    "Shards",
    "Split",
    "check",
    "dataset_names",
    "load_dataset",
    "schema_of",
]
