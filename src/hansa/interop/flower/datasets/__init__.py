"""What Flower's `flwr_datasets` has: a data set split over clients, from the data sets that Hansa knows."""

from hansa.interop.flower.datasets import partitioner
from hansa.interop.flower.datasets.federated import FederatedDataset
from hansa.interop.flower.datasets.partition import Partition

__all__ = ["FederatedDataset", "Partition", "partitioner"]
